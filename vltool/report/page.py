"""The page: every table, chart and attention figure of one or more runs in a single HTML file without scripts.

Nothing in it comes from elsewhere, and the same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from vltool import __version__
from vltool.config import RunConfig, dump
from vltool.errors import ConfigError
from vltool.json_files import check_place, write_text
from vltool.report import data_tables, search_tables, tables
from vltool.report.attention import Exhibit
from vltool.report.differences import Differences
from vltool.report.exhibits import Gallery, build_gallery
from vltool.report.figures import Chart, learning_curves, level_chart
from vltool.report.group_tables import group_tables
from vltool.report.intervals import NONE, RunIntervals, intervals_of
from vltool.report.paper_tables import paper_tables
from vltool.report.picture_files import find_pictures, load_pixels
from vltool.report.pictures import draw_panel
from vltool.report.run_files import RunFiles, read_run
from vltool.report.sentences import ExhibitView, PanelView, caption_of, words_of
from vltool.report.table import Table
from vltool.structures import ImageId

Say = Callable[[str], None]
REPORT_NAME = "report.html"


@dataclass(frozen=True)
class Section:
    """One part of a run's page. A block is a table, a chart, or a sentence on what is missing."""

    anchor: str
    title: str
    blocks: Sequence[Table | Chart | str] = ()
    text: Sequence[str] = ()
    exhibits: Sequence[ExhibitView] = ()
    facts: Sequence[tuple[str, str]] = ()
    listing_title: str = ""
    listing: str = ""


@dataclass(frozen=True)
class RunView:
    """One run, ready for the template. prefix: keeps the anchors of several runs apart."""

    name: str
    prefix: str
    lede: str
    note: str = ""
    findings: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def write_report(
    config: RunConfig | Sequence[RunConfig],
    path: Path | None = None,
    *,
    differences: Sequence[Differences] = (),
    draws: int = 1000,
    seed: int = 0,
    say: Say | None = None,
) -> Path:
    """Write the page of one run, or of several, and give its path (default: `out`/report.html of the first).

    differences: of later runs from the first, with intervals (`differences_from_first`). draws, seed: of the
    intervals of each run's own scores; no draws: no intervals.
    What a run has not made yet is said in its section. Raises DataError for a file of the run that is damaged,
    ConfigError where no page can be written.
    """
    configs = [config] if isinstance(config, RunConfig) else list(config)
    if not configs:
        raise ConfigError("a report needs at least one run")
    path = configs[0].out_dir / REPORT_NAME if path is None else path
    check_place(path)
    runs = [read_run(found) for found in configs]
    intervals = [intervals_of(found, draws=draws, seed=seed, say=say) for found in runs]
    html = render(runs, differences=differences, intervals=intervals, say=say)
    write_text(path, html)
    return path


