"""RunConfig: everything a run is told, as frozen dataclasses, read from one YAML file.

    name: world
    out: runs/world            # everything the run makes is written below
    data: ../shared/data       # {data}, {out} and {world} may stand in any path below
    tasks:
      vqa:
        train: [{reader: vqa_v2, files: {questions: "{data}/…/questions.json", annotations: "{data}/…"}}]

A file may say only what differs from another, its `base` (yaml_files.py). A key that does not exist or stands twice is
an error wherever it stands, and so is a value of the wrong type or out of its range. Overrides
(`--set training.learning_rate=0.0005`) are YAML values put in place before anything is checked.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from vltool.data_config import (
    FeaturesConfig,
    Filled,
    ImagesConfig,  # noqa: F401 - for _inner
    Seed,
    SourceConfig,
    TextConfig,
    WorldConfig,
)
from vltool.errors import ConfigError
from vltool.registry import DETECTORS, ENCODERS, READERS, TASKS
from vltool.remote_files import is_url
from vltool.search_config import BudgetConfig, GridConfig, HalvingConfig, SearchConfig  # noqa: F401 - for _inner
from vltool.training_config import (
    AtLeastOne,
    CombinationsConfig,
    Count,
    Positive,
    StopAndGoConfig,  # noqa: F401 - for _inner
    TrainingConfig,
    check_combinations,
    check_decoders,
)
from vltool.yaml_files import apply_override, read_layers

_MAY_BE_URLS = ("features.store", "features.extract", "tasks.", "data")
_SPLITS = ("train", "val", "test")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
STAGES = (
    "world",
    "extract-features",
    "embed-text",
    "search-layers",
    "train-joint",
    "train-combinations",
    "eval",
    "report",
)
Protocol = Annotated[
    Literal["clean", "paper", "paper-i", "paper-ii", "off"],
    BeforeValidator(lambda value: "off" if value is False else value),  # YAML's off
]


@dataclass(frozen=True)
class EncoderConfig:
    """The shared encoder by name; options are the encoder's own and checked against them."""

    name: str = "dense_coattention"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskConfig:
    """What a task learns from and is scored on. type: its name in the registry (default: the key).

    loss_weight: what its loss is multiplied with, so that no task drowns the others in a joint training.
    learning_rate: of its own updates, in place of training.learning_rate. decoder: the name of its decoder; tasks that
    name the same one share it (default: one of its own, under the task's name).
    """

    train: tuple[SourceConfig, ...]
    val: tuple[SourceConfig, ...]
    test: tuple[SourceConfig, ...] = ()
    type: str = ""
    loss_weight: Positive = 1.0
    learning_rate: Positive | None = None
    decoder: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitsConfig:
    """clean: no picture that any task evaluates is trained on by any task. paper: the two trainings of the paper,
    each tested on what it has not seen (paper-i, paper-ii: one of them). off must be asked for by name.

    exclude: canonical ids of pictures that no task trains on, or the file that lists them, one a line.
    """

    protocol: Protocol = "clean"
    exclude: str | tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationConfig:
    """How a checkpoint is scored: how fast, never what comes out.

    batch_size: examples at once. jobs: processes that score pairs (0: one a GPU where there are several, else one).
    """

    batch_size: AtLeastOne = 256
    jobs: Count = 0


