"""The layers, the summary networks and the answering decoder against the authors' public code, to 1e-10.

The files beside this test hold that code's inputs, weights and outputs (float64, no dropout). Further ones named
dense_coattention_*.npz are taken from the folders in the environment variable VLTOOL_GOLDEN.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.decoders_of import answering
from vltool.models.decoders.answering import AnsweringDecoder
from vltool.models.dense_coattention import DenseCoattentionLayer
from vltool.structures import JointState

FOLDERS = [
    Path(__file__).parent / "golden",
    *map(Path, filter(None, os.environ.get("VLTOOL_GOLDEN", "").split(os.pathsep))),
]
FILES = sorted(path for folder in FOLDERS for path in folder.glob("dense_coattention_*.npz"))
TOLERANCE = 1e-10

DECODER_NAMES = {
    "summary_regions": "summary.summarize_regions",
    "summary_words": "summary.summarize_words",
    "answer.hidden": "classify.hidden",
    "answer.out": "classify.answers",
}


class Golden:
    """One file of reference numbers."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
        self.num_maps = int(self.arrays["heads"])
        self.width = self["words_in"].shape[-1]
        self.num_levels = sum(name.startswith("words_out/") for name in self.arrays)

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def state(self, level: int) -> JointState:
        """(S_level, I_level)."""
        names = ("words_in", "regions_in") if level == 0 else (f"words_out/{level}", f"regions_out/{level}")
        return JointState(self[names[0]], self[names[1]], self["word_mask"], self["region_mask"])

    def layer(self, level: int) -> DenseCoattentionLayer:
        start = f"weights/layer{level}/"
        weights = {name.removeprefix(start): array for name, array in self.arrays.items() if name.startswith(start)}
        slots = len(weights["memory_words"])
        layer = DenseCoattentionLayer(self.width, num_maps=self.num_maps, num_memory_slots=slots).double().eval()
        layer.load_state_dict(weights)
        return layer

    def decoder(self) -> AnsweringDecoder:
        weights = {
            ours + name.removeprefix(f"weights/{theirs}"): array
            for name, array in self.arrays.items()
            for theirs, ours in DECODER_NAMES.items()
            if name.startswith(f"weights/{theirs}.")
        }
        num_answers = len(self["weights/answer.out.bias"])
        decoder = answering(self.width, self.width, num_answers, num_maps=self.num_maps)
        decoder.double().eval().load_state_dict(weights)
        return decoder


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def test_golden_files_are_there() -> None:
    if not FILES:
        pytest.skip(f"no dense_coattention_*.npz in {', '.join(map(str, FOLDERS))}")


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


@torch.no_grad()
def test_stack_of_layers_is_the_reference(golden: Golden) -> None:
    state = golden.state(0)
    for level in range(1, golden.num_levels + 1):
        state = golden.layer(level)(state)
        assert largest_error(state.text, golden[f"words_out/{level}"]) < TOLERANCE
        assert largest_error(state.image, golden[f"regions_out/{level}"]) < TOLERANCE


@torch.no_grad()
def test_attention_maps_are_the_reference(golden: Golden) -> None:
    for level in range(1, golden.num_levels + 1):
        maps = golden.layer(level).attention(golden.state(level - 1))
        assert largest_error(maps.words_over_regions, golden[f"attention_words_over_regions/{level}"]) < TOLERANCE
        assert largest_error(maps.regions_over_words, golden[f"attention_regions_over_words/{level}"]) < TOLERANCE


@torch.no_grad()
def test_summaries_and_answers_are_the_reference(golden: Golden) -> None:
    decoder, state = golden.decoder(), golden.state(golden.num_levels)
    words, regions = decoder.summary(state)
    assert largest_error(regions, golden["summary_regions"]) < TOLERANCE
    assert largest_error(words, golden["summary_words"]) < TOLERANCE
    assert largest_error(decoder(state, {}), golden["answer_logits"]) < TOLERANCE
