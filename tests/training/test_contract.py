"""What every task and every encoder of the registry owes the trainer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests import miniature
from tests.miniature import snapshot
from tests.twelve import twelve_model
from vltool.config import EncoderConfig
from vltool.registry import ENCODERS, TASKS
from vltool.structures import Batch
from vltool.tasks.task import Task
from vltool.training.parts import part_of
from vltool.training.rates import Optimizer, Rates, RateSchedule
from vltool.training.update import Updater

SMALL = {
    "dense_coattention": {
        "width": 16,
        "num_levels": 3,
        "lstm_width": 5,
        "num_maps": 2,
        "dropout": 0.0,
        "lstm_dropout": 0.0,
    },
    "vilbert": {
        "text_width": 16,
        "text_layers": 4,
        "text_heads": 2,
        "text_hidden_width": 24,
        "image_width": 12,
        "image_layers": 3,
        "image_heads": 2,
        "image_hidden_width": 12,
        "connection_width": 8,
        "connection_heads": 2,
        "text_connections": (1, 2, 3),
        "image_connections": (0, 1, 2),
        "num_positions": 40,
        "initial_deviation": 0.1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
}
"""Options of each encoder for a test: three levels, no dropout."""


LEVELS = dict.fromkeys(TASKS, 2) | miniature.LEVELS


SHARED = {
    **dict.fromkeys(("vqa", "visual_genome_qa"), "answers"),
    **dict.fromkeys(("coco_retrieval", "flickr30k_retrieval", "alignment"), "retrieval"),
    **dict.fromkeys(("refcoco", "refcoco_plus", "refcocog", "visual7w", "guesswhat"), "referring"),
}
"""Task → decoder, as 12-in-1 shares them; alignment too, as nothing speaks against it."""
SHARED_LEVELS = {name: LEVELS["vqa"] if SHARED.get(name) == "answers" else 2 for name in LEVELS}


class Network:
    def __init__(self, encoder: str, *, shared: bool = False) -> None:
        config = EncoderConfig(encoder, SMALL[encoder])
        self.decoders = SHARED if shared else {}
        self.levels = SHARED_LEVELS if shared else LEVELS
        self.model, self.prepared, self.batching = twelve_model(
            encoder=config, levels=self.levels, decoders=self.decoders
        )
        self.tasks: dict[str, Task[Any]] = self.prepared.tasks

    def batch(self, name: str, size: int = 7) -> Batch:
        examples = self.prepared.examples[name]["train"][:size]
        return self.batching.training_batch(self.tasks[name], examples, np.random.default_rng(0))

    def updater(self, **options: Any) -> Updater:
        optimizer = Optimizer(self.model, rates=Rates(0.01), schedule=RateSchedule(step_size=100))
        return Updater(self.model, optimizer, **options)


def test_every_registered_name_is_held_to_the_contract() -> None:
    assert set(SMALL) == set(ENCODERS)


@pytest.mark.parametrize("shared", [False, True], ids=["own decoders", "shared decoders"])
@pytest.mark.parametrize("encoder", sorted(SMALL))
@pytest.mark.parametrize("name", sorted(LEVELS))
def test_an_update_leaves_levels_above_and_other_decoders_bit_identical(name: str, encoder: str, shared: bool) -> None:
    network = Network(encoder, shared=shared)
    levels, own = network.levels, network.decoders.get(name, name)
    updater = network.updater(accumulate=2)
    for other in LEVELS:  # so that Adam has momentum everywhere
        updater.update(network.tasks[other], network.batch(other))
    before = snapshot(network.model)
    updater.update(network.tasks[name], network.batch(name))
    moved = {key for key, tensor in network.model.state_dict().items() if not torch.equal(tensor, before[key])}
    above = tuple(f"encoder.levels.{level}." for level in range(levels[name], 3))
    others = tuple(f"decoders.{other}." for other in network.model.decoders if other != own)
    assert len(others) == len(LEVELS) - 1 - shared * 7  # ten tasks use three
    assert not [key for key in moved if key.startswith((*above, *others))]
    assert any(key.startswith(f"decoders.{own}.") for key in moved)
    assert any(key.startswith(f"encoder.levels.{levels[name] - 1}.") for key in moved)


@pytest.mark.parametrize("encoder", sorted(SMALL))
@pytest.mark.parametrize("num_parts", [2, 3, 9])
@pytest.mark.parametrize("name", sorted(LEVELS))
def test_the_loss_of_a_batch_is_the_mean_of_its_parts_by_their_terms(name: str, num_parts: int, encoder: str) -> None:
    network = Network(encoder)
    task, batch = network.tasks[name], network.batch(name)
    parts = [part for part in (part_of(batch, k, num_parts) for k in range(num_parts)) if part]
    assert [i for part in parts for i in part.example_ids] == list(batch.example_ids)
    assert sum(task.loss_terms(part) for part in parts) == task.loss_terms(batch)
    losses = [network.model.loss(task, part) * task.loss_terms(part) for part in parts]
    whole = network.model.loss(task, batch)
    torch.testing.assert_close(torch.stack(losses).sum() / task.loss_terms(batch), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("encoder", sorted(SMALL))
@pytest.mark.parametrize("accumulate", [2, 3, 9])
@pytest.mark.parametrize("name", sorted(LEVELS))
def test_accumulation_gives_the_gradient_of_the_whole_batch(name: str, accumulate: int, encoder: str) -> None:
    gradients = []
    for parts in (1, accumulate):
        network = Network(encoder)
        network.updater(accumulate=parts).update(network.tasks[name], network.batch(name), weight=3.0)
        gradients.append({key: p.grad for key, p in network.model.named_parameters()})
    for key, whole in gradients[0].items():
        if whole is None:
            assert gradients[1][key] is None
        else:
            torch.testing.assert_close(gradients[1][key], whole, rtol=1e-4, atol=1e-6)


def test_a_part_holds_only_the_images_and_sentences_it_names() -> None:
    network = Network("dense_coattention")
    batch = network.batch("vqa", 9)  # three questions about each of three pictures
    part = part_of(batch, 0, 3)
    assert part is not None
    assert part.image_ids == batch.image_ids[:1]
    assert len(part.regions) == 1 and len(part.tokens) == 3
    assert torch.equal(part.regions[part.rows[:, 0]], batch.regions[batch.rows[:3, 0]])
    assert torch.equal(part.tokens[part.rows[:, 1]], batch.tokens[batch.rows[:3, 1]])
    assert part_of(replace(batch, example_ids=batch.example_ids[:1], rows=batch.rows[:1]), 0, 2) is None
