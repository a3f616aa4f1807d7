"""Writes what detectron2 computes with the shipped detector, for the test of vltool's own runner.

    python pipelines/world_detector/make_golden.py --detector vltool/world/detector \
        --out tests/detectors/golden_world_detector.npz

For pictures 1 to 3 of the held-out world, under `{number}/`: `picture_jpeg` (the file's bytes), `original_size` and
`resized_size` (height, width), `proposal_boxes` (P, 4) in the resized frame, `proposal_logits` (P,),
`proposal_features` (P, D), `class_probabilities` (P, classes + 1; background last), `attribute_probabilities`
(P, attributes; given the most probable class, background included), and the detections in pixels of the original:
`detection_boxes`, `detection_scores`, `detection_classes`. All float32 but the ids.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from model import describe, load_detector, resize
from pictures import HELD_OUT_SEED, draw_jpeg, read_bgr

from vltool.world.scene import generate_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, cfg = load_detector(arguments.detector)
    arrays: dict[str, np.ndarray] = {}
    for number in (1, 2, 3):
        scene = generate_scene(HELD_OUT_SEED, number)
        jpeg = draw_jpeg(scene)
        resized = resize(read_bgr(jpeg), cfg)
        said = describe(model, resized, height=scene.height, width=scene.width)
        said["proposal_features"] = said.pop("features")
        arrays[f"{number}/picture_jpeg"] = np.frombuffer(jpeg, dtype=np.uint8)
        arrays[f"{number}/original_size"] = np.array([scene.height, scene.width])
        arrays[f"{number}/resized_size"] = np.array(resized.shape[:2])
        arrays |= {f"{number}/{name}": value.numpy() for name, value in said.items()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.out, **arrays)


if __name__ == "__main__":
    main()
