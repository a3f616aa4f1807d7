"""Flickr30k Entities: lines and XML by hand, and the official parser's output.

flickr30k_entities_parsed.json (in ../shared/golden, or in the folders of the environment variable VLTOOL_GOLDEN) is
compared where the files that it was made from lie beside it: flickr30k_entities/ or ../data/flickr30k_entities/.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from vltool.datasets import flickr30k_entities
from vltool.datasets.checks import Place
from vltool.datasets.entities_annotation import parse_annotation
from vltool.datasets.entities_sentence import parse_sentence
from vltool.datasets.records import Phrase
from vltool.datasets.sources import read_json
from vltool.errors import DataError
from vltool.tasks.grounding import VisualGrounding

SHARED = Path(os.environ.get("VLTOOL_SHARED", Path(__file__).parents[3] / "shared"))
ROOTS = [SHARED / "golden", *(Path(name) for name in os.environ.get("VLTOOL_GOLDEN", "").split(os.pathsep) if name)]
GOLDEN = [
    root / "flickr30k_entities_parsed.json" for root in ROOTS if (root / "flickr30k_entities_parsed.json").exists()
]

LINE = "[/EN#1/people Two young , White males] are outside near [/EN#0/notvisual/other many bushes] ."
XML = """<annotation><filename>7.jpg</filename><size><width>333</width><height>500</height><depth>3</depth></size>
<object><name>1</name><bndbox><xmin>159</xmin><ymin>125</ymin><xmax>219</xmax><ymax>335</ymax></bndbox></object>
<object><name>1</name><name>6</name><bndbox><xmin>0</xmin><ymin>110</ymin><xmax>0</xmax><ymax>373</ymax></bndbox></object>
<object><name>10</name><scene>0</scene><nobndbox>1</nobndbox></object>
<object><name>9</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>"""


def write_picture(folder: Path, *, stem: str = "7", line: str = LINE, xml: str = XML) -> dict[str, Path]:
    for name, suffix, content in (("Sentences", ".txt", line + "\n"), ("Annotations", ".xml", xml)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / (stem + suffix)).write_text(content, encoding="utf-8")
    return {"sentences": folder / "Sentences", "annotations": folder / "Annotations"}


def test_a_line_is_read_as_words_and_phrases() -> None:
    words, phrases = parse_sentence(LINE, Place("7.txt", "sentence", 0))
    assert words == ("Two", "young", ",", "White", "males", "are", "outside", "near", "many", "bushes", ".")
    assert [tuple(phrase) for phrase in phrases] == [(0, 5, "1", ("people",)), (8, 2, "0", ("notvisual", "other"))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[/EN#1/people Two men walk", "chain '1' is not closed"),
        ("[/EN#1/people Two [/EN#2/other men] walk]", "opens inside another"),
        ("[people Two men]", "expected a phrase to open"),
        ("[/EN#1/people] walk", "expected a phrase to open"),
        ("[/EN#1/people ] walk", "the phrase of chain .1. has no words"),
        ("[/EN#/people a b]", "expected a phrase to open"),
        ("   ", "expected a sentence"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"7\.txt: sentence\[0\]: .*{message}"):
        flickr30k_entities.read(files=write_picture(tmp_path, line=line))


def test_boxes_count_from_zero_and_belong_to_every_chain_named() -> None:
    found = parse_annotation(XML.encode(), Path("7.xml"))
    assert (found.height, found.width) == (500, 333)
    assert found.boxes == {"1": [(158, 124, 218, 334), (-1, 109, -1, 372)], "6": [(-1, 109, -1, 372)]}
    assert found.scene == {"9"} and found.no_box == {"10", "9"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xmin>159", "<xmin>220", r"object\[0\]: expected xmin ≤ xmax"),
        ("<xmin>159", "<xmin>nan", r"object\[0\]\.xmin: expected a whole number, found 'nan'"),
        ("<ymax>335</ymax>", "", r"object\[0\]\.ymax: expected a whole number, found 'nothing'"),
        ("<name>10</name>", "", r"object\[2\]\.name: expected the chain"),
        ("<scene>0</scene><nobndbox>1</nobndbox>", "", r"object\[2\]\.bndbox: expected a box, or the marks"),
        ("<width>333</width>", "", "size.width: expected a whole number"),
        ("<height>500", "<height>0", "expected width and height ≥ 1"),
        ("</annotation>", "", "not XML"),
        ("size>", "sise>", "expected <size>"),
    ],
)
def test_a_wrong_annotation_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"7\.xml: .*{message}"):
        flickr30k_entities.read(files=write_picture(tmp_path, xml=XML.replace(old, new)))


def test_phrases_get_the_boxes_of_their_chain(tmp_path: Path) -> None:
    line = "[/EN#1/people men] in [/EN#9/scene a yard] with [/EN#10/other time] and [/EN#3/other hope]"
    (found,) = flickr30k_entities.read(files=write_picture(tmp_path, line=line))
    assert found.image_id == "flickr30k:7" and (found.height, found.width) == (500, 333)
    assert found.phrases == (
        Phrase(0, 1, "1", ("people",), ((158, 124, 218, 334), (-1, 109, -1, 372))),
        Phrase(2, 2, "9", ("scene",), (), is_scene=True, has_no_box=True),
        Phrase(5, 1, "10", ("other",), (), has_no_box=True),
        Phrase(7, 1, "3", ("other",), ()),
    )


def test_lists_choose_pictures_and_unrelated_captions_are_marked(tmp_path: Path) -> None:
    write_picture(tmp_path, stem="8")
    files = write_picture(tmp_path, line=LINE + "\n\n[/EN#1/people Men] sit .")
    assert len(flickr30k_entities.read(files=files)) == 3
    files |= {"val_ids": tmp_path / "val.txt", "train_ids": tmp_path / "train.txt", "unrelated": tmp_path / "UNRELATED"}
    files["val_ids"].write_text("7\n")
    files["unrelated"].write_text("# format: <imageID> <sentence number>\n7 1\n")
    found = flickr30k_entities.read(files=files, split="val", image_id="world:{number}")
    assert [(c.image_id, c.sentence_index, c.is_unrelated) for c in found] == [
        ("world:7", 0, True),
        ("world:7", 1, False),
    ]
    task = VisualGrounding("grounding", {"val": found})
    assert [example.target.sentence_index for example in task.examples("val")] == [1]  # the other is counted, not asked
    files["train_ids"].write_text("7\n9\n")
    with pytest.raises(DataError, match=r"1 of its 2 pictures have no file in .*Sentences, first 9\.txt"):
        flickr30k_entities.read(files=files, split="train")
    files["unrelated"].write_text("7 0\n")
    with pytest.raises(DataError, match=r"UNRELATED: line 1: expected a picture and the number of a sentence"):
        flickr30k_entities.read(files=files, split="val")


def test_archives_and_sentences_alone(tmp_path: Path) -> None:
    files = write_picture(tmp_path)
    with zipfile.ZipFile(tmp_path / "annotations.zip", "w") as archive:
        for folder in files.values():
            for path in folder.iterdir():
                archive.write(path, f"{folder.name}/{path.name}")
    zipped = {"sentences": tmp_path / "annotations.zip", "annotations": tmp_path / "annotations.zip"}
    assert flickr30k_entities.read(files=zipped) == flickr30k_entities.read(files=files)
    (alone,) = flickr30k_entities.read(files={"sentences": tmp_path / "Sentences"})
    assert alone.phrases[0].boxes == () and alone.height == 0


def test_sample_data_loads_in_full(shared_data: Path) -> None:
    folder = shared_data / "flickr30k_entities"
    assert len(flickr30k_entities.read(files={"sentences": folder / "Sentences"})) == 8 * 5
    assert len(flickr30k_entities.read_unrelated(folder / "splits" / "UNRELATED_CAPTIONS")) == 21
    both = {"sentences": folder / "Sentences", "annotations": folder / "Annotations"}
    assert len(flickr30k_entities.read(files=both)) == 2 * 5


@pytest.mark.skipif(not GOLDEN, reason="no flickr30k_entities_parsed.json: name its folder in VLTOOL_GOLDEN")
@pytest.mark.parametrize("path", GOLDEN, ids=str)
def test_equals_the_official_parser(path: Path) -> None:
    official = read_json(path)
    places = [path.parent / "flickr30k_entities", path.parent.parent / "data" / "flickr30k_entities"]
    folder = next((place for place in places if (place / "Sentences").is_dir()), None)
    if folder is None:
        pytest.skip(f"{path}: the Sentences and Annotations that it was made from are not beside it")
    for stem, expected in official["annotations"].items():
        content = (folder / "Annotations" / f"{stem}.xml").read_bytes()
        flags = {name: sorted(set(expected[name])) for name in ("scene", "nobox")}
        sizes = {side: expected[side] for side in ("width", "height")}
        assert as_official_boxes(content, Path(f"{stem}.xml")) == {"boxes": expected["boxes"], **flags, **sizes}
    for stem, expected in official["sentences"].items():
        lines = (folder / "Sentences" / f"{stem}.txt").read_text(encoding="utf-8").split("\n")
        assert [as_official_sentence(line) for line in lines if line] == expected


def as_official_boxes(content: bytes, path: Path) -> dict[str, Any]:
    found = parse_annotation(content, path)
    boxes = {chain: [[int(side) for side in box] for box in listed] for chain, listed in found.boxes.items()}
    flags = {"scene": sorted(found.scene), "nobox": sorted(found.no_box)}
    return {"boxes": boxes, **flags, "width": found.width, "height": found.height}


def as_official_sentence(line: str) -> dict[str, Any]:
    words, phrases = parse_sentence(line, Place("", "", ""))
    return {
        "sentence": " ".join(words),
        "phrases": [
            {
                "first_word_index": phrase.first_word,
                "phrase": " ".join(words[phrase.first_word : phrase.first_word + phrase.num_words]),
                "phrase_id": phrase.chain_id,
                "phrase_type": list(phrase.types),
            }
            for phrase in phrases
        ],
    }
