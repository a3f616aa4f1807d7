"""Small files in the published formats of 12-in-1's datasets, and the same with something wrong in them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

GQA = {
    "201": {
        "imageId": "2331963",
        "question": "What is on the wall?",
        "answer": "picture",
        "isBalanced": True,
        "groups": {"global": "thing", "local": "14-wall_on,s"},
        "entailed": ["201", "202"],
        "equivalent": ["201"],
        "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
        "semantic": [
            {"operation": "select", "argument": "wall (0)", "dependencies": []},
            {"operation": "relate", "argument": "_,on,s (12)", "dependencies": [0]},
            {"operation": "query", "argument": "name", "dependencies": [1]},
        ],
        "fullAnswer": "The picture is on the wall.",
    },
    "202": {
        "imageId": "n578564",
        "question": "Is there a picture?",
        "answer": "yes",
        "isBalanced": False,
        "groups": {"global": None, "local": "10-picture"},
        "entailed": [],
        "types": {"detailed": "existC", "semantic": "obj", "structural": "verify"},
        "semantic": [
            {"operation": "select", "argument": "picture (12)", "dependencies": []},
            {"operation": "exist", "argument": "?", "dependencies": [0]},
        ],
    },
}
GQA_SECRET = {"301": {"imageId": "5", "question": "Which side?", "isBalanced": True}}
CHOICES = {"201": {"valid": ["picture", "clock"], "plausible": ["picture"]}, "202": {"valid": ["yes"], "plausible": []}}
VG_QA = [
    {
        "id": number,
        "qas": [
            {
                "qa_id": 10 * number + k,
                "image_id": number,
                "question": "What color is it?",
                "answer": "Green.",
                "a_objects": [],
                "q_objects": [],
            }
            for k in range(2)
        ],
    }
    for number in (5, 7)
]
IMAGE_DATA = [
    {"image_id": 5, "coco_id": None, "flickr_id": None, "width": 800, "height": 600, "url": ""},
    {"image_id": 7, "coco_id": 391895, "flickr_id": 1, "width": 500, "height": 375, "url": ""},
    {"image_id": 2331963, "coco_id": 42, "flickr_id": 1, "width": 640, "height": 480, "url": ""},
]
INSTANCES = {
    "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "height": 40, "width": 60}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": number, "image_id": 9, "category_id": 1, "bbox": [x, 1, 20, 3], "iscrowd": 0}
        for number, x in ((31, 30), (30, 5))
    ],
}
REFS = [
    {
        "ref_id": 3,
        "ann_id": 31,
        "image_id": 9,
        "category_id": 1,
        "file_name": "COCO_train2014_000000000009_3.jpg",
        "split": split,
        "sent_ids": [sentence],
        "sentences": [
            {"sent_id": sentence, "raw": "The RIGHT cat", "sent": "the right cat", "tokens": ["the", "right", "cat"]}
        ],
    }
    for sentence, split in enumerate(("train", "testA"))
]
VISUAL7W = {
    "dataset": "v7w",
    "boxes": [
        {"box_id": number, "name": "man", "x": x, "y": 2, "width": 8, "height": 7}
        for number, x in ((14, -1), (11, 10), (12, 20), (13, 30), (15, 40))
    ],
    "images": [
        {
            "image_id": 7,
            "filename": "v7w_7.jpg",
            "split": "train",
            "qa_pairs": [
                {"qa_id": 1, "question": "Which man?", "type": "which", "answer": 14, "multiple_choices": [11, 12, 13]},
                {"qa_id": 2, "question": "Which hat?", "type": "which", "answer": 11, "multiple_choices": [12, 15]},
            ],
        },
        {
            "image_id": 5,
            "filename": "v7w_5.jpg",
            "split": "val",
            "qa_pairs": [
                {"qa_id": 3, "question": "Which one?", "type": "which", "answer": 13, "multiple_choices": [12]},
            ],
        },
    ],
}
GAME = {
    "dialogue_id": 2400,
    "picture_id": 9,
    "picture": {"file_name": "COCO_train2014_000000000009.jpg", "height": 40, "width": 60, "coco_url": ""},
    "qas": [{"id": 1, "q": "Is it a cat?", "a": "Yes"}, {"id": 2, "q": "On the left?", "a": "No"}],
    "objects": {
        "31": {"category": "cat", "category_id": 1, "bbox": [30, 1, 20, 3], "area": 60, "segment": []},
        "30": {"category": "cat", "category_id": 1, "bbox": [5, 1, 20, 3], "area": 60, "segment": []},
    },
    "object_id": 31,
    "status": "success",
}
GAME_OF_12_IN_1 = {
    "id": 2400,
    "image": {"id": 9, "height": 40, "width": 60},
    "qas": [
        {"id": 1, "question": "Is it a cat?", "answer": "Yes"},
        {"id": 2, "question": "On the left?", "answer": "No"},
    ],
    "objects": [{"id": int(number), **thing} for number, thing in GAME["objects"].items()],  # type: ignore[attr-defined]
    "object_id": 31,
    "status": "success",
}
STATEMENT = {
    "identifier": "dev-850-2-0",
    "sentence": "There are two dogs.",
    "label": "True",
    "left_url": "",
    "right_url": "",
    "validation": {},
}
PAIR = {
    "Flickr30K_ID": "2248275918",
    "pairID": "2248275918.jpg#2r1c",
    "captionID": "2248275918.jpg#2",
    "gold_label": "contradiction",
    "annotator_labels": ["contradiction"],
    "sentence1": "A toddler poses.",
    "sentence2": "A toddler sleeps.",
}


def changed(content: Any, change: Callable[[Any], None] | None) -> Any:
    content = copy.deepcopy(content)
    if change is not None:
        change(content)
    return content


def write_json(path: Path, content: Any, change: Callable[[Any], None] | None = None) -> Path:
    path.write_text(json.dumps(changed(content, change)), encoding="utf-8")
    return path


def write_lines(path: Path, records: list[Any], change: Callable[[Any], None] | None = None) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in changed(records, change)), encoding="utf-8")
    return path


def write_pickle(path: Path, content: Any, change: Callable[[Any], None] | None = None) -> Path:
    path.write_bytes(pickle.dumps(changed(content, change), protocol=2))
    return path
