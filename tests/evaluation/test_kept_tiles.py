"""A scoring of all pairs that is broken off, resumed and shared out."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluation.test_pair_scores import make_model
from vltool.engines.local import LocalEngine
from vltool.evaluation import pair_inputs
from vltool.evaluation.kept_tiles import KeptTiles
from vltool.evaluation.pair_inputs import PairInputs, Tile
from vltool.evaluation.pair_scorer import PairScorer
from vltool.evaluation.pair_scores import Elsewhere, score_tiles

NUM_IMAGES, NUM_SENTENCES = 13, 23


class Killed(Exception):
    """Whoever scores is gone."""


class MortalScorer(PairScorer):
    """Scores so many tiles, and then no more; says which."""

    lives = 1000

    def score(self, tile: Tile, **options: object) -> np.ndarray:
        self._live(tile.name)
        return super().score(tile, **options)  # type: ignore[arg-type]

    def score_exactly(self, tile: Tile, pairs: np.ndarray, **options: object) -> np.ndarray:
        self._live(f"{tile.name} again")
        return super().score_exactly(tile, pairs, **options)  # type: ignore[arg-type]

    def _live(self, name: str) -> None:
        if self.lives == len(self.scored):
            raise Killed
        self.scored.append(name)

    @functools.cached_property
    def scored(self) -> list[str]:
        return []


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """13 images and 23 sentences are 3 x 3 tiles."""
    monkeypatch.setattr(pair_inputs, "IMAGES_IN_TILE", 5)
    monkeypatch.setattr(pair_inputs, "SENTENCES_IN_TILE", 9)


def make_scorer(*, seed: int = 1, lives: int = 1000, precision: str = "bfloat16") -> MortalScorer:
    generator = torch.Generator().manual_seed(seed)
    num_regions = torch.randint(1, 6, (NUM_IMAGES, 1), generator=generator)
    num_words = torch.randint(1, 9, (NUM_SENTENCES, 1), generator=generator)
    inputs = PairInputs.of_tensors(
        torch.randn(NUM_IMAGES, 5, 10, generator=generator),
        torch.arange(5) < num_regions,
        torch.rand(NUM_IMAGES, 5, 5, generator=generator),
        torch.randint(1, 30, (NUM_SENTENCES, 8), generator=generator),
        torch.arange(8) < num_words,
    )
    scorer = MortalScorer(make_model(), "retrieval", inputs, device="cpu", precision=precision, block_pairs=7)
    scorer.lives = lives
    return scorer


def open_exact_scorer() -> PairScorer:
    return make_scorer(precision="float32")


def test_tiles_cover_every_pair_once() -> None:
    count = np.zeros((NUM_IMAGES, NUM_SENTENCES), int)
    tiles = make_scorer().inputs.tiles()
    for tile in tiles:
        count[np.ix_(tile.images, tile.sentences)] += 1
    assert (count == 1).all() and len(tiles) == 9 == len({tile.name for tile in tiles})


@pytest.mark.parametrize("lives", [0, 1, 5, 9, 12])
def test_a_killed_scoring_goes_on_from_the_tiles_that_are_done(tmp_path: Path, lives: int) -> None:
    whole, first = make_scorer(), make_scorer(lives=lives)
    expected = score_tiles(whole, num_exact=2)
    with pytest.raises(Killed):
        score_tiles(first, num_exact=2, kept=KeptTiles.open(tmp_path / "parts", first))
    assert len(KeptTiles(tmp_path / "parts")) == lives
    second = make_scorer()
    found = score_tiles(second, num_exact=2, kept=KeptTiles.open(tmp_path / "parts", second))
    np.testing.assert_array_equal(found, expected)
    assert first.scored + second.scored == whole.scored
    third = make_scorer(lives=0)
    again = score_tiles(third, num_exact=2, kept=KeptTiles.open(tmp_path / "parts", third))
    np.testing.assert_array_equal(again, expected)


def test_kill_9_leaves_whole_tiles(tmp_path: Path) -> None:
    command = f"from tests.evaluation.test_kept_tiles import die_in; die_in({str(tmp_path / 'parts')!r})"
    code = subprocess.run([sys.executable, "-c", command], cwd=Path(__file__).parents[2]).returncode
    assert code == -signal.SIGKILL
    scorer = make_scorer()
    kept = KeptTiles.open(tmp_path / "parts", scorer)
    assert len(kept) == 3
    np.testing.assert_array_equal(score_tiles(scorer, num_exact=2, kept=kept), score_tiles(make_scorer(), num_exact=2))
    assert not set(scorer.scored) & {path.stem for path in (tmp_path / "parts").glob("00000-*[0-9].npz")}


def die_in(folder: str) -> None:
    """Score three tiles of nine, and die by SIGKILL."""
    pair_inputs.IMAGES_IN_TILE, pair_inputs.SENTENCES_IN_TILE = 5, 9
    torch.set_num_threads(1)
    scorer = make_scorer(lives=3)
    try:
        score_tiles(scorer, num_exact=2, kept=KeptTiles.open(Path(folder), scorer))
    except Killed:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_resumed_scoring_keeps_its_blocks(tmp_path: Path) -> None:
    KeptTiles.open(tmp_path / "parts", make_scorer())
    later = make_scorer()
    later.block_pairs = 3  # as on a device with less free memory
    KeptTiles.open(tmp_path / "parts", later)
    assert later.block_pairs == 7


def test_tiles_of_other_pairs_or_weights_are_not_taken(tmp_path: Path) -> None:
    first = make_scorer()
    score_tiles(first, num_exact=0, kept=KeptTiles.open(tmp_path / "parts", first))
    other_pairs, other_weights = make_scorer(seed=2), make_scorer()
    with torch.no_grad():
        next(other_weights.decoder.parameters()).add_(1)
    exact = make_scorer(precision="float32")
    for scorer in (other_pairs, other_weights, exact):
        score_tiles(scorer, num_exact=0, kept=KeptTiles.open(tmp_path / "parts", scorer))
        assert len(scorer.scored) == 9


@pytest.mark.parametrize("content", [b"", b"no archive", b"half"])
def test_a_damaged_tile_is_scored_again(tmp_path: Path, content: bytes) -> None:
    first = make_scorer()
    expected = score_tiles(first, num_exact=0, kept=KeptTiles.open(tmp_path / "parts", first))
    victim = sorted((tmp_path / "parts").glob("0*.npz"))[4]
    victim.write_bytes(victim.read_bytes()[:200] if content == b"half" else content)
    second = make_scorer()
    found = score_tiles(second, num_exact=0, kept=KeptTiles.open(tmp_path / "parts", second))
    np.testing.assert_array_equal(found, expected)
    assert second.scored == [victim.stem]


def test_progress_counts_what_was_kept_and_reaches_the_end(tmp_path: Path) -> None:
    first = make_scorer(lives=4)
    with pytest.raises(Killed):
        score_tiles(first, num_exact=2, kept=KeptTiles.open(tmp_path / "parts", first))
    second, seen = make_scorer(), []
    kept = KeptTiles.open(tmp_path / "parts", second)
    score_tiles(second, num_exact=2, kept=kept, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] == seen[0][1] > NUM_IMAGES * NUM_SENTENCES


def test_processes_share_the_tiles(tmp_path: Path) -> None:
    here, mine = make_scorer(precision="float32"), make_scorer(precision="float32", lives=0)
    elsewhere = Elsewhere(LocalEngine(2), open_exact_scorer)
    found = score_tiles(mine, kept=KeptTiles.open(tmp_path / "parts", mine), elsewhere=elsewhere)
    np.testing.assert_allclose(found, score_tiles(here), rtol=0, atol=1e-6)
    assert len(KeptTiles(tmp_path / "parts")) == 9 and not mine.scored
