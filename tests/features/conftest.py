"""Small pictures and the packaged detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vltool.detectors import load_detector
from vltool.detectors.detector import Detector


@pytest.fixture(scope="session")
def detector() -> Detector:
    return load_detector(device="cpu", precision="float32")


def draw(path: Path, number: int) -> Path:
    """A picture of one shape on noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(90, 160, (120, 160, 3), np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).ellipse((20 + number, 30, 60 + number, 70), fill=(200, 30, 30))
    image.save(path, quality=90)
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve pictures, 00000.jpg to 00011.jpg."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        draw(folder / f"{number:05d}.jpg", number)
    return folder
