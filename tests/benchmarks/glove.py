"""How fast the vectors of 10,000 words come out of a large GloVe file: python -m tests.benchmarks.glove [PYTHON]

PYTHON: an interpreter with gensim, whose loader reads the same file in the same run. The file: 150,000 lines of 300
numbers, about 400 MB. Bar: 30 times as fast as gensim. Also printed: the share of plain sequential reading reached.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vltool.text.glove import load_vectors
from vltool.text.vocabulary import PADDING_WORD, UNKNOWN_WORD

LINES, WIDTH, WANTED = 150_000, 300, 10_000
GENSIM = """
import sys, time
from gensim.models import KeyedVectors
started, worked = time.perf_counter(), time.process_time()
vectors = KeyedVectors.load_word2vec_format(sys.argv[1], binary=False, no_header=True)
print(time.perf_counter() - started, time.process_time() - worked, len(vectors))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "glove.300d.txt"
        write_vectors(path)
        words = [PADDING_WORD, UNKNOWN_WORD, *(f"word{number * (LINES // WANTED)}" for number in range(WANTED))]
        plain = min(read_plainly(path) for _ in range(3))
        own, own_work = map(min, zip(*(load(path, words) for _ in range(3)), strict=True))
        size = path.stat().st_size / 1e6
        print(f"{LINES:,} lines, {size:.0f} MB; plain reading {plain:.2f} s ({size / plain:,.0f} MB/s)")
        print(f"vltool: {own:.2f} s, {100 * plain / own:.0f} % of plain reading; processor time {own_work:.2f} s")
        if len(sys.argv) > 1:
            command = [sys.argv[1], "-c", GENSIM, str(path)]
            seconds, worked, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            times, work_times = float(seconds) / own, float(worked) / own_work
            print(f"gensim: {float(seconds):.2f} s for {count} words; vltool is {times:.0f} times as fast")
            print(
                f"in processor time, which busy neighbours do not change: {float(worked):.2f} s, {work_times:.0f} times"
            )


def write_vectors(path: Path) -> None:
    """Lines as in glove.6B: a word and five-digit numbers."""
    draw = np.random.default_rng(0)
    blocks = [" ".join(f"{value:.5f}" for value in draw.normal(0, 0.4, WIDTH)) for _ in range(997)]
    with path.open("w") as file:
        for number in range(LINES):
            file.write(f"word{number} {blocks[number % 997]}\n")


def read_plainly(path: Path) -> float:
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(2**20):
            pass
    return time.perf_counter() - started


def load(path: Path, words: list[str]) -> tuple[float, float]:
    """Seconds, and seconds of processor time."""
    started, worked = time.perf_counter(), time.process_time()
    matrix, coverage = load_vectors(path, words)
    assert coverage["found"] == WANTED and matrix.shape == (WANTED + 2, WIDTH)
    return time.perf_counter() - started, time.process_time() - worked


if __name__ == "__main__":
    main()
