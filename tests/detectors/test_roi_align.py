"""Pooling of any subset of the cells, against torchvision's pooling of all of them; bfloat16 against float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from vltool.detectors import load_detector
from vltool.detectors.faster_rcnn.roi_align import axis_taps, roi_align_cells

BOXES = torch.tensor(
    [
        [0.0, 0, 160, 112],  # the whole picture
        [-40.0, -30, 200, 150],  # beyond it on all sides
        [3.3, 5.1, 40.2, 9.7],
        [100.0, 60, 101, 61],
        [150.0, 100, 160, 112],
        [20.0, 20, 20, 20],  # empty
    ]
)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_cells_are_those_of_torchvision(sampling_ratio: int, aligned: bool, step: int) -> None:
    features = torch.randn(1, 6, 7, 10, generator=torch.Generator().manual_seed(0))
    expected = roi_align(features, [BOXES], 14, 1 / 16, sampling_ratio, aligned)[:, :, ::step, ::step]
    parts = {"size": 14, "spatial_scale": 1 / 16, "sampling_ratio": sampling_ratio, "aligned": aligned, "step": step}
    torch.testing.assert_close(roi_align_cells(features, BOXES, **parts), expected, rtol=1e-5, atol=2e-6)
    assert roi_align_cells(features, BOXES[:0], **parts).shape == (0, *expected.shape[1:])


def test_a_cell_reads_the_mean_of_its_samples() -> None:
    start, end = torch.tensor([1.0]), torch.tensor([5.0])
    parts = {"length": 8, "size": 2, "sampling_ratio": 2, "step": 1, "smallest": 0.0}
    pixels, weights = axis_taps(start, end, **parts)
    # Two cells of 2 pixels, samples at 1.5 and 2.5, 3.5 and 4.5: a quarter, a half and a quarter of three pixels.
    assert pixels[0, 0, :3].tolist() == [1, 2, 3] and pixels[0, 1, :3].tolist() == [3, 4, 5]
    assert weights[0, :, :3].tolist() == [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]


def test_bfloat16_features_of_the_world_detector_point_the_same_way() -> None:
    import io

    from PIL import Image

    from tests.detectors.test_world_detector import GOLDEN

    with np.load(GOLDEN) as arrays:
        pictures = [arrays[name].tobytes() for name in arrays if name.endswith("picture_jpeg")]
    exact, fast = (load_detector(precision=precision, device="cpu") for precision in ("float32", "bfloat16"))
    for data in pictures:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        expected = exact.detect(image)
        found = fast.detect_at(image, expected.proposal_boxes).features
        products = (found * expected.features).sum(axis=1)
        cosines = products / np.linalg.norm(found, axis=1) / np.linalg.norm(expected.features, axis=1)
        assert cosines.min() >= 0.999
