"""Scores of tiles on disk, so that a scoring of days goes on where it was killed.

<folder>/
  begun.json               the fingerprint of what is scored, and how many pairs go through the network at once
  00003-00017.npz          the scores of a tile
  00003-00017-exact.npz    those of its best pairs in float32, and which pairs they are
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np

from vltool.errors import DataError
from vltool.evaluation.pair_inputs import Tile
from vltool.evaluation.pair_scorer import PairScorer
from vltool.json_files import read_json, whole_file, write_json


class KeptTiles:
    """The tiles of one scoring. Files appear whole or not at all; one that is damaged counts as not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, scorer: PairScorer) -> KeptTiles:
        """Those of an earlier scoring of the same pairs by the same weights go on in the same blocks; others go."""
        begun, own = folder / "begun.json", scorer.fingerprint()
        try:
            earlier = read_json(begun)
        except DataError:
            earlier = None
        if isinstance(earlier, dict) and earlier.get("fingerprint") == own:
            scorer.block_pairs = int(earlier["block_pairs"])
        else:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(begun, {"fingerprint": own, "block_pairs": scorer.block_pairs})
        return cls(folder)

    def __len__(self) -> int:
        return len(list(self.folder.glob("[0-9]*.npz")))

    def read(self, tile: Tile, pairs: np.ndarray | None) -> np.ndarray | None:
        """The scores of a tile, or of just these of its pairs; None where they are not known."""
        try:
            with np.load(self._path(tile, pairs), allow_pickle=False) as file:
                scores, known = file["scores"], file["pairs"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        wanted = tile.shape if pairs is None else (len(pairs),)
        if scores.shape != wanted or scores.dtype != np.float32:
            return None
        return scores if pairs is None or np.array_equal(known, pairs) else None

    def write(self, tile: Tile, pairs: np.ndarray | None, scores: np.ndarray) -> None:
        """Keep the scores of a tile, or of some of its pairs."""
        with whole_file(self._path(tile, pairs)) as file:
            np.savez(file, scores=scores, pairs=np.empty((0, 2), np.int64) if pairs is None else pairs)

    def _path(self, tile: Tile, pairs: np.ndarray | None) -> Path:
        return self.folder / f"{tile.name}{'' if pairs is None else '-exact'}.npz"


def forget(folder: Path) -> None:
    """Remove the tiles of a scoring whose scores are written."""
    shutil.rmtree(folder, ignore_errors=True)
