"""The base of every shared encoder: a subclass names its parts, the base class runs them (eq. 1).

A state (S_l, I_l) is a `JointState`; a level maps one state to the next. Level 0 reads one modality at a time, so
every distinct image and sentence is embedded once, however many image-sentence rows use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.decoders.answering import TwoLayers
from vltool.models.decoders.matching import BilinearComparison
from vltool.models.decoders.region_scores import SentenceRegionScores
from vltool.models.decoders.summary import AttendedSummary, Summary
from vltool.structures import Batch, JointState

TASK_TOKEN = "<task>"
"""Stands in a frame for the token of the task whose batch it is."""


class SentenceFrame(NamedTuple):
    """The special pieces of the vocabulary that an encoder wants around every sentence, by name."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedSide:
    """One modality at level 0, with whatever the encoder computes once per image or per sentence.

    features (K, P, width): K images or sentences of P positions each. mask (K, P) bool, True = real.
    projections: further tensors whose first two dimensions are K and P. shared: tensors that are the same for all.
    """

    features: Tensor
    mask: Tensor
    projections: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.features.shape[0])

    def take(self, index: slice | Tensor, *, num_positions: int | None = None) -> PreparedSide:
        """The chosen images or sentences; num_positions cuts off positions that are padding in all of them."""
        if isinstance(index, slice):
            return self._map(lambda tensor: tensor[index, :num_positions])
        return self._map(lambda tensor: tensor[:, :num_positions].index_select(0, index))

    @staticmethod
    def concatenate(sides: Sequence[PreparedSide]) -> PreparedSide:
        """All images or sentences of `sides`, which are padded alike, in one."""
        return PreparedSide(
            torch.cat([side.features for side in sides]),
            torch.cat([side.mask for side in sides]),
            {name: torch.cat([side.projections[name] for side in sides]) for name in sides[0].projections},
            sides[0].shared,
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> PreparedSide:
        projections = {name: change(tensor) for name, tensor in self.projections.items()}
        return PreparedSide(change(self.features), change(self.mask), projections, self.shared)


class Encoder(nn.Module):
    """A stack of levels over embedded regions and words.

    A subclass sets `levels`, `text_width` and `image_width`, and gives `embed_sentences` and `embed_images`.
    It may give `prepare_images`, `prepare_sentences` and `pair_states` too, when part of its first level
    can be computed once per image and per sentence.
    """

    levels: nn.ModuleList
    text_width: int
    image_width: int
    num_leading_tokens = 0
    """Positions that it puts before a sentence's own tokens, and a picture's own regions."""
    num_leading_regions = 0

    @classmethod
    def frame_of(cls, options: Any) -> SentenceFrame:
        """What an encoder of these options wants around every sentence. Its `before` are the leading tokens."""
        return SentenceFrame()

    def embed_sentences(self, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """Level-0 word features. tokens (V, T) long, token_mask (V, T) bool -> (V, T, text_width)."""
        raise NotImplementedError

    def embed_images(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> Tensor:
        """Level-0 region features. regions (U, R, D), region_mask (U, R), boxes (U, R, 5) -> (U, R, image_width)."""
        raise NotImplementedError

    @property
    def word_vectors(self) -> nn.Embedding:
        """The vectors of the vocabulary, a row for each token id; learned with the encoder, or frozen."""
        raise ConfigError(f"{type(self).__name__} has no word vectors, so that no task can ask it for words")

    @property
    def wants_first_weights(self) -> bool:
        """Whether a new encoder is to start from weights that its options name."""
        return False

    def take_first_weights(self, decoders: Mapping[str, nn.Module]) -> str:
        """Start from them, and those decoders that find theirs there; says what was taken. Raises CheckpointError."""
        raise ConfigError(f"{type(self).__name__} starts from no weights of others")

    @property
    def wants_feature_statistics(self) -> bool:
        """Whether a new encoder is to be told the mean and deviation of each feature over the training pictures."""
        return False

    def take_feature_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Take them, both (D,), before training starts."""
        raise ConfigError(f"{type(self).__name__} does not use feature statistics")

    def initialize(self, decoder: nn.Module) -> None:
        """Draw a new decoder's weights as this encoder's own are, where its parts have not done so by themselves."""

    # What decoders are built of. An encoder whose authors read it otherwise gives its own.

    def build_summary(self, *, num_maps: int = 4, hidden_width: int | None = None, dropout: float = 0.3) -> Summary:
        """JointState -> (text (N, d), image (N, d')): what a decoder reads of a row as a whole.

        num_maps, hidden_width: of a summary by attention; one that has none takes no notice of them.
        """
        return AttendedSummary(
            self.text_width, self.image_width, hidden_width=hidden_width, num_maps=num_maps, dropout=dropout
        )

    def build_classifier(
        self,
        width: int,
        num_outputs: int,
        *,
        hidden_width: int | None = None,
        num_layers: int = 2,
        dropout: float = 0.3,
    ) -> nn.Module:
        """(N, width) -> logits (N, num_outputs); width: of one joined summary, or of several side by side.

        num_layers: 1 for those heads that are a linear map where this encoder's authors have them so.
        """
        return TwoLayers(width, num_outputs, hidden_width=hidden_width or self.text_width, dropout=dropout)

    def build_comparison(self, summary: Summary, *, dropout: float = 0.3) -> nn.Module:
        """(text, image) of `summary` -> one logit a row (N,): do they belong together."""
        return BilinearComparison(summary.text_width, summary.image_width)

    def build_region_scores(
        self, *, num_maps: int = 4, hidden_width: int | None = None, dropout: float = 0.3
    ) -> nn.Module:
        """JointState -> one logit for each of the picture's regions (N, R): which does the whole sentence speak of."""
        return SentenceRegionScores(
            self.text_width, self.image_width, hidden_width=hidden_width, num_maps=num_maps, dropout=dropout
        )

    @property
    def num_levels(self) -> int:
        return len(self.levels)

    def check_level(self, level: int) -> int:
        """`level` itself, if it is one of this encoder's; else a ConfigError with the legal range."""
        if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= self.num_levels:
            raise ConfigError(
                f"level {level!r} is not a level of this encoder. Choose a whole number from 1 to {self.num_levels}, "
                "or build the encoder with more levels."
            )
        return level

    def embed(self, batch: Batch) -> JointState:
        """(S_0, I_0) of the batch's N rows; each distinct image and sentence is embedded once, then gathered."""
        return Encoder.row_states(self, *Encoder.sides(self, batch), batch.rows, level=0)

    def run_levels(self, state: JointState, *, level: int, start: int = 0) -> JointState:
        """(S_level, I_level) from (S_start, I_start): the levels start + 1 ... level, and none above (eq. 1).

        Level 0 is the state itself, before any layer.
        """
        for layer in list(self.levels)[start : level and self.check_level(level)]:
            state = layer(state)
        return state

    def forward(self, batch: Batch, *, level: int) -> JointState:
        """(S_level, I_level) of the batch's N rows."""
        self.check_level(level)
        return self.row_states(*self.sides(batch), batch.rows, level=level)

    def sides(self, batch: Batch) -> tuple[PreparedSide, PreparedSide]:
        """Level 0 of the batch's distinct images and sentences, for any rows of them."""
        images = self.image_side(batch.regions, batch.region_mask, batch.boxes)
        return images, self.sentence_side(batch.tokens, batch.token_mask)

    def image_side(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> PreparedSide:
        """U images at level 0. An encoder that adds regions of its own gives this instead of `embed_images`."""
        return PreparedSide(self.embed_images(regions, region_mask, boxes), region_mask)

    def sentence_side(self, tokens: Tensor, token_mask: Tensor) -> PreparedSide:
        """V sentences at level 0."""
        return PreparedSide(self.embed_sentences(tokens, token_mask), token_mask)

    def joint_state(self, images: PreparedSide, sentences: PreparedSide) -> JointState:
        """(S_0, I_0) of N rows: image n with sentence n."""
        return JointState(
            sentences.features,
            images.features,
            sentences.mask,
            images.mask,
            num_leading_tokens=self.num_leading_tokens,
            num_leading_regions=self.num_leading_regions,
        )

    def row_states(self, images: PreparedSide, sentences: PreparedSide, rows: Tensor, *, level: int) -> JointState:
        """(S_level, I_level) of rows (N, 2) of what `sides` gave: which image, which sentence."""
        images, sentences = images.take(rows[:, 0]), sentences.take(rows[:, 1])
        return self.run_levels(self.joint_state(images, sentences), level=level)

    # Scoring every image with every sentence: what depends on one side alone is computed once.

    def prepare_images(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> PreparedSide:
        """U images at level 0, ready to be paired with any sentences."""
        return self.image_side(regions, region_mask, boxes)

    def prepare_sentences(self, tokens: Tensor, token_mask: Tensor) -> PreparedSide:
        """V sentences at level 0, ready to be paired with any images."""
        return self.sentence_side(tokens, token_mask)

    def pair_states(self, images: PreparedSide, sentences: PreparedSide, *, level: int) -> JointState:
        """(S_level, I_level) of all U * V pairs, image-major: row u * V + v is image u with sentence v."""
        return self.row_states(images, sentences, all_pairs(images, sentences), level=level)


def all_pairs(images: PreparedSide, sentences: PreparedSide) -> Tensor:
    """(U * V, 2) rows of all pairs, image-major."""
    places = (torch.arange(len(side), device=side.features.device) for side in (images, sentences))
    return torch.cartesian_prod(*places)
