"""Whatever is wrong with a file, a reader gives records or a DataError, never another exception."""

from __future__ import annotations

import copy
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.datasets import coco_captions, coco_instances, flickr30k_entities, karpathy, vqa_v2
from vltool.datasets.id_lists import read_image_ids
from vltool.errors import DataError

IMAGES = [{"id": number, "file_name": f"{number:012d}.jpg", "height": 4, "width": 6} for number in (1, 2)]
QUESTION = {"image_id": 1, "question": "How many?", "question_id": 5}
ANNOTATION = {
    "question_id": 5,
    "image_id": 1,
    "question_type": "how many",
    "answer_type": "number",
    "multiple_choice_answer": "2",
    "answers": [{"answer": "2", "answer_id": 1}, {"answer": "3", "answer_id": 2}],
}
SENTENCE = {"raw": "A cat.", "tokens": ["a", "cat"], "imgid": 0, "sentid": 3}
CONTENTS: dict[str, Any] = {
    "captions": {"images": IMAGES, "annotations": [{"image_id": 1, "id": 3, "caption": "A cat."}]},
    "instances": {
        "images": IMAGES,
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "bbox": [0.5, 1, 2, 3], "iscrowd": 0}],
    },
    "dataset": {
        "dataset": "coco",
        "images": [
            {"filename": "a_1.jpg", "cocoid": 1, "imgid": 0, "split": "val", "sentids": [3], "sentences": [SENTENCE]}
        ],
    },
    "questions": {"questions": [QUESTION]},
    "annotations": {"annotations": [ANNOTATION]},
    "results": [{"question_id": 5, "answer": "2"}],
    "list": {"images": [*IMAGES, 7, "8.jpg"]},
}
Read = Callable[[dict[str, Path]], Any]
READERS: list[tuple[str, Read]] = [
    ("captions", lambda files: coco_captions.read(files=files)),
    ("instances", lambda files: coco_instances.read(files=files)),
    ("dataset", lambda files: karpathy.read(files=files, split="val+test")),
    ("questions", lambda files: vqa_v2.read(files=files)),
    ("annotations", lambda files: vqa_v2.read(files=files)),
    ("results", lambda files: vqa_v2.read_results(files["results"])),
    ("list", lambda files: read_image_ids(files["list"], image_id="coco:{number}")),
]
BY_NAME = pytest.mark.parametrize(("name", "read"), READERS, ids=[name for name, _ in READERS])
fuzz = settings(max_examples=60, deadline=None)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "", "x" * 5000, 10**400, -1, 0, 1, 5, "5", "{number}", "1.jpg"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside `content`."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(data: st.DataObject, content: Any) -> Any:
    """`content` with some of its values replaced, left out or doubled."""
    content = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(content))
        if not found:
            return data.draw(values)
        *way, last = data.draw(st.sampled_from(found))
        target = content
        for step in way:
            target = target[step]
        action = data.draw(st.sampled_from(["replace", "leave out", "double"]))
        if action == "replace":
            target[last] = data.draw(values)
        elif action == "leave out":
            del target[last]
        elif isinstance(target, list):
            target.append(copy.deepcopy(target[last]))
    return content


def outcome(read: Read, files: dict[str, Path]) -> None:
    """Read; a DataError must name the file."""
    problem = None
    try:
        read(files)
    except DataError as error:
        problem = str(error)
    assert problem is None or any(path.name.split(".")[0] in problem for path in files.values()), problem


@BY_NAME
@fuzz
@given(data=st.data())
def test_wrong_values(name: str, read: Read, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(Path(folder))
        files[name].write_text(json.dumps(changed(data, CONTENTS[name])), encoding="utf-8")
        outcome(read, files)


@BY_NAME
@fuzz
@given(data=st.data())
def test_files_cut_short_or_overwritten(name: str, read: Read, data: st.DataObject) -> None:
    content = bytearray(json.dumps(CONTENTS[name]).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    with tempfile.TemporaryDirectory() as folder:
        files = write_all(Path(folder))
        files[name].write_bytes(content[:place] + data.draw(st.binary(max_size=4)))
        outcome(read, files)
        content[place : place + 2] = data.draw(st.binary(min_size=1, max_size=3))
        files[name].write_bytes(content)
        outcome(read, files)


@fuzz
@given(data=st.data())
def test_damaged_archives(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "captions.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("captions.json", json.dumps(CONTENTS["captions"]))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
        outcome(READERS[0][1], {"captions": path})


LINE = "[/EN#1/people A man] in [/EN#2/clothing/other a red hat] ."
XML = """<annotation><size><width>6</width><height>4</height></size>
<object><name>1</name><name>2</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object>
<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>"""


@fuzz
@given(
    kind=st.sampled_from(["line", "xml"]),
    cut=st.tuples(st.floats(0, 1), st.integers(0, 9)),
    insert=st.one_of(
        st.text(max_size=6),
        st.sampled_from(["[", "]", "/", "<", "<a>", "&x;", "-1", "9" * 5000, "[/EN#", "]]", "\r", "\u2028", "\x00"]),
    ),
)
def test_damaged_entities(kind: str, cut: tuple[float, int], insert: str) -> None:
    whole = LINE if kind == "line" else XML
    place = round(cut[0] * len(whole))
    damaged = (whole[:place] + insert + whole[place + cut[1] :]).encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "7.txt").write_bytes(damaged if kind == "line" else LINE.encode())
        (folder / "7.xml").write_bytes(damaged if kind == "xml" else XML.encode())
        outcome(
            lambda files: flickr30k_entities.read(files=files),
            {"sentences": folder, "annotations": folder, "7": folder / "7"},
        )


def test_very_long_questions_are_read(tmp_path: Path) -> None:
    content = {"questions": [{**QUESTION, "question": "why " * 500_000}]}
    (tmp_path / "questions.json").write_text(json.dumps(content))
    (found,) = vqa_v2.read(files={"questions": tmp_path / "questions.json"})
    assert len(found.question) == 2_000_000


def write_all(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.json" for name in CONTENTS}
    for name, path in files.items():
        path.write_text(json.dumps(CONTENTS[name]), encoding="utf-8")
    return files
