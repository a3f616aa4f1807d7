"""Which tasks learn together, with mean and spread over seeds, in the layout of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from vltool.report.published import DATA, SOURCE, TABLES
from vltool.report.table import Table, written

PUBLISHED = next(table for table in TABLES if table.key == "table-1")
SHORT_NAMES = {"vqa": "VQA", "caption_retrieval": "retrieval", "grounding": "grounding"}


def combination_table(
    rows: Sequence[dict[str, Any]], *, name: str, type_of: Callable[[str], str], num_tasks: int
) -> Table:
    """rows: as `training.combinations.summarize` gives them. type_of: a task's name in the registry."""
    columns = [column for column in PUBLISHED.columns if any(column[0] in map(type_of, row["tasks"]) for row in rows)]
    own = [
        {
            "Trained on": named(row["tasks"], type_of, num_tasks)
            + (", fine-tuned from all" if row.get("finetuned") else "")
        }
        | {heading: mean_and_spread(cell_of(row, kind, metric, type_of)) for kind, metric, heading in columns}
        for row in rows
    ]
    places = [PUBLISHED.columns.index(column) for column in columns]
    published = [
        {"Trained on": label, **{columns[k][2]: written(values[place], 2) for k, place in enumerate(places)}}
        for label, values in PUBLISHED.rows
    ]
    seeds = len(rows[0]["seeds"])
    return Table(
        PUBLISHED.title,
        pd.DataFrame([*own, *published]),
        note=f"Percent, mean ± standard deviation over {seeds} seeds." if seeds > 1 else "Percent, one seed.",
        groups=(
            (f"This run ({name})", len(own), False),
            (f"Published ({SOURCE}), on {DATA}", len(published), True),
        ),
    )


def named(tasks: Sequence[str], type_of: Callable[[str], str], num_tasks: int) -> str:
    """ "VQA alone", "VQA + retrieval", "all"."""
    if len(tasks) == num_tasks > 1:
        return "all"
    words = [SHORT_NAMES.get(type_of(task), task) for task in tasks]
    return f"{words[0]} alone" if len(words) == 1 else " + ".join(words)


def cell_of(row: dict[str, Any], kind: str, metric: str, type_of: Callable[[str], str]) -> dict[str, Any] | None:
    """Mean and spread of one metric of the first task of a kind; None where the combination has no such task."""
    task = next((task for task in row["tasks"] if type_of(task) == kind), None)
    found: dict[str, Any] | None = None if task is None else row["scores"][task].get(metric)
    return found


def mean_and_spread(cell: dict[str, Any] | None) -> str:
    """ "72.51 ± 0.40"; a dash for nothing."""
    if cell is None:
        return written(None)
    mean = written(cell["mean"], 2)
    return mean if cell["spread"] is None else f"{mean} ± {written(cell['spread'], 2)}"
