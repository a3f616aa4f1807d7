"""The files of the twelve datasets: the same bytes for the same arguments, the world's own files untouched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.world.twelve.conftest import ARGUMENTS
from vltool.cli.app import app
from vltool.errors import ConfigError, DataError
from vltool.world.files import write_world
from vltool.world.scene import Scene
from vltool.world.splits import WorldArguments, plan_splits
from vltool.world.twelve.splits import TwelveSplits, plan_twelve_splits

SMALL: dict[str, Any] = {"num_train": 40, "num_val": 12, "num_test": 12, "seed": 4, "questions_per_image": 1}


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("vltool.world.files", "vltool.world.twelve.files"):
        monkeypatch.setattr(f"{module}.draw_pictures", lambda jobs, progress: None)


def plan(**arguments: int) -> TwelveSplits:
    subsets = plan_splits(WorldArguments(**arguments)).subsets
    return plan_twelve_splits(
        train2014=subsets["train2014"],
        val2014=subsets["val2014"],
        first_free=subsets["test2015"][-1] + 1,
        num_val=arguments["num_val"],
        num_test=arguments["num_test"],
        seed=arguments["seed"],
    )


def default_plan() -> TwelveSplits:
    return plan(num_train=600, num_val=150, num_test=200, seed=0, questions_per_image=8)


@pytest.mark.usefixtures("without_pictures")
def test_two_runs_write_the_same_bytes(twelve_world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, twelve=True, **ARGUMENTS)
    assert hashes(tmp_path) == hashes(twelve_world)


@pytest.mark.usefixtures("without_pictures")
def test_a_world_that_is_there_gets_the_datasets_and_keeps_its_bytes(twelve_world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, **ARGUMENTS)
    plain = hashes(tmp_path)
    assert "twelve.json" not in plain
    counts = write_world(tmp_path, twelve=True, **ARGUMENTS)
    assert counts["up_to_date"] is False
    assert hashes(tmp_path) == hashes(twelve_world) and hashes(twelve_world).items() >= plain.items()
    again = write_world(tmp_path, twelve=True, **ARGUMENTS)
    assert again == {**counts, "up_to_date": True}
    assert write_world(tmp_path, **ARGUMENTS)["up_to_date"] is True


@pytest.mark.usefixtures("without_pictures")
def test_command_writes_the_datasets_and_says_how_much(tmp_path: Path) -> None:
    sizes = ["--train", "40", "--val", "12", "--test", "12", "--seed", "4", "--questions-per-image", "1"]
    printed = json.loads(CliRunner().invoke(app, ["world", str(tmp_path), *sizes, "--twelve", "--json"]).stdout)
    counts = json.loads((tmp_path / "twelve.json").read_text())["counts"]
    assert printed["twelve"] == counts and printed["up_to_date"] is False
    shown = CliRunner().invoke(app, ["world", str(tmp_path), *sizes, "--twelve"]).stdout
    assert f"nlvr2: {counts['nlvr2']['train']} train, {counts['nlvr2']['dev']} dev" in shown


def test_every_picture_is_drawn_under_its_official_name(tmp_path: Path, scene_of: Callable[[int], Scene]) -> None:
    class Stop(Exception):
        pass

    calls = 0

    def stop_among_the_own_pictures(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 96 + 20:
            raise Stop

    with pytest.raises(Stop):  # and a second call takes it up
        write_world(tmp_path, twelve=True, progress=stop_among_the_own_pictures, **SMALL)
    assert not (tmp_path / "twelve.json").exists()
    write_world(tmp_path, twelve=True, **SMALL)
    splits = plan(**SMALL)
    own = splits.own["visual_genome"]
    paths = {tmp_path / f"visual_genome/VG_100K/{2_300_000 + number}.jpg": number for number in own}
    paths |= {tmp_path / f"gqa/images/n{number}.jpg": number for number in splits.own["gqa"]}
    for split, numbers in splits.conceptual_captions.items():
        folder = tmp_path / "conceptual_captions" / split
        paths |= {folder / f"{row:09d}.jpg": number for row, number in enumerate(numbers)}
    for split, sets in splits.nlvr2.items():
        folder = tmp_path / "nlvr2/images" / ("train/0" if split == "train" else split)
        for group, pairs in enumerate(sets):
            for pair, sides in enumerate(pairs):
                names = (folder / f"{split}-{group}-{pair}-img{side}.png" for side in (0, 1))
                paths |= dict(zip(names, sides, strict=True))
    drawn = {path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png")}
    assert {path for path in drawn if (tmp_path / "images") not in path.parents} == set(paths)
    for path, number in paths.items():
        with Image.open(path) as picture:
            assert picture.format == "JPEG" and picture.size == (scene_of(number).width, scene_of(number).height)


@pytest.mark.parametrize("change", [{"num_train": 39}, {"num_val": 11}, {"num_test": 4}])
def test_worlds_too_small_for_the_datasets_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    ((name, number),) = change.items()
    with pytest.raises(ConfigError, match=rf"\(--{name[4:]}\) is {number}, but the twelve datasets need at least"):
        write_world(tmp_path / "none", twelve=True, **{**SMALL, **change})
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("without_pictures")
def test_datasets_of_another_version_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path, twelve=True, **SMALL)
    monkeypatch.setattr("vltool.world.twelve.files.GENERATOR_VERSION", 99)
    with pytest.raises(DataError, match=r"'generator': 99.*was asked for. Choose another folder"):
        write_world(tmp_path, twelve=True, **SMALL)


def test_counts_are_those_of_the_files(
    twelve_world: Path, content: Callable[[str], Any], lines: Callable[[str], list[Any]]
) -> None:
    counts = content("twelve.json")["counts"]
    for split in ("train", "val", "testdev"):
        assert counts["gqa"][split] == len(content(f"gqa/{split}_balanced_questions.json"))
    for split in ("train", "dev", "test1"):
        assert counts["nlvr2"][split] == len(lines(f"nlvr2/{split}.json"))
    for split in ("train", "dev", "test"):
        assert counts["snli_ve"][split] == len(lines(f"snli_ve/snli_ve_{split}.jsonl"))
    for split in ("train", "valid", "test"):
        assert counts["guesswhat"][split] == len(lines(f"guesswhat/guesswhat.{split}.jsonl.gz"))
    asked = {picture["id"]: len(picture["qas"]) for picture in content("visual_genome/question_answers.json")}
    for split, number in counts["visual_genome_qa"].items():
        listed = (twelve_world / f"visual_genome/{split}.txt").read_text().split()
        assert number == sum(asked[int(picture)] for picture in listed)
    assert counts["pictures"] == 12 + 4 + 4 + 8 + 8 * (5 + 2 + 2) + 60 + 8


def test_datasets_share_pictures_as_the_real_ones_do() -> None:
    world = plan_splits(WorldArguments(600, 150, 200, 0, 8))
    splits = default_plan()
    train2014, val2014 = (set(world.subsets[name]) for name in ("train2014", "val2014"))
    own = {number for numbers in splits.own.values() for number in numbers}
    paired = {number for sets in splits.nlvr2.values() for pairs in sets for pair in pairs for number in pair}
    assert not (own | paired) & (train2014 | val2014 | set(world.subsets["test2015"])) and not own & paired
    assert min(own | paired) == max(world.subsets["test2015"]) + 1
    assert 0.5 < len(set(splits.visual_genome) & train2014) / len(train2014) < 0.7
    for dataset in (splits.visual_genome_qa, splits.visual7w, splits.gqa):
        assert set().union(*(dataset[name] for name in dataset if name != "testdev")) == set(splits.visual_genome)
    for dataset in (splits.refcoco, splits.refcocog):
        assert set().union(*dataset.values()) <= train2014
    for dataset in (splits.visual_genome_qa, splits.visual7w, splits.gqa, splits.refcoco, splits.guesswhat):
        numbers = [number for split in dataset.values() for number in split]
        assert len(set(numbers)) == len(numbers), "a picture in two splits"
    evaluated = set(splits.visual7w["test"]) | set(splits.gqa["val"])
    assert evaluated & set(world.karpathy["train"]), "captions train on what Visual Genome's datasets evaluate"
    assert set(splits.visual_genome_qa["train"]) & set(world.karpathy["test"]), "and the other way round"
    assert set(splits.refcoco["testA"]) & set(splits.visual7w["train"])
    assert set(splits.refcocog["train"]) & set(splits.refcoco["val"] + splits.refcoco["testA"])
    assert set(splits.guesswhat["test"]) & val2014 and set(splits.guesswhat["test"]) & train2014


def test_a_clean_training_keeps_most_pictures() -> None:
    splits = default_plan()
    judged = [
        *(splits.refcoco[name] for name in ("val", "testA", "testB")),
        *(splits.refcocog[name] for name in ("val", "test")),
        *(splits.guesswhat[name] for name in ("valid", "test")),
        *(dataset[name] for dataset in (splits.visual7w, splits.visual_genome_qa) for name in ("val", "test")),
        splits.gqa["val"],
    ]
    evaluated = set().union(*judged)
    assert 0.1 < len(evaluated & set(range(1, 601))) / 600 < 0.2


def test_visual_genome_files_have_the_official_keys(content: Callable[[str], Any], shared_data: Path) -> None:
    folder = shared_data / "twelve_in_one/visual_genome"
    for name in ("image_data", "question_answers"):
        official = json.loads((folder / f"{name}.json").read_text())
        assert content(f"visual_genome/{name}.json")[0].keys() == official[0].keys()
    (theirs, *_) = json.loads((folder / "question_answers.json").read_text())
    assert content("visual_genome/question_answers.json")[0]["qas"][0].keys() == theirs["qas"][0].keys()


def test_part_of_visual_genome_is_coco(content: Callable[[str], Any]) -> None:
    pictures = content("visual_genome/image_data.json")
    aliased = [picture for picture in pictures if picture["coco_id"] is not None]
    assert 0.5 < len(aliased) / len(pictures) < 0.95
    sizes = {
        image["id"]: (image["width"], image["height"])
        for subset in ("train2014", "val2014")
        for image in content(f"annotations/instances_{subset}.json")["images"]
    }
    for picture in aliased:
        assert picture["image_id"] == 2_300_000 + picture["coco_id"]
        assert sizes[picture["coco_id"]] == (picture["width"], picture["height"])


def test_flickr30k_captions_are_the_entities_sentences(twelve_world: Path) -> None:
    lines = (twelve_world / "flickr30k/results_20130124.token").read_text().splitlines()
    number, sentence = re.fullmatch(r"(\d+)\.jpg#3\t(.+)", lines[3]).groups()  # type: ignore[union-attr]
    annotated = (twelve_world / f"flickr30k_entities/Sentences/{number}.txt").read_text().splitlines()[3]
    assert re.sub(r"\[/EN#\d+/\w+ |\]", "", annotated) == sentence
    assert len(lines) == 5 * len(list((twelve_world / "flickr30k_entities/Sentences").iterdir()))


def test_conceptual_captions_are_small_letters_and_addresses(twelve_world: Path, shared_data: Path) -> None:
    pattern = r"([^\tA-Z]+)\t(https?://\S+)"
    ours = (twelve_world / "conceptual_captions/Train_GCC-training.tsv").read_text().splitlines()
    official = shared_data / "twelve_in_one/conceptual_captions/Validation_GCC-1.1.0-Validation.tsv"
    for line in [*ours, *official.read_text().splitlines()[:50]]:
        assert re.fullmatch(pattern, line), line
    assert [line.rsplit("/", 1)[1] for line in ours] == [f"{row:09d}.jpg" for row in range(len(ours))]
