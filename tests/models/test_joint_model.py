"""One network, several tasks: each step stays within its own part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.models.decoders_of import answering, matching
from vltool.errors import ConfigError
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.joint_model import JointModel
from vltool.structures import Batch

MakeEncoder = Callable[..., DenseCoattentionEncoder]


class Matching:
    name = "matching"

    def choose_rows(self, batch: Batch, score: Callable[[Tensor], Tensor]) -> Batch:
        return batch

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return logits.square().mean()


class Answering(Matching):
    name = "answering"


def make_model(make_encoder: MakeEncoder) -> JointModel:
    decoders = {"matching": matching(), "answering": answering(num_answers=5)}
    return JointModel(make_encoder(), decoders, {"matching": 1, "answering": 3}).double().train()


def in_reach(name: str, task: str, level: int) -> bool:
    """Whether a step on the task may touch the parameter of this name."""
    parts = name.split(".")
    if parts[0] == "decoders":
        return parts[1] == task
    return parts[1] != "levels" or int(parts[2]) < level


@pytest.mark.parametrize("task", [Matching(), Answering()], ids=lambda task: task.name)
def test_what_a_task_does_not_reach_gets_no_gradient(make_encoder: MakeEncoder, batch: Batch, task: Matching) -> None:
    model = make_model(make_encoder)
    model.loss(task, batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (parameter.grad is not None) is in_reach(name, task.name, model.level(task.name)), name


def test_update_leaves_levels_above_l_and_other_decoders_untouched(make_encoder: MakeEncoder, batch: Batch) -> None:
    model = make_model(make_encoder)
    optimizer = torch.optim.Adam([item for item in model.parameters() if item.requires_grad], lr=0.1)
    for task in (Answering(), Matching()):  # the first fills Adam's moments for everything
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        optimizer.zero_grad(set_to_none=True)
        model.loss(task, batch).backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        touched = parameter.requires_grad and in_reach(name, "matching", 1)
        assert torch.equal(parameter, before[name]) is not touched, name


def test_logits_are_the_decoder_s_at_its_level(make_encoder: MakeEncoder, batch: Batch) -> None:
    model = make_model(make_encoder).eval()
    expected = model.decoders["answering"](model.encoder(batch, level=3), {})
    torch.testing.assert_close(model.logits("answering", batch), expected)
    assert model.logits("matching", batch).shape == (5,)


def test_an_unknown_task_lists_the_known_ones(make_encoder: MakeEncoder, batch: Batch) -> None:
    with pytest.raises(ConfigError, match=r"no task 'captioning'. It has: answering, matching"):
        make_model(make_encoder).logits("captioning", batch)


def test_a_level_that_is_not_there_is_refused_at_once(make_encoder: MakeEncoder) -> None:
    with pytest.raises(ConfigError, match="from 1 to 3"):
        JointModel(make_encoder(), {"matching": matching()}, {"matching": 4})


def test_every_task_needs_a_decoder_and_a_level(make_encoder: MakeEncoder) -> None:
    with pytest.raises(ConfigError, match=r"one decoder and one\s+level"):
        JointModel(make_encoder(), {"matching": matching()}, {"answering": 1})
