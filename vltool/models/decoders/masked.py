"""What was hidden at some places of a sentence or a picture: the decoders of masked pre-training."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.initialization import glorot_
from vltool.structures import JointState


class MaskedWordsDecoder(nn.Module):
    """A logit for every word of the vocabulary, at each place that is asked for.

    As BERT's: a linear map with GELU and layer norm, then the product with the encoder's own word vectors and a bias.
    The vectors stay the encoder's; they learn here too, unless they are frozen.
    """

    def __init__(self, text_width: int, word_vectors: nn.Embedding) -> None:
        super().__init__()
        self.transform = nn.Linear(text_width, word_vectors.embedding_dim)
        self.normalize = nn.LayerNorm(word_vectors.embedding_dim)
        self.word_bias = nn.Parameter(word_vectors.weight.new_zeros(word_vectors.num_embeddings))
        self._vectors = (word_vectors,)  # within a tuple it is no part of this module
        glorot_(self.transform)

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, M, words). inputs["word_places"] (B, M) long, among the batch's tokens."""
        words = at_places(state.text, inputs["word_places"])  # (B, M, text_width)
        hidden = self.normalize(F.gelu(self.transform(words)))
        return F.linear(hidden, self._vectors[0].weight.to(hidden.dtype), self.word_bias.to(hidden.dtype))


class MaskedRegionsDecoder(nn.Module):
    """A logit for every class of the detector, at each region that is asked for."""

    def __init__(self, image_width: int, num_classes: int) -> None:
        super().__init__()
        self.transform = nn.Linear(image_width, image_width)
        self.normalize = nn.LayerNorm(image_width)
        self.classes = nn.Linear(image_width, num_classes)
        glorot_(self)

    def forward(self, state: JointState, inputs: dict[str, Tensor]) -> Tensor:
        """Logits (B, M, classes). inputs["region_places"] (B, M) long, among the picture's own regions."""
        regions = at_places(state.regions, inputs["region_places"])  # (B, M, image_width)
        return self.classes(self.normalize(F.gelu(self.transform(regions))))


def at_places(features: Tensor, places: Tensor) -> Tensor:
    """features (B, P, width), places (B, M) long -> (B, M, width)."""
    return features.gather(1, places[..., None].expand(-1, -1, features.shape[-1]))
