"""Every reader of files that others made, as a function of bytes: it gives what it read, or raises a VltoolError.

Anything else that a reader raises is a finding. Rows of foreign feature files may raise what `DAMAGE` lists too: the
importer catches it, and lists the row.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import yaml
from PIL import Image

from tests.fuzz import twelve_targets
from tests.fuzz.target import Target, as_json, in_a_file, scratch
from vltool import plain_pickle
from vltool.config import load as load_config
from vltool.datasets import coco_captions, coco_instances, flickr30k_captions, karpathy, vqa_v2
from vltool.datasets.checks import Place
from vltool.datasets.entities_annotation import parse_annotation
from vltool.datasets.entities_sentence import parse_sentence
from vltool.datasets.flickr30k_entities import read_unrelated
from vltool.datasets.id_lists import read_image_ids
from vltool.detectors.boxes_file import read_boxes
from vltool.detectors.faster_rcnn.checkpoint import read_weights
from vltool.detectors.faster_rcnn.config import read_config
from vltool.detectors.names import check_names
from vltool.errors import DataError
from vltool.evaluation.score_files import score_retrieval
from vltool.features import record
from vltool.features.formats import hdf5, pickled, uniter
from vltool.features.formats.arrays import DAMAGE, at_size, check, read_npy, read_npz, write_npy, write_npz
from vltool.features.formats.format import Content
from vltool.features.formats.tsv import BottomUpTsv, LxmertTsv
from vltool.features.formats.vinvl import VinvlTsv
from vltool.features.images import decode_image
from vltool.structures import ImageId, RegionFeatures
from vltool.text.glove import load_vectors

BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 30]], np.float32)
FEATURES = np.arange(8, dtype=np.float32).reshape(2, 4)


def row(read: Callable[[bytes], Content]) -> Callable[[bytes], None]:
    """A row of a foreign file, as the importer reads it."""

    def read_row(data: bytes) -> None:
        try:
            content = read(data)
            check(content)
            at_size(content, (480, 640))
        except DAMAGE as error:
            raise DataError(f"damaged: {error!r:.200}") from error

    return read_row


def stored(data: bytes) -> None:
    """A record of a store, with whatever checksum; and the same with its own, as who changes one can make it."""
    for candidate in (data, record.MAGIC + struct.pack("<I", zlib.crc32(data[8:])) + data[8:]):
        if not record.is_whole(candidate):
            continue
        record.decode(candidate)
        layout = record.layout_of(candidate)
        record.viewer(lambda _: (memoryview(candidate), layout))("file:x")  # noqa: B023 - called at once


def tsv(layout: Any) -> tuple[Callable[[bytes], Any], bytes]:
    """How a row of a TSV format is read, and one."""

    def all_rows(path: Path) -> None:
        for entry in layout.read(path):
            row(lambda _: entry.read())(b"")  # noqa: B023 - called at once

    regions = RegionFeatures(
        ImageId("coco:7"),
        FEATURES,
        BOXES,
        height=40,
        width=60,
        classes=np.array([1, 2]),
        scores=np.ones(2, np.float32),
        attributes=np.array([1, 2]),
        attribute_scores=np.ones(2, np.float32),
    )
    b64 = {name: base64.b64encode(value) for name, value in (("boxes", BOXES), ("features", FEATURES))}
    per_region = {"objects_id": regions.classes, "objects_conf": regions.scores}
    per_region |= {"attrs_id": regions.attributes, "attrs_conf": regions.attribute_scores}
    b64 |= {name: base64.b64encode(np.ascontiguousarray(value)) for name, value in per_region.items()}
    plain = {layout.columns[0]: b"7", layout.height_column: b"40", layout.width_column: b"60", "num_boxes": b"2"}
    return in_a_file("rows.tsv", all_rows), b"\t".join({**plain, **b64}[name] for name in layout.columns) + b"\n"


def vinvl(data: bytes) -> None:
    folder = scratch() / "vinvl"
    folder.mkdir(exist_ok=True)
    (folder / "features.tsv").write_bytes(data)
    for entry in VinvlTsv().read(folder):
        row(lambda _: entry.read())(b"")  # noqa: B023 - called at once


def sentence(data: bytes) -> Any:
    return parse_sentence(data.decode("utf-8", errors="replace"), Place(Path("sentence.txt")))


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(file, "JPEG")
    return file.getvalue()


def torch_file() -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"model": {"weight": torch.ones(2, 2)}}, file)
    return file.getvalue()


IMAGES = [{"id": n, "file_name": f"{n:012}.jpg", "height": 40, "width": 60} for n in (1, 2)]
CAPTIONS = {"images": IMAGES, "annotations": [{"image_id": 1, "id": n, "caption": "A cat."} for n in (3, 4)]}
INSTANCES = {
    "images": IMAGES,
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": 5, "image_id": 2, "category_id": 1, "bbox": [5, 1, 20, 3], "iscrowd": 0}],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {"filename": "1.jpg", "cocoid": 1, "imgid": 0, "split": "train", "sentences": [{"raw": "A cat.", "sentid": 3}]}
    ],
}
QUESTIONS = {"questions": [{"image_id": 1, "question": "What is it?", "question_id": 10}]}
ANSWERS = {
    "annotations": [
        {
            "question_id": 10,
            "image_id": 1,
            "answers": [{"answer": "cat", "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)],
            "question_type": "what is",
            "answer_type": "other",
            "multiple_choice_answer": "cat",
        }
    ]
}
XML = (
    b"<annotation><size><width>60</width><height>40</height></size><object><name>1</name><bndbox><xmin>5</xmin>"
    b"<ymin>6</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object><object><name>2</name><scene>1</scene></object>"
    b"</annotation>"
)
CONFIG = {
    "name": "n",
    "out": "o",
    "tasks": {"vqa": {"train": [{"reader": "vqa_v2", "files": {"questions": "q"}}], "val": []}},
    "search": {"grid": {"level": [1, 2], "batch_size": [8]}},
    "training": {"cycle_updates": 20, "betas": [0.9, 0.99]},
}
DETECTOR = {
    "MODEL": {"META_ARCHITECTURE": "GeneralizedRCNN", "RESNETS": {"DEPTH": 50}, "ROI_HEADS": {"NUM_CLASSES": 3}},
    "INPUT": {"MIN_SIZE_TEST": 320, "MAX_SIZE_TEST": 512},
}
UNITER = {"features": FEATURES.astype("<f2"), "norm_bb": np.full((2, 6), 0.5, "<f2"), "conf": np.ones(2, "<f2")}
VILBERT = {"image_id": "7", "image_h": 40, "image_w": 60, "num_boxes": 2, "boxes": BOXES, "features": FEATURES}
BASE64_ROW = {**VILBERT, "boxes": base64.b64encode(BOXES), "features": base64.b64encode(FEATURES)}


def questions_with(answers: Path) -> Any:
    questions = scratch() / "questions.json"
    if not questions.exists():
        questions.write_bytes(as_json(QUESTIONS))
    return vqa_v2.read(files={"questions": questions, "annotations": answers})


def detector_config(path: Path) -> Any:
    return read_config(path)


def numbers_by_name(data: bytes) -> Any:
    return hdf5.load_torch(_written("map.pt", data))


def _written(name: str, data: bytes) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def targets() -> dict[str, Target]:
    """Every target by name."""
    bottom_up, lxmert = tsv(BottomUpTsv()), tsv(LxmertTsv())
    vinvl_row = b"7\t2\t" + base64.b64encode(np.ones((2, 10), np.float32)) + b"\n"
    whole = record.encode(RegionFeatures(ImageId("coco:7"), FEATURES, BOXES, height=40, width=60))
    json_files: dict[str, tuple[Callable[[Path], Any], Any]] = {
        "coco_captions": (lambda path: coco_captions.read(files={"captions": path}), CAPTIONS),
        "coco_instances": (lambda path: coco_instances.read(files={"instances": path}), INSTANCES),
        "karpathy": (lambda path: karpathy.read(files={"dataset": path}, split="train"), KARPATHY),
        "vqa_questions": (lambda path: vqa_v2.read(files={"questions": path}), QUESTIONS),
        "vqa_annotations": (questions_with, ANSWERS),
        "vqa_results": (vqa_v2.read_results, [{"question_id": 10, "answer": "cat"}]),
        "image_ids": (lambda path: read_image_ids(path, image_id="coco:{number}"), ["1", 2, "3.jpg"]),
        "boxes_file": (lambda path: read_boxes(path, "xywh", recipe="given-boxes"), {"file:a": [[1, 2, 3, 4]]}),
        "class_names": (
            lambda path: check_names(path, num_classes=2, num_attributes=1),
            {"classes": ["a", "b"], "attributes": ["c"]},
        ),
    }
    return {
        "store_record": Target(stored, (whole,)),
        "plain_pickle": Target(
            plain_pickle.loads, (plain_pickle.dumps(VILBERT), plain_pickle.dumps([b"1", {2: (3.5,)}]))
        ),
        "vilbert_value": Target(
            row(lambda data: pickled.content_of(plain_pickle.loads(data))),
            (plain_pickle.dumps(VILBERT), plain_pickle.dumps(BASE64_ROW)),
        ),
        "key_list": Target(row_of_names, (plain_pickle.dumps([b"1", b"2"]),)),
        "uniter_msgpack": Target(
            row(lambda data: uniter.content_of(uniter.unpack(data))),
            (uniter.pack(UNITER), msgpack.packb({"a": [1, None]})),
        ),
        "uniter_npz": Target(row(lambda data: uniter.content_of(read_npz(data))), (write_npz(UNITER),)),
        "npy": Target(row(array_alone), (write_npy(FEATURES), write_npy({"bbox": BOXES}))),
        "bottom_up_tsv": Target(bottom_up[0], (bottom_up[1],)),
        "lxmert_tsv": Target(lxmert[0], (lxmert[1],)),
        "vinvl_tsv": Target(vinvl, (vinvl_row,)),
        "dcn_map": Target(numbers_by_name, (torch_file(),)),
        "weights_pth": Target(in_a_file("weights.pth", read_weights), (torch_file(),)),
        "weights_pkl": Target(
            in_a_file("weights.pkl", read_weights), (plain_pickle.dumps({"model": {"w": FEATURES}, "__author__": "x"}),)
        ),
        "picture": Target(lambda data: decode_image(data, where="picture"), (picture(),)),
        "retrieval_scores": Target(
            in_a_file("scores.npy", lambda path: score_retrieval(path, captions_per_image=1)), (write_npy(np.eye(3)),)
        ),
        **{
            name: Target(in_a_file(f"{name}.json", read), (as_json(seed),), "json")
            for name, (read, seed) in json_files.items()
        },
        "run_yaml": Target(
            in_a_file("run.yaml", load_config), (as_json(CONFIG), yaml.safe_dump(CONFIG).encode()), "json"
        ),
        "detector_yaml": Target(in_a_file("detector.yaml", detector_config), (as_json(DETECTOR),), "json"),
        "flickr30k_captions": Target(
            in_a_file("results.token", lambda path: flickr30k_captions.read(files={"captions": path})),
            (b"1000092795.jpg#0\tTwo young guys .\n1000092795.jpg#1\tTwo men .\n",),
            "text",
        ),
        "entities_sentence": Target(sentence, (b"[/EN#1/people/other A man] sits on [/EN#0/notvisual it] .",), "text"),
        "entities_annotation": Target(lambda data: parse_annotation(data, Path("1.xml")), (XML,), "text"),
        "unrelated_captions": Target(in_a_file("unrelated.txt", read_unrelated), (b"129602216 5\n# remark\n",), "text"),
        "glove": Target(
            in_a_file("glove.txt", lambda path: load_vectors(path, ["a", "cat"])),
            (b"a 0.1 0.2 0.3\ncat 1 2 3\n",),
            "text",
        ),
        **twelve_targets.targets(),
    }


def row_of_names(data: bytes) -> Any:
    return pickled.names_in(data)


def array_alone(data: bytes) -> Content:
    value = read_npy(data)
    return Content(np.asarray(value), BOXES, 40, 60)


TARGETS = targets()
