"""The files of the generated world: official layout, names and keys, and the same bytes for the same arguments."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vltool.errors import ConfigError, DataError
from vltool.world.coco_records import clip_polygon, polygon_area
from vltool.world.files import write_world
from vltool.world.scene import SHAPES, generate_scene
from vltool.world.splits import WorldArguments, plan_splits

SMALL: dict[str, int] = {"num_train": 12, "num_val": 6, "num_test": 8, "seed": 4, "questions_per_image": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    write_world(out, **SMALL)
    return out


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def shape_of(value: Any) -> Any:
    """The keys and kinds of values of a record, as deep as it goes; of a list, its first element's."""
    if isinstance(value, dict):
        return {key: shape_of(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_two_runs_write_the_same_bytes(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "again", **SMALL)
    first, second = hashes(world), hashes(tmp_path / "again")
    assert first == second
    assert len([name for name in first if name.endswith(".jpg")]) == 12 + (6 + 8 + 20) + 8


def test_an_interrupted_run_is_taken_up_to_the_same_bytes(world: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_after_nine(done: int, total: int) -> None:
        if done == 9:
            raise Stop

    with pytest.raises(Stop):
        write_world(tmp_path, progress=stop_after_nine, **SMALL)
    assert not (tmp_path / "world.json").exists()
    assert write_world(tmp_path, **SMALL)["up_to_date"] is False
    assert hashes(tmp_path) == hashes(world)


def test_finished_world_is_left_alone(world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*")}
    assert write_world(world, **SMALL)["up_to_date"] is True
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*")} == before


def test_counts_are_those_of_the_files(world: Path) -> None:
    counts = write_world(world, **SMALL)
    assert (counts["pictures"], counts["captions"]) == (54, 5 * 46)
    assert counts["splits"]["pictures"] == {"train2014": 12, "val2014": 34, "test2015": 8}
    assert counts["questions"] == sum(counts["splits"]["questions"].values())
    for subset, number in counts["splits"]["questions"].items():
        assert number == len(content(world / f"v2_mscoco_{subset}_annotations.json")["annotations"])
    sentences = (world / "flickr30k_entities/Sentences").glob("*.txt")
    assert counts["phrases"] == sum(path.read_text().count("[/EN#") for path in sentences)


def test_folder_with_another_world_is_refused(world: Path) -> None:
    with pytest.raises(DataError, match=r"'seed': 4.*was asked for. Choose another folder, or delete this one first"):
        write_world(world, **{**SMALL, "seed": 5})


def test_folder_with_other_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    with pytest.raises(DataError, match="has annotations that no generated world left there"):
        write_world(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_val": 3}, r"world.val \(--val\) is 3, but a split needs at least 4 pictures"),
        ({"seed": -2}, r"world.seed \(--seed\) is -2, which is negative"),
        ({"questions_per_image": 0}, "ask at least 1 question"),
    ],
)
def test_arguments_that_make_no_world_are_refused(tmp_path: Path, change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_world(tmp_path / "none", **{**SMALL, **change})
    assert not (tmp_path / "none").exists()


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    write_world(tmp_path, progress=lambda done, total: steps.append((done, total)), **SMALL)
    assert steps == [(done, 54) for done in range(1, 55)]


def test_default_splits_have_the_official_structure() -> None:
    splits = plan_splits(WorldArguments(600, 150, 200, 0, 8))
    train, val2014, test2015 = (set(splits.subsets[name]) for name in ("train2014", "val2014", "test2015"))
    karpathy = {name: set(numbers) for name, numbers in splits.karpathy.items()}
    entities = {name: set(numbers) for name, numbers in splits.entities.items()}
    assert [len(numbers) for numbers in (train, val2014, test2015)] == [600, 400, 200]
    assert karpathy["train"] == train and len(karpathy["restval"]) == 50
    assert karpathy["val"] | karpathy["test"] | karpathy["restval"] == val2014
    assert sum(map(len, entities.values())) == 1000 and set.union(*entities.values()) == train | val2014
    shared = entities["train"] & (karpathy["val"] | karpathy["test"])
    assert entities["train"] == train | karpathy["restval"] | shared and 15 <= len(shared) <= 20
    assert len(entities["val"] & karpathy["val"]) > 0.8 * len(entities["val"])
    assert len(entities["test"] & karpathy["test"]) > 0.8 * len(entities["test"])
    assert entities["val"] & karpathy["test"] and entities["test"] & karpathy["val"]


def test_pictures_bear_official_names_and_fit_their_records(world: Path) -> None:
    for subset in ("train2014", "val2014"):
        for image in content(world / f"annotations/captions_{subset}.json")["images"]:
            assert image["file_name"] == f"COCO_{subset}_{image['id']:012d}.jpg"
            with Image.open(world / "images" / subset / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])
    assert len(list((world / "images/test2015").glob("COCO_test2015_*.jpg"))) == 8


def test_coco_files_have_the_official_keys(world: Path, shared_data: Path) -> None:
    for name in ("captions", "instances"):
        official = content(shared_data / f"coco_mini/annotations/{name}_val2017.json")
        ours = content(world / f"annotations/{name}_val2014.json")
        assert shape_of(ours) == shape_of(official)


def test_karpathy_file_has_the_official_keys(world: Path, shared_data: Path) -> None:
    official = content(shared_data / "karpathy/derived/dataset_coco.json")
    assert shape_of(content(world / "dataset_coco.json")) == shape_of(official)


def test_vqa_files_have_the_official_keys(world: Path, shared_data: Path) -> None:
    official = shared_data / "vqa_v2/with_images"
    for name in ("v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"):
        assert shape_of(content(world / name)) == shape_of(content(official / name))


def test_instances_are_boxes_and_polygons_inside_the_picture(world: Path) -> None:
    instances = content(world / "annotations/instances_train2014.json")
    assert [category["name"] for category in instances["categories"]] == list(SHAPES)
    sizes = {image["id"]: (image["width"], image["height"]) for image in instances["images"]}
    assert len({entry["id"] for entry in instances["annotations"]}) == len(instances["annotations"])
    for entry in instances["annotations"]:
        x, y, width, height = entry["bbox"]
        corners = np.array(entry["segmentation"][0]).reshape(-1, 2)
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= sizes[entry["image_id"]][0] + 0.01 and y + height <= sizes[entry["image_id"]][1] + 0.01
        assert corners.min(axis=0) == pytest.approx((x, y), abs=0.02)
        assert corners.max(axis=0) == pytest.approx((x + width, y + height), abs=0.02)
        assert 0.2 * width * height < entry["area"] <= width * height + 0.5


def test_polygon_is_cut_at_the_edges_of_the_picture() -> None:
    square = np.array([(-5.0, 2.0), (5.0, 2.0), (5.0, 12.0), (-5.0, 12.0)])
    cut = clip_polygon(square, 20, 10)
    assert (cut.min(axis=0).tolist(), cut.max(axis=0).tolist()) == ([0, 2], [5, 10])
    assert polygon_area(cut) == pytest.approx(40)


def test_karpathy_and_coco_captions_are_the_same(world: Path) -> None:
    karpathy = content(world / "dataset_coco.json")["images"]
    sentences = {sentence["sentid"]: sentence["raw"] for image in karpathy for sentence in image["sentences"]}
    captions = {
        entry["id"]: entry["caption"]
        for subset in ("train2014", "val2014")
        for entry in content(world / f"annotations/captions_{subset}.json")["annotations"]
    }
    assert sentences == captions and len(captions) == 5 * (12 + 34)
    assert {image["split"] for image in karpathy if image["filepath"] == "train2014"} == {"train"}
    assert {image["split"] for image in karpathy if image["filepath"] == "val2014"} == {"val", "test", "restval"}


@pytest.mark.parametrize(("subset", "first", "last"), [("train2014", 1, 12), ("val2014", 13, 46), ("test2015", 47, 54)])
def test_questions_and_annotations_belong_together(world: Path, subset: str, first: int, last: int) -> None:
    questions = content(world / f"v2_OpenEnded_mscoco_{subset}_questions.json")
    annotations = content(world / f"v2_mscoco_{subset}_annotations.json")
    assert questions["data_subtype"] == annotations["data_subtype"] == subset
    assert [(entry["question_id"], entry["image_id"]) for entry in questions["questions"]] == [
        (entry["question_id"], entry["image_id"]) for entry in annotations["annotations"]
    ]
    assert {entry["image_id"] for entry in questions["questions"]} == set(range(first, last + 1))
    for entry in annotations["annotations"]:
        assert entry["question_id"] // 1000 == entry["image_id"]
        assert [answer["answer_id"] for answer in entry["answers"]] == list(range(1, 11))
        assert entry["answer_type"] in ("yes/no", "number", "other")


def test_complementary_pairs_list_every_question_once(world: Path) -> None:
    texts = {
        entry["question_id"]: entry["question"]
        for entry in content(world / "v2_OpenEnded_mscoco_val2014_questions.json")["questions"]
    }
    pairs = content(world / "v2_mscoco_val2014_complementary_pairs.json")
    assert sorted(number for pair in pairs for number in pair) == sorted(texts)
    assert all(texts[a] == texts[b] for a, b in pairs)


def official_boxes(path: Path) -> tuple[dict[str, list[list[int]]], set[str], set[str]]:
    """Boxes, scene chains and no-box chains, read as flickr30k_entities_utils.get_annotations reads them."""
    boxes: dict[str, list[list[int]]] = {}
    scenes, without = set(), set()
    for element in ElementTree.parse(path).getroot().findall("object"):
        for name in element.findall("name"):
            box = element.find("bndbox")
            if box is None:
                if int(element.findtext("nobndbox", "0")):
                    without.add(name.text or "")
                if int(element.findtext("scene", "0")):
                    scenes.add(name.text or "")
            else:
                sides = [int(box.findtext(side, "")) - 1 for side in ("xmin", "ymin", "xmax", "ymax")]
                boxes.setdefault(name.text or "", []).append(sides)
    return boxes, scenes, without


def test_entities_phrases_find_their_boxes(world: Path) -> None:
    folder = world / "flickr30k_entities"
    seen: dict[str, int] = {}
    for number in range(1, 47):
        scene = generate_scene(4, number)
        boxes, scenes, without = official_boxes(folder / f"Annotations/{number}.xml")
        lines = (folder / f"Sentences/{number}.txt").read_text().splitlines()
        assert len(lines) == 5
        used = set()
        for chain, kind, text in re.findall(r"\[/EN#(\d+)/(\w+) ([^\]]+)\]", "\n".join(lines)):
            if chain == "0":
                assert kind == "notvisual"
                continue
            assert seen.setdefault(chain, number) == number, "a chain of two pictures"
            used.add(chain)
            if kind == "scene":
                assert chain in scenes & without
            elif chain in boxes:
                single = text.split()[0].lower() in ("a", "an", "the")
                assert (len(boxes[chain]) == 1) is single
            else:
                assert chain in without - scenes
        assert used == set(boxes) | without
        for sides in (box for found in boxes.values() for box in found):
            x1, y1, x2, y2 = sides
            assert 0 <= x1 < x2 < scene.width and 0 <= y1 < y2 < scene.height
            assert any(np.abs(np.array(item.box) - (x1, y1, x2 + 1, y2 + 1)).max() <= 1 for item in scene.objects)


def test_entities_sentences_are_the_captions(world: Path) -> None:
    raw = {
        (image["cocoid"], row): sentence["raw"]
        for image in content(world / "dataset_coco.json")["images"]
        for row, sentence in enumerate(image["sentences"])
    }
    for (number, row), sentence in raw.items():
        line = (world / f"flickr30k_entities/Sentences/{number}.txt").read_text().splitlines()[row]
        plain = re.sub(r"\[/EN#\d+/\w+ |\]", "", line)
        assert plain.replace(" ,", ",").replace(" .", ".") == sentence


def test_entities_lists_and_files_have_the_official_form(world: Path, shared_data: Path) -> None:
    ours, official = world / "flickr30k_entities", shared_data / "flickr30k_entities"
    for name in ("train.txt", "val.txt", "test.txt"):
        for folder in (ours, official / "splits"):
            assert re.fullmatch(r"(\d+\n)+", (folder / name).read_text())
    header = "# format: <imageID> <sentence number>\n"
    assert (ours / "UNRELATED_CAPTIONS").read_text() == header
    assert (official / "splits/UNRELATED_CAPTIONS").read_text().startswith(header)
    start = r"<annotation>\n\t<filename>\d+\.jpg</filename>\n\t<size>\n\t\t<width>\d+</width>\n"
    start += r"\t\t<height>\d+</height>\n\t\t<depth>3</depth>\n\t</size>\n\t<object>\n\t\t<name>\d+</name>\n"
    for path in (ours / "Annotations/1.xml", official / "Annotations/1000092795.xml"):
        assert re.match(start, path.read_text())
