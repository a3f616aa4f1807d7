"""What our parameters are called in BERT's and in the authors' files.

    levels.0.connection.project_regions.bias     bert.encoder.c_layer.0.biattention.{query1,key1,value1}.bias, stacked
    levels.0.text_layers.0.add.normalize.bias    bert.encoder.layer.6.attention.output.LayerNorm.bias

The names are those of facebookresearch/vilbert-multi-task at f22b84a; BERT's are those of its text stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from vltool.models.encoder import Encoder

Names = dict[str, tuple[str, ...]]
"""Our parameter → the file's, one, or several to be stacked."""

UNUSED = ("biOutput.q_dense1.", "biOutput.q_dense2.")
"""Parts of the authors' connections that their own forward never uses."""


def encoder_names(encoder: Encoder) -> Names:
    """Every parameter of a ViLBERT encoder."""
    at_words, at_images = "read_sentences", "read_images"
    found = {
        f"{at_words}.word_vectors": "bert.embeddings.word_embeddings",
        f"{at_words}.positions": "bert.embeddings.position_embeddings",
        f"{at_words}.segments": "bert.embeddings.token_type_embeddings",
        f"{at_words}.task_tokens": "bert.embeddings.task_embeddings",
        f"{at_words}.normalize": "bert.embeddings.LayerNorm",
        f"{at_images}.project_features": "bert.v_embeddings.image_embeddings",
        f"{at_images}.project_positions": "bert.v_embeddings.image_location_embeddings",
        f"{at_images}.normalize": "bert.v_embeddings.LayerNorm",
        "poolers.text": "bert.t_pooler.dense",
        "poolers.image": "bert.v_pooler.dense",
    }
    maps: dict[str, tuple[str, ...]] = {ours: (theirs,) for ours, theirs in found.items()}
    for side, theirs in (("text", "layer"), ("image", "v_layer")):
        for place, ours in enumerate(layer_places(encoder, side)):
            maps |= _layer(ours, f"bert.encoder.{theirs}.{place}")
    for k in range(encoder.num_levels):
        maps |= _connection(f"levels.{k}.connection", f"bert.encoder.c_layer.{k}")
    return with_parameters(encoder, maps)


def layer_places(encoder: Encoder, side: str) -> Iterator[str]:
    """Where the layers of a stream (text or image) are, in the order in which they run."""
    first = {"text": "read_sentences.layers", "image": "read_images.layers"}[side]
    yield from (f"{first}.{name}" for name, _ in encoder.get_submodule(first).named_children())
    for number, level in enumerate(encoder.levels):
        yield from (f"levels.{number}.{side}_layers.{k}" for k in range(len(getattr(level, f"{side}_layers"))))


def with_parameters(module: nn.Module, maps: Mapping[str, tuple[str, ...]]) -> Names:
    """Names of linear maps, tables and norms as names of the weights and biases that `module` has there."""
    names = {}
    for name, _ in module.named_parameters():
        part, _, kind = name.rpartition(".")
        if part in maps:
            names[name] = tuple(f"{theirs}.{kind}" for theirs in maps[part])
    return names


def _layer(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    """A layer of either stream."""
    return {
        f"{ours}.project": tuple(f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")),
        **_add(f"{ours}.add", f"{theirs}.attention.output"),
        f"{ours}.feed_forward.hidden": (f"{theirs}.intermediate.dense",),
        **_add(f"{ours}.feed_forward.add", f"{theirs}.output"),
    }


def _connection(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    """The authors number the image 1 and the text 2."""
    found: dict[str, tuple[str, ...]] = {}
    for number, letter, side in ((1, "v", "regions"), (2, "t", "words")):
        parts = ("query", "key", "value")
        found |= {
            f"{ours}.project_{side}": tuple(f"{theirs}.biattention.{part}{number}" for part in parts),
            f"{ours}.add_to_{side}.project": (f"{theirs}.biOutput.dense{number}",),
            f"{ours}.add_to_{side}.normalize": (f"{theirs}.biOutput.LayerNorm{number}",),
            f"{ours}.feed_{side}.hidden": (f"{theirs}.{letter}_intermediate.dense",),
            **_add(f"{ours}.feed_{side}.add", f"{theirs}.{letter}_output"),
        }
    return found


def _add(ours: str, theirs: str) -> dict[str, tuple[str, ...]]:
    return {f"{ours}.project": (f"{theirs}.dense",), f"{ours}.normalize": (f"{theirs}.LayerNorm",)}
