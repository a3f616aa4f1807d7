"""The command line as a user meets it: exit codes, messages without tracebacks, JSON alone on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vltool.world.files import write_world


def vltool(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from vltool.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    write_world(out, num_train=12, num_val=4, num_test=4, questions_per_image=6)
    return out


def small_run(folder: Path, world: Path, **changes: object) -> Path:
    """A run over the small world, written to a file; `changes` replace top-level keys."""
    template = yaml.safe_load((Path(__file__).parents[2] / "vltool" / "world" / "demo.yaml").read_text())
    raw = {
        **template,
        "out": str(folder / "run"),
        "world": {"out": str(world), "train": 12, "val": 4, "test": 4, "questions_per_image": 6},
        "text": {"answer_threshold": 0},
        "encoder": {
            "name": "dense_coattention",
            "options": {"width": 16, "num_levels": 1, "num_maps": 2, "lstm_width": 8},
        },
        "search": {"grid": {"level": [1], "batch_size": [4], "num_updates": [2], "step_size": [2]}},
        "training": {"cycle_updates": 3},
        **changes,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return path


def says(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


def test_help_names_every_command() -> None:
    shown = vltool("--help").stdout
    for name in (
        "demo",
        "world",
        "extract-features",
        "features",
        "embed-text",
        "search-layers",
        "train-joint",
        "eval",
        "score",
        "splits",
        "report",
        "run",
        "doctor",
    ):
        assert name in shown


def test_a_missing_configuration_is_a_message_and_code_2(tmp_path: Path) -> None:
    says(vltool("train-joint", tmp_path / "none.yaml"), "none.yaml: no such configuration file")


def test_a_nested_unknown_key_is_named(tmp_path: Path, small_world: Path) -> None:
    says(
        vltool("run", small_run(tmp_path, small_world, training={"learning_rat": 1})),
        "unknown key 'training.learning_rat'",
    )


def test_an_unknown_task_is_named_with_the_known_ones(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    raw = yaml.safe_load(path.read_text())
    raw["tasks"]["vqq"] = raw["tasks"].pop("vqa")
    path.write_text(yaml.safe_dump(raw))
    says(vltool("embed-text", path), "unknown task 'vqq'; known: alignment, caption_retrieval, coco_retrieval")


def test_a_missing_official_file_is_named(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    override = "tasks.vqa.train.0.files.questions=/nowhere/questions.json"
    says(vltool("embed-text", path, "--set", override), "/nowhere/questions.json")


def test_an_annotation_without_its_picture_is_named(tmp_path: Path, small_world: Path) -> None:
    captions = json.loads((small_world / "annotations" / "captions_train2014.json").read_text())
    captions["annotations"][0]["image_id"] = 999999
    broken = tmp_path / "captions.json"
    broken.write_text(json.dumps(captions))
    source = [{"reader": "coco_captions", "files": {"captions": str(broken)}}]
    tasks = {"caption_retrieval": {"train": source, "val": source}}
    says(vltool("embed-text", small_run(tmp_path, small_world, tasks=tasks, search={})), "captions.json", "999999")


def test_pictures_without_features_are_named(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    pictures = str(small_world / "images" / "train2014")
    one_folder = f"features.extract=[{{images: ['{pictures}'], image_id: 'world:{{number}}'}}]"
    result = vltool("run", path, "--set", one_folder)
    says(result, "are about pictures without features in", "first 'world:", "vltool extract-features")


def test_commands_in_the_wrong_order_name_the_one_that_is_missing(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    says(vltool("search-layers", path), "no embedded text there", "Run: vltool embed-text")
    says(vltool("train-joint", path), "no plan file. Run: vltool search-layers")
    says(vltool("eval", tmp_path), "not a checkpoint")
    says(vltool("report", tmp_path / "nothing"), "no run there")


def test_the_whole_road_and_its_json(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    result = vltool("run", path, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["stages"]) == [
        "world",
        "extract-features",
        "embed-text",
        "search-layers",
        "train-joint",
        "eval",
        "report",
    ]
    assert found["stages"]["extract-features"]["failed"] == 0
    scores = found["stages"]["eval"]["test"]
    for model in ("single", "joint"):
        assert {"image_to_text.recall@1", "text_to_image.recall@10", "rsum"} <= set(scores["caption_retrieval"][model])
        assert {"accuracy", "accuracy/yes/no", "accuracy/number", "accuracy/other"} >= set(scores["vqa"][model])
        assert {"recall@1", "recall@5", "recall@10", "upper_bound"} <= set(scores["grounding"][model])
    assert Path(found["stages"]["report"]["report"]).exists()
    again = json.loads(vltool("run", path, "--json").stdout)
    assert all(stage["up_to_date"] for stage in again["stages"].values())
    checkpoint = tmp_path / "run" / "training" / "joint" / "checkpoint"
    scored = json.loads(vltool("eval", checkpoint, "--json").stdout)
    assert scored["vqa"] == scores["vqa"]["joint"]
    assert scored["contamination"] == {"images": 0}
    assert scored["split"] == "test" and scored["protocol"] == "clean"
    predictions_give_the_same_scores(scored, small_world)
    shared_out = vltool("eval", checkpoint, "--task", "caption_retrieval", "--jobs", 2, "--json")
    assert json.loads(shared_out.stdout)["caption_retrieval"] == scored["caption_retrieval"]
    assert not list(checkpoint.parent.glob("eval-test/*-parts"))
    secret_answers_are_predicted(checkpoint, small_world)
    audit = vltool("splits", "audit", path, "--json")
    assert audit.returncode == 0 and json.loads(audit.stdout)["clean"] is True
    dirty = vltool("splits", "audit", path, "--set", "splits.protocol=off", "--json")
    assert dirty.returncode == 2 and json.loads(dirty.stdout)["clean"] is False


def predictions_give_the_same_scores(scored: dict[str, Any], world: Path) -> None:
    """The files that eval leaves, read back by score."""
    files = scored["files"]
    retrieval = ("--scores", files["caption_retrieval"]["scores"], "--gold", files["caption_retrieval"]["gold"])
    found = json.loads(vltool("score", "retrieval", *retrieval, "--bootstrap", 50, "--json").stdout)
    assert {f"image_to_text.{k}": v for k, v in found["image_to_text"].items()}.items() <= set(
        scored["caption_retrieval"].items()
    )
    assert found["rsum"] == scored["caption_retrieval"]["rsum"]
    low, high = found["intervals"]["rsum"]
    assert low <= found["rsum"] <= high
    test2015 = "mscoco_test2015"
    official = (
        *("--questions", world / f"v2_OpenEnded_{test2015}_questions.json"),
        *("--annotations", world / f"v2_{test2015}_annotations.json"),
    )
    found = json.loads(vltool("score", "vqa", *official, "--results", files["vqa"]["predictions"], "--json").stdout)
    assert round(found["overall"], 2) == scored["vqa"]["accuracy"]
    entities = world / "flickr30k_entities"
    listed = ("--unrelated", entities / "UNRELATED_CAPTIONS", "--entities", entities)
    result = vltool("score", "grounding", "--predictions", files["grounding"]["predictions"], *listed, "--json")
    found = json.loads(result.stdout)
    assert {name: found[name] for name in ("recall@1", "recall@5", "recall@10", "upper_bound")}.items() <= set(
        scored["grounding"].items()
    )
    assert found["unanswered"] == 0 and found["protocol"] == scored["rules"]["grounding"]["boxes"] == "any"


def secret_answers_are_predicted(checkpoint: Path, world: Path) -> None:
    """As for test2015 and test-dev, whose annotations nobody has: a file for EvalAI, and no scores."""
    path = checkpoint / "run.json"
    before = path.read_text()
    run = json.loads(before)
    del run["config"]["tasks"]["vqa"]["test"][0]["files"]["annotations"]
    path.write_text(json.dumps(run))
    found = json.loads(vltool("eval", checkpoint, "--task", "vqa", "--bootstrap", 50, "--json").stdout)
    assert found["vqa"] == {} and found["intervals"] == {}
    predicted = json.loads(Path(found["files"]["vqa"]["predictions"]).read_text())
    questions = json.loads((world / "v2_OpenEnded_mscoco_test2015_questions.json").read_text())["questions"]
    assert [record["question_id"] for record in predicted] == [question["question_id"] for question in questions]
    assert all(set(record) == {"question_id", "answer"} and type(record["answer"]) is str for record in predicted)
    shown = vltool("eval", checkpoint, "--task", "vqa").stdout
    assert f"{len(questions)} predictions, whose answers are secret" in shown
    path.write_text(before)


def test_unknown_tasks_of_an_option_are_refused_with_the_known_ones(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    for command in (("search-layers", path, "--task", "foo"), ("train-joint", path, "--tasks", "foo")):
        says(vltool(*command), "unknown task 'foo'; the run has caption_retrieval")
    for tasks in (",", "vqa,", " "):
        says(vltool("train-joint", path, "--tasks", tasks), f"--tasks {tasks!r} holds an empty name")


def test_a_place_that_cannot_be_written_is_a_message(tmp_path: Path, small_world: Path) -> None:
    (tmp_path / "file").write_text("")
    says(vltool("world", tmp_path / "file" / "world"), str(tmp_path / "file"))
    says(vltool("run", small_run(tmp_path, small_world), "--set", f"out={tmp_path / 'file'}"), str(tmp_path / "file"))


def test_what_cannot_work_is_said_before_the_first_stage(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    for override, message in (
        ("encoder.options.widht=3", "known options of dense_coattention: width"),
        ("search.grid.level=[7]", "legal is 1 to 1"),
        (
            "training.cycle_updates=-3",
            "'training.cycle_updates': Input should be greater than or equal to 1 (found -3)",
        ),
        ("text.glove=/nowhere/glove.txt", "text.glove: /nowhere/glove.txt: no such file"),
    ):
        result = vltool("run", path, "--set", override)
        says(result, message)
        assert "world" not in result.stderr.split("vltool:")[0]


def test_a_stage_alone_is_skipped_when_up_to_date(tmp_path: Path, small_world: Path) -> None:
    path = small_run(tmp_path, small_world)
    first = vltool("embed-text", path, "--json")
    again = vltool("embed-text", path, "--json")
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "up to date" not in first.stderr and "embed-text: up to date" in again.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)
    (tmp_path / "run" / "text" / "words.json").unlink()
    mended = vltool("embed-text", path)
    assert "embed-text …" in mended.stderr and "vectors of glove.world.50d.txt: up to date" in mended.stderr
    assert "looking" in vltool("embed-text", path, "--set", "text.min_count=2").stderr
