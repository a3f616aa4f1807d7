"""One update: what it leaves alone, how the rate falls, what it does with numbers that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.miniature import miniature_model, snapshot
from vltool.errors import TrainingError
from vltool.registry import TASKS
from vltool.training.update import Updater

LEVELS = {"caption_retrieval": 2, "vqa": 3, "grounding": 1}


def updater_of(model: torch.nn.Module, **options: object) -> Updater:
    settings = {"learning_rate": 0.01, "betas": (0.9, 0.99), "decay": 0.5, "step_size": 2, **options}
    return Updater(model, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_update_leaves_levels_above_l_and_other_decoders_untouched(name: str) -> None:
    model, prepared, batching = miniature_model(LEVELS)
    updater = updater_of(model)
    for other in TASKS:  # so that Adam has momentum everywhere
        batch, _ = batching.batch(prepared.tasks[other], prepared.examples[other]["train"][:6])
        updater.update(prepared.tasks[other], batch)
    before = snapshot(model)
    chosen = prepared.examples[name]["train"][:6]
    batch = batching.training_batch(prepared.tasks[name], chosen, np.random.default_rng(0))
    updater.update(prepared.tasks[name], batch)
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    above = tuple(f"encoder.levels.{level}." for level in range(LEVELS[name], 3))
    others = tuple(f"decoders.{other}." for other in TASKS if other != name)
    assert not [key for key in moved if key.startswith((*above, *others))]
    assert any(key.startswith(f"decoders.{name}.") for key in moved)
    assert any(key.startswith(f"encoder.levels.{LEVELS[name] - 1}.") for key in moved)


def test_rate_is_halved_after_every_step() -> None:
    model, prepared, batching = miniature_model()
    updater = updater_of(model)
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
    rates = []
    for _ in range(5):
        rates.append(updater.learning_rate)
        updater.update(prepared.tasks["vqa"], batch)
    assert rates == [0.01, 0.01, 0.005, 0.005, 0.0025]


def test_dropout_depends_on_the_number_of_the_update_alone() -> None:
    losses = []
    for noise in (0, 7):
        model, prepared, batching = miniature_model()
        batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:8])
        torch.manual_seed(noise)
        losses.append(updater_of(model).update(prepared.tasks["vqa"], batch))
    assert losses[0] == losses[1]


def test_a_loss_that_is_not_finite_stops_with_task_update_and_examples() -> None:
    model, prepared, batching = miniature_model()
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
    batch.regions[0, 0, 0] = float("nan")
    before = snapshot(model)
    with pytest.raises(TrainingError, match=r"the loss of task 'vqa' is nan at update 0 \(examples 0, 1, 2"):
        updater_of(model).update(prepared.tasks["vqa"], batch)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
