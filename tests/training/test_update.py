"""One update: what it leaves alone, how the rate falls, what it does with numbers that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.miniature import LEVELS, miniature_model, snapshot
from tests.twelve import twelve_model
from vltool.errors import TrainingError
from vltool.registry import TASKS
from vltool.training.memory import explaining_memory
from vltool.training.parts import seed_of_part
from vltool.training.rates import Optimizer, Rates, RateSchedule
from vltool.training.update import Updater


def updater_of(model: torch.nn.Module, **options: object) -> Updater:
    optimizer = Optimizer(model, rates=Rates(0.01), schedule=RateSchedule(step_size=2))
    return Updater(model, optimizer, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_update_leaves_levels_above_l_and_other_decoders_untouched(name: str) -> None:
    model, prepared, batching = twelve_model(levels=LEVELS)
    updater = updater_of(model)
    for other in TASKS:  # so that Adam has momentum everywhere
        batch, _ = batching.batch(prepared.tasks[other], prepared.examples[other]["train"][:6])
        updater.update(prepared.tasks[other], batch)
    before = snapshot(model)
    chosen = prepared.examples[name]["train"][:6]
    batch = batching.training_batch(prepared.tasks[name], chosen, np.random.default_rng(0))
    updater.update(prepared.tasks[name], batch)
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
    above = tuple(f"encoder.levels.{level}." for level in range(LEVELS.get(name, 2), 3))
    others = tuple(f"decoders.{other}." for other in TASKS if other != name)
    assert not [key for key in moved if key.startswith((*above, *others))]
    assert any(key.startswith(f"decoders.{name}.") for key in moved)
    assert any(key.startswith(f"encoder.levels.{LEVELS.get(name, 2) - 1}.") for key in moved)


def test_rate_is_halved_after_every_step() -> None:
    model, prepared, batching = miniature_model()
    updater = updater_of(model)
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
    rates = []
    for _ in range(5):
        rates.append(updater.optimizer.learning_rate(updater.num_turns))
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


def test_parts_of_an_update_draw_their_own_dropout() -> None:
    seeds = {seed_of_part(seed, update, number) for seed in (0, 1) for update in (0, 1) for number in range(8)}
    assert len(seeds) == 32
    assert seed_of_part(3, 5, 0) == (3 << 32) + 5


def test_a_float16_overflow_leaves_the_step_out_and_lowers_the_scale() -> None:
    model, prepared, batching = miniature_model()
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
    updater = updater_of(model, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**120))
    before = snapshot(model)
    step = updater.update(prepared.tasks["vqa"], batch, weight=1e6)
    assert step.gradient_norm == float("inf") or step.gradient_norm != step.gradient_norm
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert updater.num_updates == 1
    assert updater.scaler.get_scale() == 2.0**119


def test_a_scaled_gradient_is_the_same_as_an_unscaled_one() -> None:
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**16)):
        model, prepared, batching = miniature_model()
        batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
        updater_of(model, scaler=scaler, gradient_clip=0.01).update(prepared.tasks["vqa"], batch)
        weights.append(snapshot(model))
    for key, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][key], tensor)


def test_a_gradient_that_is_not_finite_at_the_lowest_scale_stops() -> None:
    model, prepared, batching = miniature_model()
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])
    next(iter(model.decoders["vqa"].parameters())).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"a gradient of task 'vqa' is (nan|inf) at update 0 \(examples 0, 1"):
        updater_of(model, scaler=torch.amp.GradScaler("cpu", init_scale=1.0)).update(prepared.tasks["vqa"], batch)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: not enough memory: you tried …"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_says_what_to_lower(error: Exception) -> None:
    model, prepared, batching = miniature_model()
    batch, _ = batching.batch(prepared.tasks["vqa"], prepared.examples["vqa"]["train"][:4])

    def no_memory(task: object, part: object) -> torch.Tensor:
        raise error

    with pytest.raises(TrainingError, match="out of memory at update 0 of task 'vqa'") as found:
        updater_of(model, loss=no_memory, accumulate=2).update(prepared.tasks["vqa"], batch)
    for words in ("4 examples in 2 parts", "Raise training.accumulate (now 2)", "batch_size of vqa in the plan"):
        assert words in str(found.value)


def test_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explaining_memory("here", "nothing"):
        raise RuntimeError("shapes do not match")
