"""Seconds per picture of region extraction: the built-in runner in float32 and bfloat16, and detectron2's own loop.

    python tests/benchmarks/extraction.py [--rounds 3] [--threads 2]

The network is R101-C4 in the bottom-up setting: 600/1000 pixels, 300 proposals, 1600 classes. Its weights are random,
with the normalizations set to what a picture gives, so that activations keep their size and 300 proposals occur.
The loops take turns, so that other work on the machine slows all of them alike; the best round of each is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vltool.detectors import load_detector
from vltool.detectors.detector import Detections, Detector
from vltool.detectors.faster_rcnn.config import resolve
from vltool.detectors.faster_rcnn.convolution import FixedNorm
from vltool.detectors.faster_rcnn.model import FasterRCNN

CONFIG: dict[str, Any] = {
    "VERSION": 2,
    "INPUT": {"MIN_SIZE_TEST": 600, "MAX_SIZE_TEST": 1000},
    "MODEL": {
        "MASK_ON": False,
        "RESNETS": {"DEPTH": 101},
        "RPN": {"PRE_NMS_TOPK_TEST": 6000, "POST_NMS_TOPK_TEST": 300},
        "ROI_HEADS": {"NAME": "Res5ROIHeads", "NUM_CLASSES": 1600},
    },
}
FLAT = {
    "INPUT.MIN_SIZE_TEST": 600,
    "INPUT.MAX_SIZE_TEST": 1000,
    "MODEL.RESNETS.DEPTH": 101,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 300,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1600,
}


def picture(number: int) -> np.ndarray:
    """(480, 640, 3) uint8: rectangles of random colours over each other, with grain."""
    random = np.random.default_rng(number)
    image = np.full((480, 640, 3), random.integers(60, 200, 3), dtype=np.float64)
    for _ in range(40):
        x, y = random.integers(0, 600), random.integers(0, 440)
        width, height = random.integers(20, 300, 2)
        image[y : y + height, x : x + width] = random.integers(0, 255, 3)
    return np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def calibrate(norm: FixedNorm, inputs: tuple[torch.Tensor]) -> None:
    """Sets a normalization's statistics to those of what it is about to see."""
    norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
    norm.running_var.copy_(inputs[0].var(dim=(0, 2, 3)) + 1e-3)


def make_files(folder: Path) -> tuple[Path, Path]:
    """Configuration and weights of the network, written to a folder."""
    torch.manual_seed(0)
    network = FasterRCNN(resolve(FLAT, source="benchmark"))
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.copy_(torch.randn_like(parameter) * (2 / fan_in) ** 0.5)
        else:
            parameter.zero_()
        if name.startswith(("proposal_generator.rpn_head.anchor", "roi_heads.box_predictor.bbox")):
            parameter.mul_(0.2)
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, FixedNorm):
            module.weight.uniform_(0.8, 1.2)
            module.bias.uniform_(-0.2, 0.2)
            if name.endswith("conv3.norm"):
                module.weight.mul_(0.3)  # or the sums over the blocks of a stage would grow
            hooks.append(module.register_forward_pre_hook(calibrate))
    pixels = np.asarray(picture(1000))
    with torch.inference_mode():
        maps = network.feature_maps(pixels)
        network.propose(maps, height=pixels.shape[0], width=pixels.shape[1])
    for hook in hooks:
        hook.remove()
    config_file, weights = folder / "config.yaml", folder / "model.pth"
    config_file.write_text(yaml.safe_dump(CONFIG))
    torch.save({"model": network.state_dict()}, weights)
    return config_file, weights


def detectron2_loop(detector: Any) -> Callable[[np.ndarray], object]:
    """What detectron2's DefaultPredictor does with a picture."""
    model, cfg = detector.model, detector.cfg

    def predict(image: np.ndarray) -> object:
        ordered = np.ascontiguousarray(image[:, :, ::-1] if cfg.INPUT.FORMAT == "BGR" else image)
        resized = detector._resize.get_transform(ordered).apply_image(ordered)
        tensor = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
        with torch.no_grad():
            return model([{"image": tensor, "height": image.shape[0], "width": image.shape[1]}])

    return predict


def differences(found: Detections, expected: Detections) -> str:
    """How far two detectors are apart on the proposals of a picture."""
    boxes = np.abs(found.proposal_boxes - expected.proposal_boxes).max()
    features = np.abs(found.features - expected.features).max() / np.abs(expected.features).max()
    classes = np.abs(found.class_probabilities - expected.class_probabilities).max()
    return f"boxes {boxes:.1e} px, features {features:.1e} of the largest, class probabilities {classes:.1e}"


def lowest_cosine(found: np.ndarray, expected: np.ndarray) -> float:
    products = (found * expected).sum(axis=1)
    return float((products / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        config_file, weights = make_files(Path(folder))
        files = {"config_file": config_file, "weights": weights, "device": options.device}
        detectors: dict[str, Detector] = {
            f"built-in {precision}": load_detector("builtin", precision=precision, **files)
            for precision in ("float32", "bfloat16")
        }
        if importlib.util.find_spec("detectron2") is not None:
            detectors["detectron2 float32"] = load_detector("detectron2", **files)
    loops = {
        name: detectron2_loop(detector) if detector.backend == "detectron2" else detector.detect
        for name, detector in detectors.items()
    }
    image = picture(1)
    float32 = detectors["built-in float32"].detect(image)
    bfloat16 = detectors["built-in bfloat16"]
    print(f"{float32.num_regions} proposals, {options.threads} threads, torch {torch.__version__}")
    if "detectron2 float32" in detectors:
        print(f"float32 against detectron2: {differences(float32, detectors['detectron2 float32'].detect(image))}")
    cosine = lowest_cosine(
        bfloat16.detect_at(image, float32.proposal_boxes).features,
        detectors["built-in float32"].detect_at(image, float32.proposal_boxes).features,
    )
    print(f"bfloat16 against float32 at the same boxes: lowest cosine {cosine:.5f}")
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    work: dict[str, list[float]] = {name: [] for name in loops}  # of all threads: steadier where cores are shared
    for number in range(options.rounds):
        for name, loop in loops.items():
            started, busy = time.perf_counter(), time.process_time()
            loop(picture(2 + number))
            seconds[name].append(time.perf_counter() - started)
            work[name].append(time.process_time() - busy)
    reference = min(seconds.get("detectron2 float32", seconds["built-in float32"]))
    reference_work = min(work.get("detectron2 float32", work["built-in float32"]))
    for name, times in seconds.items():
        print(
            f"{name:20s} best {min(times):6.3f} s, median {np.median(times):6.3f} s per picture, "
            f"{reference / min(times):.2f} times as fast; {min(work[name]):6.3f} s of processor time, "
            f"{reference_work / min(work[name]):.2f} times as little"
        )


if __name__ == "__main__":
    main()
