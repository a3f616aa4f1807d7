"""Learning rates at each turn, worked by hand; what AdamW leaves alone; rates of parts and of tasks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.miniature import miniature_config, miniature_model, snapshot
from vltool.config import dump, from_dict
from vltool.errors import ConfigError
from vltool.training.rates import Optimizer, Rates, RateSchedule, optimizer_of
from vltool.training.update import Updater
from vltool.training_config import TrainingConfig


def shares(schedule: RateSchedule, count: int) -> list[float]:
    return [round(schedule.share_at(turn), 6) for turn in range(count)]


def test_the_papers_rate_is_halved_after_every_step() -> None:
    assert shares(RateSchedule(step_size=2), 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_warmup_rises_from_one_step_above_nothing_and_the_rate_falls_to_nothing() -> None:
    schedule = RateSchedule(step_size=99, kind="linear", warmup=0.4, num_turns=10)
    assert shares(schedule, 11) == [0.25, 0.5, 0.75, 1, 1, 0.833333, 0.666667, 0.5, 0.333333, 0.166667, 0]
    assert shares(RateSchedule(step_size=99, kind="linear", num_turns=4), 4) == [1, 0.75, 0.5, 0.25]
    assert shares(RateSchedule(step_size=3, warmup=0.2, num_turns=10), 7) == [0.5, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert shares(RateSchedule(step_size=1, kind="linear", warmup=1.0, num_turns=2), 3) == [0.5, 1, 0]


def test_the_longest_beginning_of_a_name_decides() -> None:
    rates = Rates(0.1, {"decoders": 0.2, "decoders.vqa": 0.3, "encoder.levels.1": 0.4})
    parts = [rates.part_of(name) for name in ("decoders.vqa.hidden.bias", "decoders.vqa2.bias", "encoder.levels.10.x")]
    assert parts == ["decoders.vqa", "decoders", ""]
    assert [rates.of(part, None) for part in parts] == [0.3, 0.2, 0.1]
    assert [rates.of(part, 0.7) for part in parts] == [0.3, 0.2, 0.7]  # a part's rate stays its own in every task


def test_parts_and_tasks_step_at_their_own_rates() -> None:
    model, prepared, batching = miniature_model()
    rates = Rates(1e-3, {"decoders": 1e-2})
    updater = Updater(model, Optimizer(model, rates=rates, schedule=RateSchedule(step_size=99)))
    steps = {}
    for name, rate in (("vqa", None), ("grounding", 1e-4)):
        before = snapshot(model)
        batch, _ = batching.batch(prepared.tasks[name], prepared.examples[name]["train"][:6])
        updater.update(prepared.tasks[name], batch, rate=rate)
        moved = {key: float((tensor - before[key]).abs().max()) for key, tensor in model.state_dict().items()}
        steps[name] = [max(v for k, v in moved.items() if k.startswith(part)) for part in ("encoder.", "decoders.")]
    assert steps["vqa"] == pytest.approx([1e-3, 1e-2], rel=1e-3)  # Adam's first step is as long as its rate
    assert steps["grounding"][1] == pytest.approx(1e-2, rel=1e-3)
    assert steps["grounding"][0] < 1e-3 / 5  # a second step, at a tenth of the rate of the first


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.LayerNorm(3)


def test_adamw_is_torchs_and_does_not_decay_biases_norms_or_what_was_not_reached() -> None:
    model = Two()
    optimizer = Optimizer(model, rates=Rates(0.1), schedule=RateSchedule(step_size=9), kind="adamw", weight_decay=0.5)
    before = snapshot(model)
    model.norm(model.used(torch.zeros(2, 3))).sum().mul(0.0).backward()  # gradients of 0: what moves has decayed
    optimizer.set_rates(0)
    optimizer.inner.step()
    after = model.state_dict()
    torch.testing.assert_close(after["used.weight"], before["used.weight"] * (1 - 0.1 * 0.5))
    assert [key for key in before if not torch.equal(after[key], before[key])] == ["used.weight"]


def test_adam_with_nothing_else_is_one_group_in_the_models_own_order() -> None:
    """Adam's state is saved by the number of the parameter: earlier checkpoints go on."""
    model, _, _ = miniature_model()
    optimizer = optimizer_of(model, TrainingConfig(), step_size=5, num_turns=10)
    (group,) = optimizer.inner.param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters() if p.requires_grad]
    assert type(optimizer.inner) is torch.optim.Adam


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": 0.1}, r"training\.weight_decay: adam has none\. Set training\.optimizer=adamw"),
        (
            {"rates": Rates(0.1, {"decoder": 0.2})},
            r"no parameter's name begins with 'decoder'\. Name encoder, decoders",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    model, _, _ = miniature_model()
    with pytest.raises(ConfigError, match=message):
        Optimizer(model, **{"rates": Rates(0.1), "schedule": RateSchedule(step_size=1), **options})


def test_keys_at_their_defaults_are_no_part_of_a_training(tmp_path: str) -> None:
    config = miniature_config("out")
    plain = dump(config)
    younger = {"optimizer", "weight_decay", "part_rates", "schedule", "warmup", "sampling", "stop_and_go"}
    assert not younger & set(plain["training"]) and "learning_rate" not in plain["tasks"]["vqa"]
    assert from_dict(plain) == config
    changed = {**plain, "training": {**plain["training"], "part_rates": {"decoders.nlvr2": 1e-4}}}
    with pytest.raises(ConfigError, match=r"training\.part_rates: decoders\.nlvr2: the run has no such decoder"):
        from_dict(changed)
    changed["training"]["part_rates"] = {"decoders.vqa": 1e-4}
    changed["training"]["stop_and_go"] = {"gap": 2}
    assert dump(from_dict(changed))["training"]["stop_and_go"]["gap"] == 2
    changed["training"]["stop_and_go"] = {"gapp": 2}
    with pytest.raises(ConfigError, match=r"unknown key 'training\.stop_and_go\.gapp' \(known here: patience"):
        from_dict(changed)
