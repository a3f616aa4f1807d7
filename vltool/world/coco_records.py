"""The generated world as MS-COCO writes it: captions, instances and Karpathy's split.

One picture, one caption, one instance and one Karpathy sentence:

    {"license": 1, "file_name": "COCO_train2014_000000000003.jpg", "coco_url": "", "height": 240, "width": 320,
     "date_captured": "2014-01-01 00:00:00", "flickr_url": "", "id": 3}
    {"image_id": 3, "id": 11, "caption": "Two red circles and a striped star on the sand."}
    {"segmentation": [[81.3, 40.0, …]], "area": 1204.6, "iscrowd": 0, "image_id": 3, "bbox": [55.9, 36.8, 73.1, 68.4],
     "category_id": 4, "id": 17}
    {"tokens": ["two", "red", "circles", …], "raw": "Two red circles and …", "imgid": 2, "sentid": 11}
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vltool.world.captions import CAPTIONS_PER_PICTURE, Caption
from vltool.world.scene import SHAPES, Scene, SceneObject, outline

CATEGORIES = tuple(
    {"supercategory": "shape", "id": category, "name": shape} for category, shape in enumerate(SHAPES, start=1)
)
_CATEGORY_IDS = {shape: category for category, shape in enumerate(SHAPES, start=1)}
_INFO = {
    "description": "Generated world of vltool, in the layout of COCO 2014",
    "url": "",
    "version": "1.0",
    "year": 2014,
    "contributor": "vltool",
    "date_created": "2014/01/01",
}
_LICENSES = [{"url": "", "id": 1, "name": "Generated pictures, free to use"}]


def picture_name(subset: str, number: int) -> str:
    """The official file name: "COCO_train2014_000000000003.jpg"."""
    return f"COCO_{subset}_{number:012d}.jpg"


def caption_id(number: int, row: int) -> int:
    """The id of a picture's caption (row 0 to 4): unique over the world, the same in COCO's and Karpathy's file."""
    return (number - 1) * CAPTIONS_PER_PICTURE + row + 1


def captions_file(subset: str, scenes: Iterable[Scene], captions: Mapping[int, Sequence[Caption]]) -> dict[str, Any]:
    """The content of captions_{subset}.json; `captions` by picture number."""
    scenes = list(scenes)
    annotations = [
        {"image_id": scene.number, "id": caption_id(scene.number, row), "caption": caption.sentence}
        for scene in scenes
        for row, caption in enumerate(captions[scene.number])
    ]
    return {
        "info": _INFO,
        "licenses": _LICENSES,
        "images": [_image(subset, scene) for scene in scenes],
        "annotations": annotations,
    }


def instances_file(subset: str, scenes: Iterable[Scene]) -> dict[str, Any]:
    """The content of instances_{subset}.json. Polygons, like boxes, include what a nearer object hides."""
    scenes = list(scenes)
    annotations = [
        _instance(item, scene, number=scene.number * 10 + row)
        for scene in scenes
        for row, item in enumerate(scene.objects, start=1)
    ]
    return {
        "info": _INFO,
        "licenses": _LICENSES,
        "images": [_image(subset, scene) for scene in scenes],
        "annotations": annotations,
        "categories": list(CATEGORIES),
    }


def karpathy_file(
    pictures: Iterable[tuple[str, str, int]], captions: Mapping[int, Sequence[Caption]]
) -> dict[str, Any]:
    """The content of dataset_coco.json from (subset, split, picture number), e.g. ("val2014", "restval", 617)."""
    images = []
    for imgid, (subset, split, number) in enumerate(pictures):
        sentences = [
            {
                "tokens": [word.lower() for word in caption.words if word[0].isalnum()],
                "raw": caption.sentence,
                "imgid": imgid,
                "sentid": caption_id(number, row),
            }
            for row, caption in enumerate(captions[number])
        ]
        images.append(
            {
                "filepath": subset,
                "sentids": [sentence["sentid"] for sentence in sentences],
                "filename": picture_name(subset, number),
                "imgid": imgid,
                "split": split,
                "sentences": sentences,
                "cocoid": number,
            }
        )
    return {"images": images, "dataset": "coco"}


def _image(subset: str, scene: Scene) -> dict[str, Any]:
    return {
        "license": 1,
        "file_name": picture_name(subset, scene.number),
        "coco_url": "",
        "height": scene.height,
        "width": scene.width,
        "date_captured": "2014-01-01 00:00:00",
        "flickr_url": "",
        "id": scene.number,
    }


def _instance(item: SceneObject, scene: Scene, *, number: int) -> dict[str, Any]:
    corners = clip_polygon(outline(item), scene.width, scene.height)
    x1, y1, x2, y2 = item.box
    return {
        "segmentation": [[round(value, 2) for value in corners.reshape(-1).tolist()]],
        "area": round(polygon_area(corners), 4),
        "iscrowd": 0,
        "image_id": scene.number,
        "bbox": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)],
        "category_id": _CATEGORY_IDS[item.shape],
        "id": number,
    }


def polygon_area(corners: np.ndarray) -> float:
    """Area inside a polygon (P, 2), square pixels."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def clip_polygon(corners: np.ndarray, width: float, height: float) -> np.ndarray:
    """The part of a polygon (P, 2) inside the picture, (Q, 2): Sutherland and Hodgman's cutting, edge by edge."""
    for axis, bound, sign in ((0, 0.0, 1.0), (0, float(width), -1.0), (1, 0.0, 1.0), (1, float(height), -1.0)):
        inside = sign * (corners[:, axis] - bound)  # (P,), negative outside
        kept = []
        for here in range(len(corners)):
            before = here - 1
            if (inside[here] >= 0) != (inside[before] >= 0):
                share = inside[before] / (inside[before] - inside[here])
                kept.append(corners[before] + share * (corners[here] - corners[before]))
            if inside[here] >= 0:
                kept.append(corners[here])
        corners = np.array(kept)
    return corners
