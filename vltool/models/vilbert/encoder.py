"""ViLBERT: two streams of transformer layers with connections between them, cut into levels.

Level 0 is each stream alone up to the first connection, once for every distinct sentence and image. Level k is the
k-th connection and the layers that follow it before the next one; the last level ends with both streams.
docs/vilbert.md sets the equations beside the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.decoders.summary import Summary
from vltool.models.encoder import TASK_TOKEN, Encoder, PreparedSide, SentenceFrame
from vltool.models.linear import Linear
from vltool.models.vilbert.connection import Connection, VilbertLevel
from vltool.models.vilbert.embeddings import RegionStream, SentenceStream
from vltool.models.vilbert.heads import FusedComparison, Fusion, GeluClassifier, PooledSummary, Poolers, RegionLogits
from vltool.models.vilbert.initial_weights import take_weights
from vltool.models.vilbert.transformer import TransformerLayer, check_heads
from vltool.structures import JointState


@dataclass(frozen=True)
class Options:
    """What a configuration may say about this encoder; the defaults are the authors' (BERT-base, six connections).

    text_connections[k] layers of the text stream and image_connections[k] of the image stream run before connection k.
    connection_width: of the co-attention, and of the poolers' vectors. fusion: how a pair's two vectors become one.
    dropout: after every map that is added to its input, on embeddings and in decoders; attention_dropout: on weights.
    shared_poolers: one pair of poolers for all tasks, as the authors have it; else each decoder has its own.
    num_task_tokens: rows of the table of task tokens, 0 for none; task_rows: task -> its row, where the order of the
    run's tasks is not to say. initial_deviation: of the normal distribution that weights are drawn from. init_from: a
    checkpoint of BERT, or of the authors, that a new network starts from. standardize_regions: shift and scale each
    feature by its mean and deviation over the training pictures, which is ours.
    """

    text_width: PositiveInt = 768
    text_layers: PositiveInt = 12
    text_heads: PositiveInt = 12
    text_hidden_width: PositiveInt = 3072
    image_width: PositiveInt = 1024
    image_layers: PositiveInt = 6
    image_heads: PositiveInt = 8
    image_hidden_width: PositiveInt = 1024
    connection_width: PositiveInt = 1024
    connection_heads: PositiveInt = 8
    text_connections: tuple[NonNegativeInt, ...] = (6, 7, 8, 9, 10, 11)
    image_connections: tuple[NonNegativeInt, ...] = (0, 1, 2, 3, 4, 5)
    num_positions: PositiveInt = 512
    num_segments: PositiveInt = 2
    num_task_tokens: NonNegativeInt = 20
    task_rows: Mapping[str, NonNegativeInt] = field(default_factory=dict)
    fusion: Fusion = "mul"
    shared_poolers: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    initial_deviation: PositiveFloat = 0.02
    standardize_regions: bool = False
    init_from: str = ""

    @property
    def num_levels(self) -> int:
        return len(self.text_connections)


class VilbertEncoder(Encoder):
    """word_vectors: (number of word pieces, any width), of which only the number counts. feature_dim: D of the regions.

    The rest: Options.
    """

    Options = Options

    num_leading_regions = 1  # the mean region

    def __init__(self, word_vectors: Tensor, feature_dim: int, **options: Any) -> None:
        super().__init__()
        self.options = chosen = Options(**options)
        check(chosen)
        self.text_width, self.image_width = chosen.text_width, chosen.image_width
        self.num_leading_tokens = len(self.frame_of(chosen).before)
        layers = {"dropout": chosen.dropout, "attention_dropout": chosen.attention_dropout}

        def layers_of(width: int, heads: int, hidden_width: int, count: int) -> Iterator[TransformerLayer]:
            return (TransformerLayer(width, num_heads=heads, hidden_width=hidden_width, **layers) for _ in range(count))

        text = list(layers_of(chosen.text_width, chosen.text_heads, chosen.text_hidden_width, chosen.text_layers))
        image = list(layers_of(chosen.image_width, chosen.image_heads, chosen.image_hidden_width, chosen.image_layers))
        self.read_sentences = SentenceStream(
            len(word_vectors),
            chosen.text_width,
            num_positions=chosen.num_positions,
            num_segments=chosen.num_segments,
            num_task_tokens=chosen.num_task_tokens,
            dropout=chosen.dropout,
            layers=text[: chosen.text_connections[0]],
        )
        self.read_images = RegionStream(
            feature_dim,
            chosen.image_width,
            dropout=chosen.dropout,
            standardize=chosen.standardize_regions,
            layers=image[: chosen.image_connections[0]],
        )
        self.levels = nn.ModuleList(
            VilbertLevel(
                Connection(
                    chosen.text_width,
                    chosen.image_width,
                    chosen.connection_width,
                    num_heads=chosen.connection_heads,
                    text_hidden_width=chosen.text_hidden_width,
                    image_hidden_width=chosen.image_hidden_width,
                    **layers,
                ),
                text[slice(*text_places)],
                image[slice(*image_places)],
            )
            for text_places, image_places in zip(
                between(chosen.text_connections, chosen.text_layers),
                between(chosen.image_connections, chosen.image_layers),
                strict=True,
            )
        )
        self.poolers = self._new_poolers() if chosen.shared_poolers else None
        self.initialize(self)

    @classmethod
    def frame_of(cls, options: Any) -> SentenceFrame:
        """[CLS], the task token if there are such, the sentence, [SEP]."""
        return SentenceFrame(("[CLS]", *(TASK_TOKEN,) * (options.num_task_tokens > 0)), ("[SEP]",))

    def initialize(self, decoder: nn.Module) -> None:
        """Weights and vectors from a normal distribution, biases 0."""
        for part in decoder.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                nn.init.normal_(part.weight, std=self.options.initial_deviation)
            if isinstance(part, nn.Linear) and part.bias is not None:
                nn.init.zeros_(part.bias)

    @property
    def word_vectors(self) -> nn.Embedding:
        return self.read_sentences.word_vectors

    @property
    def wants_feature_statistics(self) -> bool:
        return self.options.standardize_regions

    def take_feature_statistics(self, mean: Tensor, deviation: Tensor) -> None:
        """Standardise by these, both (D,): of the training pictures' regions."""
        self.read_images.take_statistics(mean, deviation)

    @property
    def wants_first_weights(self) -> bool:
        return bool(self.options.init_from)

    def take_first_weights(self, decoders: Mapping[str, nn.Module]) -> str:
        """Those of `init_from`: vltool/models/vilbert/initial_weights.py."""
        return str(take_weights(self, self.options.init_from, decoders))

    # Level 0, and the first connection.

    def image_side(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> PreparedSide:
        return PreparedSide(*self.read_images(regions, region_mask, boxes))

    def sentence_side(self, tokens: Tensor, token_mask: Tensor) -> PreparedSide:
        return PreparedSide(self.read_sentences(tokens, token_mask), token_mask)

    def row_states(self, images: PreparedSide, sentences: PreparedSide, rows: Tensor, *, level: int) -> JointState:
        """As the base class says; what the first connection makes of one side alone is made once for each of them."""
        self.check_level(level)
        first = self.levels[0]
        assert isinstance(first, VilbertLevel)
        images = taken(images, rows[:, 0], first.connection.project_regions)
        sentences = taken(sentences, rows[:, 1], first.connection.project_words)
        words, regions = sentences.projections["connection"], images.projections["connection"]
        state = first(self.joint_state(images, sentences), words=words, regions=regions)
        return self.run_levels(state, level=level, start=1)

    # What decoders are made of.

    def build_summary(self, *, num_maps: int = 4, hidden_width: int | None = None, dropout: float = 0.1) -> Summary:
        poolers = self.poolers or self._new_poolers()
        return PooledSummary(poolers, self.options.fusion, dropout=dropout, shared=self.poolers is not None)

    def build_classifier(
        self,
        width: int,
        num_outputs: int,
        *,
        hidden_width: int | None = None,
        num_layers: int = 2,
        dropout: float = 0.1,
    ) -> nn.Module:
        if num_layers == 1:
            return Linear(width, num_outputs)
        return GeluClassifier(width, num_outputs, hidden_width=hidden_width or 2 * self.options.connection_width)

    def build_comparison(self, summary: Summary, *, dropout: float = 0.1) -> nn.Module:
        return FusedComparison(summary.joined_width, self.options.fusion, dropout=dropout)

    def build_region_scores(
        self, *, num_maps: int = 4, hidden_width: int | None = None, dropout: float = 0.1
    ) -> nn.Module:
        return RegionLogits(self.image_width, dropout=dropout)

    def _new_poolers(self) -> Poolers:
        return Poolers(self.text_width, self.image_width, self.options.connection_width)


def taken(side: PreparedSide, chosen: Tensor, project: nn.Module) -> PreparedSide:
    """The chosen images or sentences with their projections, made before or after choosing: of as few as there are."""
    if len(side) >= len(chosen):
        side = side.take(chosen)
        return PreparedSide(side.features, side.mask, {"connection": project(side.features)})
    return PreparedSide(side.features, side.mask, {"connection": project(side.features)}).take(chosen)


def between(connections: tuple[int, ...], num_layers: int) -> list[tuple[int, int]]:
    """[first, end) of the layers that follow each connection before the next one."""
    return list(zip(connections, (*connections[1:], num_layers), strict=True))


def check(options: Options) -> None:
    """Raises ConfigError for sizes that do not go together."""
    check_heads(options.text_width, options.text_heads, what="text_heads")
    check_heads(options.image_width, options.image_heads, what="image_heads")
    check_heads(options.connection_width, options.connection_heads, what="connection_heads")
    streams = {
        "text_connections": (options.text_connections, options.text_layers),
        "image_connections": (options.image_connections, options.image_layers),
    }
    for name, (places, num_layers) in streams.items():
        if not places or len(places) != options.num_levels:
            raise ConfigError(f"{name} is {list(places)}: name one place a connection, as many in both streams")
        if list(places) != sorted(places) or not 0 <= places[0] <= places[-1] <= num_layers:
            raise ConfigError(
                f"{name} is {list(places)}: name layers in order, from 0 to {num_layers}, how many there are"
            )
    for name in ("dropout", "attention_dropout"):
        if not 0 <= getattr(options, name) < 1:
            raise ConfigError(f"{name} is {getattr(options, name)}: it must lie from 0 to below 1.")
