"""What a model predicted and how each item was scored, as files that `vltool score` and `vltool report` read.

<stem>-predictions.json   as in a submission: VQA's results, ranked boxes of phrases, the best picture of each caption
<stem>-submission.csv     the same as it is submitted, where that is no JSON (NLVR2: identifier,prediction)
<stem>-items.json         the score of every item (`metrics/item_scores.py`), for intervals and paired comparisons
<stem>-scores.npy         where all pairs count: (images, captions), and in
<stem>-gold.json          the row of each caption's picture: `vltool score retrieval --scores … --gold …`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vltool.evaluation.evaluate import Evaluation
from vltool.json_files import read_json, whole_file, write_json, write_text
from vltool.metrics.item_scores import ItemScores


def write_predictions(evaluation: Evaluation, folder: Path, stem: str) -> dict[str, str]:
    """What was written: predictions, submission, items, scores, gold → path."""
    found = {"predictions": folder / f"{stem}-predictions.json"}
    write_json(found["predictions"], evaluation.predictions)
    if evaluation.submission is not None:
        suffix, text = evaluation.submission
        found["submission"] = folder / f"{stem}-submission{suffix}"
        write_text(found["submission"], text)
    if evaluation.items is None:  # none of an earlier scoring stays
        items_path(folder, stem).unlink(missing_ok=True)
    else:
        found["items"] = items_path(folder, stem)
        write_json(found["items"], evaluation.items.to_json())
    if evaluation.pair_scores is not None:
        found |= {"scores": folder / f"{stem}-scores.npy", "gold": folder / f"{stem}-gold.json"}
        write_json(found["gold"], evaluation.gold)
        with whole_file(found["scores"]) as file:
            np.save(file, evaluation.pair_scores, allow_pickle=False)
    return {kind: str(path) for kind, path in found.items()}


def items_path(folder: Path, stem: str) -> Path:
    """Where the items of predictions are."""
    return folder / f"{stem}-items.json"


def read_items(path: Path) -> ItemScores | None:
    """The items in a file, None if there is none. Raises DataError if it is damaged."""
    return ItemScores.from_json(read_json(path), where=str(path)) if path.is_file() else None
