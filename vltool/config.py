"""RunConfig: everything a run is told, as frozen dataclasses, read from one YAML file.

    name: world
    out: runs/world            # everything the run makes is written below
    data: ../shared/data       # {data}, {out} and {world} may stand in any path below
    tasks:
      vqa:
        train: [{reader: vqa_v2, files: {questions: "{data}/…/questions.json", annotations: "{data}/…"}}]

A key that does not exist is an error wherever it stands, and so is a value of the wrong type. Overrides
(`--set training.learning_rate=0.0005`) are YAML values put in place before anything is checked.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from vltool.errors import ConfigError
from vltool.registry import ENCODERS, READERS, TASKS
from vltool.search_config import BudgetConfig, GridConfig, HalvingConfig, SearchConfig  # noqa: F401 - for _inner

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
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class WorldConfig:
    """The generated world: where it is written, how many pictures of each set, and its seed."""

    out: str = "{out}/world"
    train: int = 600
    val: int = 150
    test: int = 200
    seed: int = 0
    questions_per_image: int = 8


@dataclass(frozen=True)
class ImagesConfig:
    """Pictures to extract: files, folders or @lists, and the pattern of their canonical ids."""

    images: tuple[str, ...]
    image_id: str = "file:{stem}"


@dataclass(frozen=True)
class FeaturesConfig:
    """The store of region features, and how it is made when `extract` names pictures."""

    store: str = "{out}/features.lmdb"
    extract: tuple[ImagesConfig, ...] = ()
    backend: Literal["auto", "builtin", "detectron2"] = "auto"
    config_file: str = ""
    weights: str = ""
    recipe: Literal["bottom-up", "bottom-up-36", "detections"] = "bottom-up"
    min_boxes: int = 10
    max_boxes: int = 100
    score_threshold: float = 0.2
    nms_threshold: float = 0.3
    dtype: Literal["float16", "float32"] = "float16"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int = 0
    on_error: Literal["skip", "stop"] = "skip"


@dataclass(frozen=True)
class TextConfig:
    """Tokens and word vectors. answer_threshold: answers that are right more often than this make the pool."""

    glove: str = "world"
    min_count: int = 1
    answer_threshold: int = 8


@dataclass(frozen=True)
class EncoderConfig:
    """The shared encoder by name; options are the encoder's own and checked against them."""

    name: str = "dense_coattention"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceConfig:
    """One official dataset in its own files.

    every, keep: of the pictures in the order of their ids, picture k is used when k mod every is in keep.
    missing_features: what happens to examples whose picture is not in the store.
    """

    reader: str
    files: dict[str, str]
    split: str = ""
    image_id: str = ""
    every: int = 1
    keep: tuple[int, ...] = (0,)
    missing_features: Literal["error", "drop"] = "error"


@dataclass(frozen=True)
class TaskConfig:
    """What a task learns from and is scored on. type: its name in the registry (default: the key).

    loss_weight: what its loss is multiplied with, so that no task drowns the others in a joint training.
    """

    train: tuple[SourceConfig, ...]
    val: tuple[SourceConfig, ...]
    test: tuple[SourceConfig, ...] = ()
    type: str = ""
    loss_weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitsConfig:
    """clean: no picture that any task evaluates is trained on by any task. paper: the two trainings of the paper,
    each tested on what it has not seen (paper-i, paper-ii: one of them). off must be asked for by name.
    """

    protocol: Protocol = "clean"


@dataclass(frozen=True)
class TrainingConfig:
    """Algorithm 1 and its optimizer. Defaults: section 5.2 of the paper; cycle_updates is its C.

    init_from: a checkpoint to start from; the training inherits what has trained it.
    """

    plan: str = "{out}/plan.json"
    cycle_updates: int = 20
    learning_rate: float = 0.001
    betas: tuple[float, float] = (0.9, 0.99)
    decay: float = 0.5
    gradient_clip: float = 0.0
    precision: Precision = "auto"
    device: str = "auto"
    curriculum: bool = False
    evaluate_every: int = 0
    checkpoint_every: int = 10
    init_from: str = ""


@dataclass(frozen=True)
class CombinationsConfig:
    """The stage train-combinations: the seeds of every combination, and how many trainings at once (0: one a core)."""

    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: int = 0


@dataclass(frozen=True)
class EvaluationConfig:
    """How a checkpoint is scored. batch_size: examples at once; it changes the speed, never a score."""

    batch_size: int = 256


