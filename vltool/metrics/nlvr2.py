"""NLVR2: accuracy, and consistency: the share of sentences that are right for all of their pairs of pictures.

Rules: nlvr2/eval/metrics.py of lil-lab/nlvr at 18924841, which calls accuracy precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vltool.metrics.answering import share_right
from vltool.metrics.item_scores import ItemScores, Part, Score


def nlvr2_items(right: Sequence[bool], sentence_ids: Sequence[str]) -> ItemScores:
    """`accuracy` and `consistency` in percent, grouped by sentence.

    right, sentence_ids: of each statement; statements of one sentence share its id.
    """
    items = share_right(right, sentence_ids, unit="sentence")
    whole = np.full(len(items.unit_ids), 100.0)
    np.minimum.at(whole, items.parts["all"].units, items.parts["all"].values)
    parts = {**items.parts, "sentences": Part(whole, np.arange(len(whole)))}
    formulas = {**items.formulas, "consistency": Score("mean", ("sentences",))}
    return ItemScores(items.unit, items.unit_ids, parts, formulas)
