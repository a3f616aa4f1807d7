"""The generated world as detectron2 reads a data set: one record a picture, drawn when it is asked for.

A record:

    {"image": (3, H, W) float32 BGR, "height": 240, "width": 320, "instances": gt_boxes, gt_classes, gt_attributes}
"""

import io
from collections.abc import Iterator

import numpy as np
import torch
from detectron2.data import transforms
from detectron2.structures import Boxes, Instances
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from vltool.world.picture import draw_scene
from vltool.world.scene import COLOURS, SHAPES, SIZES, TEXTURES, Scene, generate_scene

CLASSES = SHAPES
ATTRIBUTE_GROUPS = {"colour": COLOURS, "size": SIZES, "texture": TEXTURES}
ATTRIBUTES = COLOURS + SIZES + TEXTURES

TRAIN_SEED = 900001  # worlds kept for the detector; a world of one's own should take a seed below these
HELD_OUT_SEED = 900002


def draw_jpeg(scene: Scene, quality: int = 90) -> bytes:
    """The scene's picture as a JPEG file, which is how the world is written to disk."""
    file = io.BytesIO()
    draw_scene(scene).save(file, format="JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def read_bgr(jpeg: bytes) -> np.ndarray:
    """(H, W, 3) uint8, blue first."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))[:, :, ::-1]


def object_labels(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4), class ids (N,) and attribute ids (N, 3: colour, size, texture) of a scene's objects."""
    boxes = np.array([item.box for item in scene.objects], dtype=np.float32)
    classes = np.array([CLASSES.index(item.shape) for item in scene.objects])
    attributes = np.array(
        [[ATTRIBUTES.index(name) for name in (item.colour, item.size, item.texture)] for item in scene.objects]
    )
    return boxes, classes, attributes


class TrainingPictures(IterableDataset):
    """Numbers of training pictures without end, each handed out once."""

    def __init__(self, *, first_number: int) -> None:
        self.first_number = first_number

    def __iter__(self) -> Iterator[int]:
        worker = get_worker_info()
        number, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while True:
            yield self.first_number + number
            number += step


class TrainingMapper:
    """A picture's number to its record: a JPEG of random quality, resized as the config says."""

    def __init__(self, cfg) -> None:
        self.augmentations = transforms.AugmentationList(
            [transforms.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, "choice")]
        )
        self.max_attributes = cfg.INPUT.MAX_ATTR_PER_INS

    def __call__(self, number: int) -> dict:
        scene = generate_scene(TRAIN_SEED, number)
        boxes, classes, attributes = object_labels(scene)
        quality = int(np.random.default_rng([TRAIN_SEED, number]).integers(80, 99))
        model_input = transforms.AugInput(read_bgr(draw_jpeg(scene, quality)), boxes=boxes)
        self.augmentations(model_input)
        height, width = model_input.image.shape[:2]
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.as_tensor(model_input.boxes, dtype=torch.float32))
        instances.gt_classes = torch.as_tensor(classes)
        padded = np.full((len(classes), self.max_attributes), -1)
        padded[:, : attributes.shape[1]] = attributes
        instances.gt_attributes = torch.as_tensor(padded)
        image = torch.as_tensor(np.ascontiguousarray(model_input.image.transpose(2, 0, 1)), dtype=torch.float32)
        return {"image": image, "height": scene.height, "width": scene.width, "instances": instances}
