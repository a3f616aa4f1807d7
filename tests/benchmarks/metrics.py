"""How long the metrics take at full size: python -m tests.benchmarks.metrics

VQA: made-up results for as many questions as VQA v2 val has, 214,354; `vltool score vqa` from the files, in a process
of its own. Bar: 60 seconds (the official 1,500 hard cases of tests/metrics/golden: 5 seconds). Retrieval: the scores of
5,000 pictures and 25,000 captions in a .npy file of 500 MB; the metric alone, both ways to count ties, as 5K and as
five folds. Bar: 60 seconds, in blocks: what is allocated at once is printed. Also the intervals of 1,000 resamples.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vltool.metrics.bootstrap import intervals
from vltool.metrics.recall import retrieval_items

QUESTIONS, PICTURES, CAPTIONS, DRAWS = 214_354, 5_000, 25_000, 1_000
HARD_CASES = Path(__file__).parents[1] / "metrics" / "golden" / "vqa_official.zip"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(HARD_CASES) as archive:
            archive.extractall(folder)
        found = next(folder.rglob("questions.json")).parent
        print(f"VQA, 1,500 hard cases: {seconds(lambda: score_vqa(found)):.1f} s (bar 5)")
        write_questions(folder)
        print(f"VQA, {QUESTIONS:,} questions: {seconds(lambda: score_vqa(folder)):.1f} s (bar 60)")
        taken = seconds(lambda: score_vqa(folder, "--bootstrap", str(DRAWS)))
        print(f"VQA, with intervals of {DRAWS:,} resamples: {taken:.1f} s")
        retrieval(write_scores(folder / "scores.npy"))


def retrieval(path: Path) -> None:
    rows = np.repeat(np.arange(PICTURES), CAPTIONS // PICTURES)
    for ties, folds in (("against", 1), ("against", 5), ("scan", 1), ("scan", 5)):
        options: dict[str, Any] = {"ties": ties, "folds": folds}
        taken = seconds(lambda options=options: retrieval_items(np.load(path, mmap_mode="r"), rows, **options))
        print(f"retrieval, {PICTURES:,} x {CAPTIONS:,}, ties {ties}, folds {folds}: {taken:.1f} s (bar 60)")
    tracemalloc.start()
    items = retrieval_items(np.load(path, mmap_mode="r"), rows)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(f"retrieval, memory beside the mapped file of {path.stat().st_size / 1e6:.0f} MB: {peak:.0f} MB at most")
    print(f"retrieval, intervals of {DRAWS:,} resamples: {seconds(lambda: intervals(items, draws=DRAWS)):.1f} s")


def score_vqa(folder: Path, *options: str) -> None:
    files = [
        part for kind in ("questions", "annotations", "results") for part in (f"--{kind}", f"{folder}/{kind}.json")
    ]
    command = [sys.executable, "-m", "vltool", "score", "vqa", *files, "--json", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_questions(folder: Path) -> None:
    """Questions with ten answers of a few hundred words each, of which about half need to be normalised."""
    draw = random.Random(0)
    words = [f"{front}{k}{end}" for k in range(60) for front in ("the ", "a red-", "") for end in (".", "", "'s, one")]
    questions, annotations, results = [], [], []
    for number in range(QUESTIONS):
        few = draw.sample(words, 3)
        chosen = [few[0]] * 10 if draw.random() < 0.4 else draw.choices(few, k=10)
        answers = [{"answer": word, "answer_confidence": "yes", "answer_id": k} for k, word in enumerate(chosen, 1)]
        kind = draw.choice(("yes/no", "number", "other"))
        questions.append({"image_id": number // 5, "question": "What is this?", "question_id": number})
        fields = {"question_type": f"what {number % 65}", "answer_type": kind, "multiple_choice_answer": few[0]}
        annotations.append({"question_id": number, "image_id": number // 5, **fields, "answers": answers})
        results.append({"question_id": number, "answer": draw.choice(few)})
    contents = {"questions": {"questions": questions}, "annotations": {"annotations": annotations}, "results": results}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def write_scores(path: Path) -> Path:
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(PICTURES, CAPTIONS))
    rng = np.random.default_rng(0)
    for first in range(0, PICTURES, 250):
        matrix[first : first + 250] = rng.standard_normal((250, CAPTIONS), dtype=np.float32)
    matrix.flush()
    return path


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
