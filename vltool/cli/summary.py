"""The closing tables of a whole run: single-task and joint test scores beside what ignorance gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vltool.cli.console import print_lines, print_table
from vltool.cli.evaluate import ignorance_of

if TYPE_CHECKING:
    from vltool.config import RunConfig
    from vltool.pipeline import StageResult


def print_summary(results: Mapping[str, StageResult], config: RunConfig) -> None:
    """Tables of the scores and the path of the report, as far as the run has them."""
    if "train-combinations" in results:
        print_combinations(results["train-combinations"].counts["combinations"], config)
    levels = results["search-layers"].counts["levels"] if "search-layers" in results else {}
    if "eval" in results:
        for task, models in results["eval"].counts["test"].items():
            where = f" (level {levels[task]})" if task in levels else ""
            title = f"{task} on test{where}" + _mark(results["eval"].counts, task)
            if rows := _rows(models):
                print_table(title, ["metric", "single", "joint", "ignorance"], rows)
            else:
                print_lines(f"{title}: the answers are secret; predictions for EvalAI are in {config.out}/eval")
    if "report" in results:
        print_lines(f"report: {results['report'].counts['report']}")


def print_combinations(rows: list[dict[str, Any]], config: RunConfig) -> None:
    """Which tasks learn together, mean and spread of each score."""
    from vltool.report.combination_table import combination_table
    from vltool.report.group_tables import group_tables

    def type_of(task: str) -> str:
        return config.tasks[task].type or task

    tables = group_tables(config, rows) or [
        combination_table(rows, name=config.name, type_of=type_of, num_tasks=len(config.tasks))
    ]
    for table in tables:
        for group in table.grouped():
            title = f"{table.caption}\n{group.heading}" + ("" if group.published else f". {table.note}")
            print_table(title, table.columns, [[cell.text for cell in row] for row in group.rows])


def _rows(models: Mapping[str, dict[str, Any]]) -> list[list[str]]:
    single, joint, ignorance = (models.get(name, {}) for name in ("single", "joint", "ignorance"))
    return [
        [metric, _number(single.get(metric)), _number(joint.get(metric)), ignorance_of(ignorance, metric)]
        for metric in dict.fromkeys([*single, *joint])
    ]


def _mark(counts: Mapping[str, Any], task: str) -> str:
    """What to say of scores whose pictures were trained on; a stage of an older version counted nothing."""
    found = [facts.get("tasks", {}).get(task, 0) for facts in counts.get("contamination", {}).values()]
    return f", CONTAMINATED: {max(found):,} of its pictures were trained on" if any(found) else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
