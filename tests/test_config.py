"""Configurations: placeholders, overrides, and an error for everything that is not a known key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from vltool.config import RunConfig, dump, from_dict, load, moved_to
from vltool.errors import ConfigError

SMALL: dict[str, Any] = {
    "name": "small",
    "out": "runs/small",
    "data": "somewhere",
    "tasks": {"vqa": {"train": [{"reader": "vqa_v2", "files": {"questions": "{data}/q.json"}}], "val": []}},
}


def changed(*path: str | int, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(SMALL)
    place: Any = raw
    for part in path[:-1]:
        place = place[part] if isinstance(place, list) else place.setdefault(part, {})
    place[path[-1]] = value
    return raw


def test_placeholders_are_filled_everywhere() -> None:
    config = from_dict(
        {**SMALL, "world": {"out": "{out}/w"}, "features": {"extract": [{"images": ["{world}/images"]}]}}
    )
    assert config.tasks["vqa"].train[0].files == {"questions": "somewhere/q.json"}
    assert config.features.store == "runs/small/features.lmdb"
    assert config.features.extract[0].images == ("runs/small/w/images",)
    assert config.training.plan == "runs/small/plan.json"


def test_dump_and_from_dict_are_inverse() -> None:
    config = from_dict(SMALL)
    assert from_dict(dump(config)) == config


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("trainin",), r"unknown key 'trainin' \(known here: name, out, tasks"),
        (("training", "learning_rat"), r"unknown key 'training.learning_rat' \(known here: plan, cycle_updates"),
        (("tasks", "vqa", "train", 0, "fils"), r"unknown key 'tasks.vqa.train.0.fils' \(known here: reader, files"),
        (("search", "grid", "levl"), r"unknown key 'search.grid.levl' \(known here: level, batch_size"),
        (("features", "recip"), r"unknown key 'features.recip'"),
    ],
)
def test_a_misspelt_key_is_named_wherever_it_stands(path: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(changed(*path, value=1))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'vqq'; known: .*caption_retrieval, .*grounding, .*vqa"):
        from_dict(changed("tasks", "vqq", value={"train": [], "val": []}))
    with pytest.raises(ConfigError, match="unknown reader 'csv'; known: coco_captions"):
        from_dict(changed("tasks", "vqa", "train", 0, "reader", value="csv"))
    with pytest.raises(ConfigError, match="unknown encoder 'lstm'; known: dense_coattention"):
        from_dict(changed("encoder", "name", value="lstm"))
    with pytest.raises(ConfigError, match="unknown stage 'trian'; known: world"):
        from_dict(changed("stages", value=["trian"]))


def test_wrong_type_says_what_was_found() -> None:
    with pytest.raises(ConfigError, match=r"'training.cycle_updates'.*integer.*found 'many'"):
        from_dict(changed("training", "cycle_updates", value="many"))


def test_missing_file_and_broken_yaml_are_the_users(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        load(broken)


def written(folder: Path) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return path


def test_overrides_reach_nested_keys_and_lists(tmp_path: Path) -> None:
    config: RunConfig = load(written(tmp_path), ["training.decay=1", "tasks.vqa.train.0.split=x"])
    assert config.training.decay == 1
    assert config.tasks["vqa"].train[0].split == "x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.decay", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("tasks.vqa.train.7.split=x", "'7' is not a position in a list of 1"),
        ("name.first=x", "holds a single value"),
        ("training.decai=1", "unknown key 'training.decai'"),
    ],
)
def test_a_wrong_override_is_explained(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(written(tmp_path), [override])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("tasks", "vqa", "train", 0, "files", "questions"),
            "{dta}/q.json",
            r"tasks.vqa.train.0.files.questions: unkn",
        ),
        (("text", "glove"), "{glove}/a.txt", r"text.glove: unknown placeholder \{glove\} .*known: \{data\}, \{out\}$"),
        (("features", "store"), "{world}/s.lmdb", r"\{world\} in .*known: \{data\}, \{out\}. Set the key 'world'"),
        (("features", "extract"), [{"images": ["{}"]}], r"features.extract.0.images: unknown placeholder \{\}"),
        (("out",), "{runs}/a", r"out: unknown placeholder \{runs\}"),
        (("data",), "", r"unknown placeholder \{data\} in '\{data\}/q.json'.*Set the key 'data'"),
    ],
)
def test_a_placeholder_that_stands_for_nothing_is_named(path: tuple[str | int, ...], value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(changed(*path, value=value))


def test_out_may_lie_below_data() -> None:
    config = from_dict(changed("out", value="{data}/run"))
    assert config.out == "somewhere/run" and config.training.plan == "somewhere/run/plan.json"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), ""),
        (("out",), ""),
        (("seed",), -1),
        (("seed",), True),
        (("seed",), 2**32),
        (("stages",), []),
        (("stages",), ["train-joint", "embed-text"]),
        (("stages",), ["eval", "eval"]),
        (("tasks", "vqa", "train"), []),
        (("tasks", "vqa", "train", 0, "every"), 0),
        (("tasks", "vqa", "train", 0, "keep"), []),
        (("tasks", "vqa", "train", 0, "keep"), [1]),
        (("tasks", "vqa", "loss_weight"), 0),
        (("training", "cycle_updates"), 0),
        (("training", "learning_rate"), -0.1),
        (("training", "learning_rate"), float("nan")),
        (("training", "decay"), float("inf")),
        (("training", "checkpoint_every"), 0),
        (("search", "jobs"), -1),
        (("combinations", "jobs"), -1),
        (("text", "min_count"), 0),
        (("text", "answer_threshold"), -1),
        (("features", "score_threshold"), 20),
        (("evaluation", "batch_size"), 0),
        (("world", "train"), -3),
    ],
)
def test_a_value_that_cannot_be_is_named_at_once(path: tuple[str | int, ...], value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"configuration: .*{path[-1]}"):
        from_dict(changed(*path, value=value))


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: a\ntraining:\n  decay: 1\n  decay: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run.yaml: not YAML: the key 'decay' stands twice(.|\n)*line 4"):
        load(path)
    with pytest.raises(ConfigError, match=r"--set training=.*stands twice"):
        load(written(tmp_path), ["training={decay: 1, decay: 2}"])


def test_a_world_without_the_twelve_datasets_is_written_down_as_before() -> None:
    plain = from_dict({**SMALL, "world": {"out": "{out}/w"}})
    assert "twelve" not in dump(plain)["world"]
    twelve = from_dict({**SMALL, "world": {"out": "{out}/w", "twelve": True}})
    assert dump(twelve)["world"]["twelve"] is True


def test_a_configuration_follows_its_folder(tmp_path: Path) -> None:
    raw = dump(from_dict({**SMALL, "name": "runs/small/x"}))
    found = from_dict({**moved_to(tmp_path, raw), "name": "small"})
    assert found.out_dir == tmp_path and found.features.store == str(tmp_path / "features.lmdb")
    assert found.training.plan == str(tmp_path / "plan.json")
    assert found.tasks["vqa"].train[0].files == {"questions": "somewhere/q.json"}
    assert moved_to(Path("runs/other/../small"), raw) == raw
