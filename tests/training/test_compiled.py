"""torch.compile as an option: the same numbers, and a message where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_contract import Network
from tests.training.test_run import PLAN, inputs
from vltool.errors import TrainingError
from vltool.training import run as run_module
from vltool.training.compiled import compile_loss
from vltool.training.run import train


def test_a_compiled_update_is_the_same_for_batches_of_any_size() -> None:
    torch.compiler.reset()
    compiled, plain = Network("dense_coattention"), Network("dense_coattention")
    updater, other = compiled.updater(loss=compile_loss(compiled.model, backend="eager")), plain.updater()
    for size in (5, 8):
        step = updater.update(compiled.tasks["grounding"], compiled.batch("grounding", size))
        expected = other.update(plain.tasks["grounding"], plain.batch("grounding", size))
        assert step.loss == pytest.approx(expected.loss, abs=1e-6)
    for key, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[key], tensor)


def broken(graph: Any, example_inputs: Any) -> Any:
    raise OSError("g++: command not found")


def test_where_torch_cannot_compile_the_message_says_how_to_go_on() -> None:
    torch.compiler.reset()
    network = Network("dense_coattention")
    updater = network.updater(loss=compile_loss(network.model, backend=broken))
    with pytest.raises(TrainingError, match=r"training\.compile: torch .* cannot compile the network here") as found:
        updater.update(network.tasks["vqa"], network.batch("vqa"))
    assert "g++: command not found" in str(found.value)
    assert "Set training.compile=false" in str(found.value)


def test_errors_of_the_network_are_not_taken_for_the_compilers() -> None:
    torch.compiler.reset()
    network = Network("dense_coattention")
    loss = compile_loss(network.model, backend="eager")
    batch = network.batch("vqa")
    batch.regions = batch.regions[..., :3]
    with pytest.raises(Exception, match="the region features are 3 wide") as found:
        loss(network.tasks["vqa"], batch)
    assert not isinstance(found.value, TrainingError)


def test_the_option_compiles_what_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def note(model: Any) -> Any:
        compiled.append(model)
        return model.loss

    monkeypatch.setattr(run_module, "compile_loss", note)
    train(inputs(tmp_path, compile=True), PLAN, tmp_path / "run")
    train(inputs(tmp_path), PLAN, tmp_path / "plain")
    assert len(compiled) == 1
