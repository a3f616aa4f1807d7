"""ViLBERT's equations as they stand, a row at a time: what the encoder, its poolers and its heads are held to.

Written from the equations alone: a softmax by hand, every head by itself, padding cut off instead of masked, the mean
region and the ends of the sentence put in place row by row. It reads plain tensors by the names that the authors'
released files have (`bert.encoder.c_layer.0.biattention.query1.weight`), in whatever precision they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normalize(weights: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-12).sqrt()
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """(P, d), (Q, d), (Q, d) -> (P, d), one head after the other."""
    width = queries.shape[1] // heads
    found = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = (queries[:, part] @ keys[:, part].T / math.sqrt(width)).exp()
        found.append(scores / scores.sum(dim=1, keepdim=True) @ values[:, part])
    return torch.cat(found, dim=1)


def added(weights: Weights, name: str, y: Tensor, x: Tensor) -> Tensor:
    return normalize(weights, f"{name}.LayerNorm", linear(weights, f"{name}.dense", y) + x)


def layer(weights: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """One layer of BERT, (P, d) -> (P, d)."""
    maps = (linear(weights, f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
    x = added(weights, f"{name}.attention.output", attend(*maps, heads), x)
    return added(weights, f"{name}.output", gelu(linear(weights, f"{name}.intermediate.dense", x)), x)


def connection(weights: Weights, name: str, text: Tensor, image: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """The authors number the image 1 and the text 2; an output map has the number of the side that it is added to."""
    at = f"{name}.biattention"
    query_1, key_1, value_1 = (linear(weights, f"{at}.{part}1", image) for part in ("query", "key", "value"))
    query_2, key_2, value_2 = (linear(weights, f"{at}.{part}2", text) for part in ("query", "key", "value"))
    of_image = attend(query_2, key_1, value_1, heads)  # (T, width)
    of_text = attend(query_1, key_2, value_2, heads)  # (R, width)
    out = f"{name}.biOutput"
    image = normalize(weights, f"{out}.LayerNorm1", linear(weights, f"{out}.dense1", of_text) + image)
    text = normalize(weights, f"{out}.LayerNorm2", linear(weights, f"{out}.dense2", of_image) + text)
    image = added(weights, f"{name}.v_output", gelu(linear(weights, f"{name}.v_intermediate.dense", image)), image)
    text = added(weights, f"{name}.t_output", gelu(linear(weights, f"{name}.t_intermediate.dense", text)), text)
    return text, image


def embed_words(weights: Weights, pieces: list[int], task: int | None) -> Tensor:
    """[CLS] … [SEP] as ids -> (T, d); the task's vector goes in after [CLS], with nothing added to it."""
    at = "bert.embeddings"
    rows = [
        weights[f"{at}.word_embeddings.weight"][piece]
        + weights[f"{at}.position_embeddings.weight"][place]
        + weights[f"{at}.token_type_embeddings.weight"][0]
        for place, piece in enumerate(pieces)
    ]
    if task is not None:
        rows.insert(1, weights[f"{at}.task_embeddings.weight"][task])
    return normalize(weights, f"{at}.LayerNorm", torch.stack(rows))


def embed_regions(weights: Weights, regions: Tensor, boxes: Tensor) -> Tensor:
    """(R, D), (R, 5) of real regions alone -> (1 + R, d)."""
    at = "bert.v_embeddings"
    regions = torch.cat([regions.mean(dim=0, keepdim=True), regions])
    boxes = torch.cat([boxes.new_tensor([[0.0, 0.0, 1.0, 1.0, 1.0]]), boxes])
    both = linear(weights, f"{at}.image_embeddings", regions) + linear(
        weights, f"{at}.image_location_embeddings", boxes
    )
    return normalize(weights, f"{at}.LayerNorm", both)


def encode(
    weights: Weights,
    pieces: list[int],
    task: int | None,
    regions: Tensor,
    boxes: Tensor,
    *,
    heads: tuple[int, int, int],
    text_connections: tuple[int, ...],
    image_connections: tuple[int, ...],
    level: int,
) -> tuple[Tensor, Tensor]:
    """One row: (T, d), (1 + R, d') after `level` connections and the layers that follow the last of them.

    heads: of text, image and connections.
    """
    text_heads, image_heads, connection_heads = heads
    text, image = embed_words(weights, pieces, task), embed_regions(weights, regions, boxes)
    num_text = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("bert.encoder.layer."))
    num_image = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("bert.encoder.v_layer."))
    text_done = image_done = 0
    for k in range(level + 1):
        text_until = (*text_connections, num_text)[k]
        image_until = (*image_connections, num_image)[k]
        for place in range(text_done, text_until):
            text = layer(weights, f"bert.encoder.layer.{place}", text, text_heads)
        for place in range(image_done, image_until):
            image = layer(weights, f"bert.encoder.v_layer.{place}", image, image_heads)
        text_done, image_done = text_until, image_until
        if k < level:
            text, image = connection(weights, f"bert.encoder.c_layer.{k}", text, image, connection_heads)
    return text, image


def pooled(weights: Weights, text: Tensor, image: Tensor) -> Tensor:
    """The product of both poolers, (width,)."""
    return (
        linear(weights, "bert.t_pooler.dense", text[:1]).relu()[0]
        * linear(weights, "bert.v_pooler.dense", image[:1]).relu()[0]
    )


def classify(weights: Weights, name: str, vector: Tensor) -> Tensor:
    hidden = gelu(linear(weights, f"{name}.logit_fc.0", vector))
    return linear(weights, f"{name}.logit_fc.3", normalize(weights, f"{name}.logit_fc.2", hidden))