@dataclass(frozen=True)
class RunConfig:
    """One run, from pictures to report.

    note: what a reader of the report should know. seed: of the weights, the dropout and the order of examples.
    """

    name: Filled
    out: Filled
    tasks: dict[str, TaskConfig]
    note: str = ""
    data: str = ""
    seed: Seed = 0
    stages: tuple[str, ...] = tuple(name for name in STAGES if name not in ("world", "train-combinations"))
    world: WorldConfig | None = None
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    text: TextConfig = field(default_factory=TextConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    combinations: CombinationsConfig = field(default_factory=CombinationsConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def out_dir(self) -> Path:
        return Path(self.out)

    @property
    def decoders(self) -> dict[str, str]:
        """task → the name of its decoder."""
        return {name: task.decoder or name for name, task in self.tasks.items()}

    @property
    def shared_decoders(self) -> dict[str, list[str]]:
        """The name of each decoder that several tasks use → those tasks."""
        users = {
            decoder: [task for task, own in self.decoders.items() if own == decoder]
            for decoder in self.decoders.values()
        }
        return {decoder: tasks for decoder, tasks in users.items() if len(tasks) > 1}


def load(path: Path | str, overrides: tuple[str, ...] | list[str] = ()) -> RunConfig:
    """The configuration in a YAML file with `a.b=c` overrides applied. Raises ConfigError naming the key."""
    raw = read_layers(path)
    for override in overrides:
        apply_override(raw, override)
    return from_dict(raw, where=str(path))


def from_dict(raw: dict[str, Any], *, where: str = "configuration") -> RunConfig:
    """The configuration in plain values, placeholders filled in, every key and type checked."""
    raw = copy.deepcopy(raw)
    world = raw.get("world")
    names: dict[str, Any] = {name: raw[name] for name in ("data", "out") if raw.get(name)}
    names = {name: _fill(value, names) for name, value in names.items()}
    world = raw.get("world")
    if world is not None:
        default = dataclasses.asdict(WorldConfig())["out"]
        names["world"] = _fill(world.get("out", default) if isinstance(world, dict) else default, names)
    config = _validate(_fill(raw, names), where)
    config = dataclasses.replace(  # defaults hold placeholders too
        config,
        features=dataclasses.replace(config.features, store=_fill(config.features.store, names)),
        training=dataclasses.replace(config.training, plan=_fill(config.training.plan, names)),
        world=config.world and dataclasses.replace(config.world, out=_fill(config.world.out, names)),
    )
    _check_placeholders(config, names, where)
    _check_names(config, where)
    return config


def dump(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as plain values, as it is written beside every result."""
    plain: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    unused = TypeAdapter(TrainingConfig).dump_python(TrainingConfig(), mode="json")
    for key in _YOUNGER_KEYS:  # a training that does not use one is the same one as before the key existed
        if plain["training"][key] == unused[key]:
            del plain["training"][key]
    for key in ("engine", "ray_address"):  # who has made the features does not matter to a run
        del plain["features"][key]
    for key in _YOUNGER_TEXT_KEYS:
        if plain["text"][key] == getattr(TextConfig, key):
            del plain["text"][key]
    for part, key in (
        (plain["splits"], "exclude"),
        (plain["features"], "given_store"),
        *((item, "vg_images") for item in plain["features"]["extract"]),
        *((world, "twelve") for world in (plain["world"],) if world),
        *((task, key) for task in plain["tasks"].values() for key in ("learning_rate", "decoder")),
        *((source, "expect") for task in plain["tasks"].values() for split in _SPLITS for source in task[split]),
    ):
        if not part[key]:
            del part[key]
    return plain


_YOUNGER_KEYS = (
    *("init_from", "accumulate", "compile", "patience", "keep_last"),
    *("optimizer", "weight_decay", "part_rates", "schedule", "warmup", "sampling", "stop_and_go"),
)
_YOUNGER_TEXT_KEYS = ("tokenizer", "wordpiece_vocab", "wordpiece_size", "max_tokens")


def _fill(value: Any, names: dict[str, Any]) -> Any:
    def filled(text: str) -> str:
        for name, found in names.items():
            text = text.replace("{" + name + "}", str(found))
        return text

    return _each_text(value, filled)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text in it changed, however deep it stands."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def moved_to(folder: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """The configuration that a run left beside its results, as of a run in `folder`: `out`, and the paths below it.

    A run may have been copied or renamed, and a relative `out` is another folder seen from elsewhere.
    """
    out = raw.get("out")
    if not isinstance(out, str) or Path(out).resolve() == folder.resolve():
        return raw
    before = out.rstrip("/") + "/"

    def placed(text: str) -> str:
        return str(folder / text.removeprefix(before)) if text.startswith(before) else text

    return {**_each_text(raw, placed), "out": str(folder)}


def _validate(raw: dict[str, Any], where: str) -> RunConfig:
    try:
        return TypeAdapter(RunConfig).validate_python(raw)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key {place!r} (known here: {', '.join(_known_keys(problem['loc']))})"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place!r} is missing"
    return f"{place!r}: {problem['msg']} (found {problem['input']!r})"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    kind: Any = RunConfig
    for part in location[:-1]:
        if dataclasses.is_dataclass(kind) and part in (known := {item.name: item for item in dataclasses.fields(kind)}):
            kind = _inner(str(known[part].type))
    return [item.name for item in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _inner(annotation: str) -> Any:
    found = [value for name, value in globals().items() if name.endswith("Config") and name in annotation]
    return found[0] if found else None


def _check_placeholders(config: RunConfig, names: dict[str, Any], where: str) -> None:
    """Raises ConfigError for a {placeholder} in a path that stands for nothing."""
    for key, path in _paths(config):
        if is_url(path) and not key.startswith(_MAY_BE_URLS):
            raise ConfigError(
                f"{where}: {key}: {path!r}: a URL stands only for the store, the pictures to extract and the files of "
                "the tasks. Name a folder or file, one that all machines see if there are several"
            )
        for found in _PLACEHOLDER.findall(path):
            known = ", ".join(f"{{{name}}}" for name in names)
            hint = f". Set the key {found!r}" if found in ("data", "world") else ""
            raise ConfigError(f"{where}: {key}: unknown placeholder {{{found}}} in {path!r}; known: {known}{hint}")


def _paths(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Every path in a configuration and the key it stands under."""
    yield from (("out", config.out), ("data", config.data))
    yield "world.out", config.world.out if config.world else ""
    features, training = config.features, config.training
    yield from (
        (f"features.{name}", getattr(features, name)) for name in ("store", "given_store", "config_file", "weights")
    )
    for k, images in enumerate(features.extract):
        yield from ((f"features.extract.{k}.images", path) for path in images.images)
        yield f"features.extract.{k}.vg_images", images.vg_images
    yield from (("text.glove", config.text.glove), ("text.wordpiece_vocab", config.text.wordpiece_vocab))
    yield "encoder.options.init_from", str(config.encoder.options.get("init_from", ""))
    yield from (("training.plan", training.plan), ("training.init_from", training.init_from))
    yield "splits.exclude", config.splits.exclude if isinstance(config.splits.exclude, str) else ""
    for place, source in sources_of(config):
        yield from ((f"{place}.files.{name}", path) for name, path in source.files.items())


def sources_of(config: RunConfig) -> Iterator[tuple[str, SourceConfig]]:
    """Every source of a run and the key it stands under, as in tasks.vqa.train.0."""
    for name, task in config.tasks.items():
        for split in _SPLITS:
            yield from ((f"tasks.{name}.{split}.{k}", source) for k, source in enumerate(getattr(task, split)))


def _check_names(config: RunConfig, where: str) -> None:
    _check_stages(config, where)
    if not config.tasks:
        raise ConfigError(f"{where}: 'tasks' is empty; known tasks: {', '.join(sorted(TASKS))}")
    if config.encoder.name not in ENCODERS:
        raise ConfigError(f"{where}: unknown encoder {config.encoder.name!r}; known: {', '.join(sorted(ENCODERS))}")
    if config.features.backend != "auto" and config.features.backend not in DETECTORS:
        known = ", ".join(("auto", *sorted(DETECTORS)))
        raise ConfigError(f"{where}: unknown features.backend {config.features.backend!r}; known: {known}")
    for name, task in config.tasks.items():
        if (task.type or name) not in TASKS:
            raise ConfigError(f"{where}: unknown task {task.type or name!r}; known: {', '.join(sorted(TASKS))}")
        if not task.train:
            raise ConfigError(f"{where}: tasks.{name}.train is empty: a task needs at least one source to learn from")
    for place, source in sources_of(config):
        if source.reader not in READERS:
            known = ", ".join(sorted(READERS))
            raise ConfigError(f"{where}: {place}: unknown reader {source.reader!r}; known: {known}")
        if not source.keep or max(source.keep) >= source.every or len(set(source.keep)) < len(source.keep):
            raise ConfigError(
                f"{where}: {place}: keep {list(source.keep)} must name different numbers in 0 … every - 1 "
                f"({source.every - 1})"
            )
    seeds = config.combinations.seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(f"{where}: combinations.seeds is {list(seeds)}: name different whole numbers from 0 up")
    check_decoders(config.decoders, config.training.part_rates, where=where)
    check_combinations(config.combinations, list(config.tasks), where=where)
    for name in config.search.tasks:
        if name not in config.tasks:
            raise ConfigError(
                f"{where}: search.tasks.{name}: the run has no such task; it has {', '.join(config.tasks)}"
            )


def _check_stages(config: RunConfig, where: str) -> None:
    if not config.stages:
        raise ConfigError(f"{where}: 'stages' is empty; known: {', '.join(STAGES)}")
    for stage in config.stages:
        if stage not in STAGES:
            raise ConfigError(f"{where}: unknown stage {stage!r}; known: {', '.join(STAGES)}")
    ordered = tuple(stage for stage in STAGES if stage in config.stages)
    if config.stages != ordered:
        raise ConfigError(f"{where}: 'stages' runs in this order, each stage once: {', '.join(ordered)}")
