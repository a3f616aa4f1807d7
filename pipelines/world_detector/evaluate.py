"""How good the detector of the generated world is, on pictures it was not trained on.

    python pipelines/world_detector/evaluate.py --detector vltool/world/detector --num-pictures 300

Two things are measured: the detections, by COCO's average precision, and the regions that feature extraction keeps
under the bottom-up recipe: how many there are, which share of the objects they cover, and whether the class and the
attributes said of the best region of each covered object are the object's own.
"""

import argparse
import contextlib
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from model import describe, load_detector, resize
from pictures import ATTRIBUTE_GROUPS, ATTRIBUTES, CLASSES, HELD_OUT_SEED, draw_jpeg, object_labels, read_bgr
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import box_iou

from vltool.detectors.selection import Recipe, keep_by_score, surviving_scores
from vltool.world.scene import generate_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, required=True, help="folder with config.yaml and model.safetensors")
    parser.add_argument("--num-pictures", type=int, default=300)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(evaluate(arguments.detector, seed=arguments.seed, num_pictures=arguments.num_pictures), indent=1))


def evaluate(folder: Path, *, seed: int, num_pictures: int) -> dict[str, float]:
    """All figures of a detector on pictures 0 to num_pictures - 1 of a world."""
    model, cfg = load_detector(folder)
    pictures, detections, regions, seconds = [], [], [], []
    for number in range(num_pictures):
        scene = generate_scene(seed, number)
        boxes, classes, attributes = object_labels(scene)
        picture = read_bgr(draw_jpeg(scene))
        resized = resize(picture, cfg)
        said = describe(model, resized, height=scene.height, width=scene.width)
        start = time.perf_counter()
        with torch.no_grad():
            model([{"image": torch.as_tensor(resized.transpose(2, 0, 1).astype("float32"))}])
        seconds.append(time.perf_counter() - start)
        scale = torch.tensor([scene.width / resized.shape[1], scene.height / resized.shape[0]] * 2)
        pictures.append((number, scene.width, scene.height, boxes, classes))
        detections.append((number, said))
        regions.append(region_figures(said, said["proposal_boxes"] * scale, boxes, classes, attributes))
    figures = average_precision(pictures, detections)
    for name in ("num_regions", "num_confident"):
        figures[name] = float(np.mean([region[name] for region in regions]))
    joined = {name: np.concatenate([region[name] for region in regions]) for name in regions[0] if name[:3] != "num"}
    covered = joined.pop("covered")
    figures["covered"] = float(covered.mean())
    for name, values in joined.items():
        figures[name] = float(values.mean() if name in _OF_ALL_OBJECTS else values[covered].mean())
    figures["seconds_a_picture"] = float(np.median(seconds))
    return {name: round(value, 4) for name, value in figures.items()}


_OF_ALL_OBJECTS = ("proposal_iou", "covered_0.7", "covered_by_proposals", "covered_by_confident")


def region_figures(said, proposal_boxes, boxes, classes, attributes) -> dict:
    """Figures of one picture's kept regions; arrays have one value an object."""
    confident, kept = keep_regions(proposal_boxes, said["class_probabilities"])
    overlaps = box_iou(torch.as_tensor(boxes), proposal_boxes)  # (objects, P)
    best_overlap, best = overlaps[:, kept].max(dim=1)
    region = kept[best]  # (objects,)
    figures = {
        "num_regions": len(kept),
        "num_confident": len(confident),
        "covered": (best_overlap >= 0.5).numpy(),
        "covered_0.7": (best_overlap >= 0.7).numpy(),
        "covered_by_confident": (overlaps[:, confident] >= 0.5).any(dim=1).numpy(),
        "covered_by_proposals": (overlaps.max(dim=1).values >= 0.5).numpy(),
        "proposal_iou": overlaps.max(dim=1).values.numpy(),
        "region_iou": best_overlap.numpy(),
        "class": (said["class_probabilities"][region, :-1].argmax(dim=1).numpy() == classes),
    }
    for column, (group, names) in enumerate(ATTRIBUTE_GROUPS.items()):
        first = ATTRIBUTES.index(names[0])
        guessed = said["attribute_probabilities"][region, first : first + len(names)].argmax(dim=1).numpy() + first
        figures[group] = guessed == attributes[:, column]
    return figures


def keep_regions(boxes: torch.Tensor, class_probabilities: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of the proposals the bottom-up recipe finds good enough, and of those it keeps, which are 10 at least."""
    recipe = Recipe()
    scores, _ = surviving_scores(
        boxes.numpy(),
        class_probabilities.numpy(),
        nms_threshold=recipe.nms_threshold,
        score_threshold=recipe.score_threshold,
        num_wanted=min(recipe.min_boxes, len(boxes)),
    )
    kept = keep_by_score(
        scores, score_threshold=recipe.score_threshold, min_boxes=recipe.min_boxes, max_boxes=recipe.max_boxes
    )
    return torch.as_tensor(kept[scores[kept] >= recipe.score_threshold]), torch.as_tensor(kept)


def average_precision(pictures, detections) -> dict[str, float]:
    """COCO's AP and AP50 of the detections."""
    truth = {
        "info": {},
        "images": [{"id": number, "width": width, "height": height} for number, width, height, _, _ in pictures],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES)],
        "annotations": [],
    }
    for number, _, _, boxes, classes in pictures:
        for box, label in zip(boxes.tolist(), classes.tolist(), strict=True):
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": number, "category_id": label, "iscrowd": 0}
                | {"bbox": xywh(box), "area": (box[2] - box[0]) * (box[3] - box[1])}
            )
    results = [
        {"image_id": number, "category_id": label, "bbox": xywh(box), "score": score}
        for number, said in detections
        for box, score, label in zip(
            said["detection_boxes"].tolist(),
            said["detection_scores"].tolist(),
            said["detection_classes"].tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"AP": float(evaluation.stats[0]), "AP50": float(evaluation.stats[1]), "AP75": float(evaluation.stats[2])}


def xywh(box: list[float]) -> list[float]:
    """Corners to corner and size."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


if __name__ == "__main__":
    main()