def render(
    runs: Sequence[RunFiles],
    *,
    differences: Sequence[Differences] = (),
    intervals: Sequence[RunIntervals] = (),
    say: Say | None = None,
) -> str:
    """The whole page as text. intervals: of each run, or none."""
    own = list(intervals) or [NONE] * len(runs)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(
        package_files("vltool.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    several = len(runs) > 1
    return template.render(
        title=" and ".join(run.config.name for run in runs) if len(runs) < 4 else f"{len(runs)} runs",
        version=__version__,
        comparison=tables.comparison(runs, differences=differences, intervals=own) if several else None,
        runs=[
            run_view(run, prefix=f"run{k + 1}-" if several else "", intervals=found, say=say)
            for k, (run, found) in enumerate(zip(runs, own, strict=True))
        ],
    )


def run_view(files: RunFiles, *, prefix: str = "", intervals: RunIntervals = NONE, say: Say | None = None) -> RunView:
    """Everything the page says about one run."""
    gallery = build_gallery(files, say=say)
    (say or (lambda text: None))("drawing the page")
    sections = [
        Section("summary", "Summary", _summaries(files, intervals)),
        Section("paper", "In the layout of the paper", _paper_blocks(files, intervals), text=PAPER_TEXT),
        *_groups_section(files),
        Section("curves", "Learning curves", [learning_curves(files), data_tables.trainings(files)]),
        Section("layers", "Chosen layers", [level_chart(files), search_tables.levels(files)], text=_layers_text(files)),
        Section("trials", "Trials of the search", [search_tables.trials(files)]),
        *_figure_sections(files, gallery, prefix),
        Section(
            "data",
            "Examples and clean splits",
            [data_tables.examples(files), data_tables.contamination(files)],
            text=data_tables.scored_clean(files),
        ),
        Section("features", "Features and words", [data_tables.store(files), data_tables.words(files)]),
        Section(
            "run",
            "How it was run",
            [data_tables.stages(files), data_tables.software()],
            facts=_facts(files),
            listing_title="The whole configuration",
            listing=yaml.safe_dump(dump(files.config), sort_keys=False, allow_unicode=True, width=100),
        ),
    ]
    return RunView(files.config.name, prefix, _lede(files), files.config.note, findings(files, intervals), sections)


def _groups_section(files: RunFiles) -> list[Section]:
    found = group_tables(files.config, files.combinations or [])
    if not found or not files.combinations:
        return []
    return [
        Section(
            "groups", "Which tasks learn together", found, text=tables.region_notes(files.config, files.store_header)
        )
    ]


PAPER_TEXT = (
    "The published rows were reached on other, far larger data. They stand here for the layout, so that a run on the "
    "same data can be read beside them.",
)
ATTENTION_TEXT = (
    "What is shown: {}. The examples are taken evenly from the split, the first right and the first wrong in "
    "turn, each figure about other pictures while there are enough; nobody chose them."
)

DECODERS_TEXT = (
    "In the manner of the paper's Figure 2: each decoder of the joint model reads the same question about the same "
    "picture, at its own level. Two rows: the question was asked about two pictures with different answers. Noun "
    "phrases are found by the words that the run's grounding captions mark; questions with such phrases come first. "
    "Examples are taken evenly from the split, the first right and the first wrong in turn."
)
CONFUSIONS_TEXT = "What the model that stands for the run, the joint one where there is one, puts before what is right."


def findings(files: RunFiles, intervals: RunIntervals = NONE) -> list[str]:
    """The main score of each task on the test split, in words."""
    return [line for task in files.task_names if (line := _finding(files, task, intervals))]


def _finding(files: RunFiles, task: str, intervals: RunIntervals) -> str:
    metric = files.main_metric(task)
    scores, ignorance = tables.task_scores(files, task, "test")
    named = {"joint": "jointly trained", "single": "trained alone"}
    reached = [
        f"{scores[model][metric]:.1f}{_sure(intervals, model, task, metric)} {name}"
        for model, name in named.items()
        if metric in scores[model]
    ]
    without = tables.baselines(ignorance, metric).items()
    blind = [f"{value:.1f} ({heading.lower()})" for heading, value in without if value is not None]
    if not reached:
        return ""
    ending = f"; without looking {', '.join(blind)}" if blind else ""
    return f"{task}, {metric} on the test split: {', '.join(reached)}{ending}."


def _sure(intervals: RunIntervals, model: str, task: str, metric: str) -> str:
    bounds = intervals.bounds(model, "test", task, metric)
    return "" if bounds is None else f" ({bounds[0]:.1f} to {bounds[1]:.1f})"


def _lede(files: RunFiles) -> str:
    config = files.config
    names = ", ".join(files.task_names)
    joint = files.trainings.get("joint")
    trained = f" Joint training of {joint.num_updates:,} updates." if joint and joint.val else ""
    num_trials = sum(len(found) for found in files.trials.values())
    searched = f" Layer search of {num_trials} trials." if num_trials else ""
    return (
        f"Tasks: {names}. Encoder: {config.encoder.name}. Splits: protocol {config.splits.protocol}.{searched}{trained}"
    )


def _summaries(files: RunFiles, intervals: RunIntervals) -> list[Table | str]:
    splits = dict.fromkeys(["test", *(split for _, split in files.evaluations)])
    return [tables.summary(files, split, intervals=intervals) for split in splits]


def _paper_blocks(files: RunFiles, intervals: RunIntervals) -> list[Table | str]:
    found: list[Table | str] = [table for _, table in paper_tables(files, intervals=intervals)]
    return found or ["None of the run's tasks is one of the paper's."]


def _layers_text(files: RunFiles) -> list[str]:
    if not any(files.trials.values()):
        return []
    return ["Each task was trained alone at every level of its grid; the joint model reads it at the level that won."]


def _figure_sections(files: RunFiles, gallery: Gallery, prefix: str) -> list[Section]:
    """The attention figures, numbered through, and what the model confuses."""
    shown = [*gallery.side_by_side, *gallery.exhibits]
    paths = find_pictures(files.config, {image_id for exhibit in shown for image_id in exhibit.image_ids})
    views = [_exhibit_view(exhibit, number, paths, prefix) for number, exhibit in enumerate(shown, start=1)]
    together, apart = views[: len(gallery.side_by_side)], views[len(gallery.side_by_side) :]
    sections = []
    if together:
        sections.append(Section("decoders", "One question, every decoder", text=(DECODERS_TEXT,), exhibits=together))
    sections.append(
        Section(
            "attention",
            "What the model looks at",
            blocks=[] if apart else ["There are no attention figures.", *gallery.notes],
            text=[ATTENTION_TEXT.format("; ".join(gallery.seen_by)), *gallery.notes] if apart else (),
            exhibits=apart,
        )
    )
    blocks: list[Table | str] = [*gallery.confusions, *gallery.confusion_notes]
    if blocks:
        sections.append(Section("confusions", "Hardest confusions on the test split", blocks, text=(CONFUSIONS_TEXT,)))
    return sections


def _exhibit_view(exhibit: Exhibit, number: int, paths: Mapping[ImageId, Path], prefix: str) -> ExhibitView:
    panels = [
        PanelView(
            draw_panel(panel, load_pixels(paths.get(panel.image_id)), narrow=exhibit.columns > 2),
            panel.heading,
            words_of(panel),
            panel.lines,
        )
        for panel in exhibit.panels
    ]
    return ExhibitView(f"{prefix}figure-{number}", number, panels, caption_of(exhibit), exhibit.columns)


def _facts(files: RunFiles) -> list[tuple[str, str]]:
    config = files.config
    seeds: dict[str, Any] = {"run": config.seed}
    if config.world is not None:
        seeds["world"] = config.world.seed
    return [
        ("Run", config.name),
        ("Folder", config.out),
        ("Stages", ", ".join(config.stages)),
        ("Seeds", ", ".join(f"{name} {seed}" for name, seed in seeds.items())),
        ("Encoder", ", ".join([config.encoder.name, *(f"{k} {v}" for k, v in config.encoder.options.items())])),
        ("Device, precision", f"{config.training.device}, {config.training.precision}"),
    ]
