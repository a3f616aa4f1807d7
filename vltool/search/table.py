"""The table of all trials, as CSV for people and programs and as Parquet with its types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from vltool.errors import DataError
from vltool.search.trials import Trial, TrialResult

COUNTS = ("level", "num_updates", "batch_size", "step_size", "first_stage", "seed", "trained_updates")


def trial_rows(
    results: Sequence[TrialResult], trials: Iterable[Trial], *, pruned: Iterable[Trial], best: Iterable[Trial]
) -> list[dict[str, Any]]:
    """A row for every trial with what it reached at its last rung.

    state: chosen, finished, pruned (stopped by halving), failed or not run. trained_updates: how far it went; seconds:
    of all its rungs.
    """
    stopped, chosen = set(pruned), set(best)
    rows = []
    for trial in trials:
        own = [found for found in results if found.trial == trial]
        last = own[-1] if own else None
        state = "not run" if last is None else "failed" if last.error else "finished"
        if state == "finished" and trial in stopped:
            state = "pruned"
        rows.append(
            {
                **vars(trial.cell.plan),
                **{key: yaml.safe_load(value) for key, value in trial.cell.settings},
                "seed": trial.seed,
                "state": "chosen" if trial in chosen else state,
                "trained_updates": last.num_updates if last else 0,
                "metric": last.metric if last else "",
                "score": last.score if last and not last.error else None,
                "seconds": sum(found.seconds for found in own),
                "error": last.error if last else "",
                "folder": trial.folder,
            }
        )
    return rows


def write_trials(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    """Write trials.csv and trials.parquet, whole or not at all; the rows of tasks that are not in `rows` are kept."""
    frame = pd.DataFrame(rows)
    path = folder / "trials.csv"
    if path.exists():
        before = read_trials(path)
        if len(others := before[~before["task"].isin(set(frame["task"]))]):
            frame = pd.concat([others, frame], ignore_index=True)
    frame = _typed(frame)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, write in (("trials.csv", frame.to_csv), ("trials.parquet", frame.to_parquet)):
        draft = folder / f".{name}.writing"
        write(draft, index=False)
        draft.replace(folder / name)
        written.append(str(folder / name))
    return written


def read_trials(path: Path) -> pd.DataFrame:
    """The trials in a CSV file. Raises DataError for one that is damaged."""
    try:
        return _typed(pd.read_csv(path, keep_default_na=True))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a table of trials ({error}). Remove it and search again") from error


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """One type a column, also where a task lacks it: whole numbers, numbers, else text."""
    frame = frame.copy()
    for name in frame.columns:
        values = frame[name]
        if name in COUNTS:
            frame[name] = values.fillna(0).astype("int64")
        elif name in ("score", "seconds"):
            frame[name] = values.astype("float64")
        elif values.dtype == object:
            frame[name] = values.map(lambda value: value if isinstance(value, str) or _missing(value) else str(value))
        if name in ("error", "metric", "state", "folder"):
            frame[name] = frame[name].astype(object).fillna("").astype(str)
    return frame


def _missing(value: Any) -> bool:
    return value is None or value != value