@dataclass(frozen=True)
class RunConfig:
    """One run, from pictures to report.

    note: what a reader of the report should know. seed: of the weights, the dropout and the order of examples.
    """

    name: str
    out: str
    tasks: dict[str, TaskConfig]
    note: str = ""
    data: str = ""
    seed: int = 0
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


def load(path: Path | str, overrides: tuple[str, ...] | list[str] = ()) -> RunConfig:
    """The configuration in a YAML file with `a.b=c` overrides applied. Raises ConfigError naming the key."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file. Examples: pipelines/ and docs/data.md") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level, found {type(raw).__name__}")
    for override in overrides:
        apply_override(raw, override)
    return from_dict(raw, where=str(path))


def from_dict(raw: dict[str, Any], *, where: str = "configuration") -> RunConfig:
    """The configuration in plain values, placeholders filled in, every key and type checked."""
    raw = copy.deepcopy(raw)
    world = raw.get("world")
    names = {"data": raw.get("data", ""), "out": raw.get("out", "")}
    if world is not None:
        default = dataclasses.asdict(WorldConfig())["out"]
        names["world"] = _fill((world or {}).get("out", default) if isinstance(world, dict) else default, names)
        raw["world"] = world or {}
    config = _validate(_fill(raw, names), where)
    config = dataclasses.replace(  # defaults hold placeholders too
        config,
        features=dataclasses.replace(config.features, store=_fill(config.features.store, names)),
        training=dataclasses.replace(config.training, plan=_fill(config.training.plan, names)),
        world=config.world and dataclasses.replace(config.world, out=_fill(config.world.out, names)),
    )
    _check_names(config, where)
    return config


def dump(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration as plain values, as it is written beside every result."""
    plain: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    if not config.training.init_from:
        del plain["training"]["init_from"]  # a training from scratch is the same one as before this key existed
    return plain


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Put `a.b=c` into nested plain values, c read as YAML. Raises ConfigError if it is not of that form."""
    key, sign, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not sign or not all(parts):
        raise ConfigError(f"--set {override}: expected KEY=VALUE with dots in nested keys, as in training.seed=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {error}") from error
    place: Any = raw
    for part in parts[:-1]:
        if isinstance(place, dict) and place.get(part) is None:
            place[part] = {}
        place = _step(place, part, override)
    if isinstance(place, list):
        place[_index(place, parts[-1], override)] = value
    elif isinstance(place, dict):
        place[parts[-1]] = value
    else:
        raise ConfigError(f"--set {override}: {'.'.join(parts[:-1])} holds a single value, not keys")


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, override)]
    if isinstance(place, dict):
        return place[part]
    raise ConfigError(f"--set {override}: {part!r} stands inside a single value")


def _index(place: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"--set {override}: {part!r} is not a position in a list of {len(place)}")
    return int(part)


def _fill(value: Any, names: dict[str, Any]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", str(text))
        return value
    if isinstance(value, dict):
        return {key: _fill(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(item, names) for item in value]
    return value


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


def _check_names(config: RunConfig, where: str) -> None:
    for stage in config.stages:
        if stage not in STAGES:
            raise ConfigError(f"{where}: unknown stage {stage!r}; known: {', '.join(STAGES)}")
    if not config.tasks:
        raise ConfigError(f"{where}: 'tasks' is empty; known tasks: {', '.join(sorted(TASKS))}")
    if config.encoder.name not in ENCODERS:
        raise ConfigError(f"{where}: unknown encoder {config.encoder.name!r}; known: {', '.join(sorted(ENCODERS))}")
    for name, task in config.tasks.items():
        if (task.type or name) not in TASKS:
            raise ConfigError(f"{where}: unknown task {task.type or name!r}; known: {', '.join(sorted(TASKS))}")
        for source in (*task.train, *task.val, *task.test):
            if source.reader not in READERS:
                known = ", ".join(sorted(READERS))
                raise ConfigError(f"{where}: tasks.{name}: unknown reader {source.reader!r}; known: {known}")
    seeds = config.combinations.seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(f"{where}: combinations.seeds is {list(seeds)}: name different whole numbers from 0 up")
    for name in config.search.tasks:
        if name not in config.tasks:
            raise ConfigError(
                f"{where}: search.tasks.{name}: the run has no such task; it has {', '.join(config.tasks)}"
            )
