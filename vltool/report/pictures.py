"""Draws what a model sees in a picture: brightness by attention, or the region of each phrase. JPEG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from vltool.report.attention import Box, Panel
from vltool.report.figures import PALETTE

DARKEST = 0.22
"""Brightness that is left to a pixel that no weight falls on."""

VERDICTS = {True: "✓", False: "✗", None: ""}

_SHOWN_PX = 460  # longer side of a picture on the page
_NARROW_PX = 310  # the same where three stand side by side
_SHARPNESS = 2  # pixels of the file for each of the page
_QUALITY = 84  # of the JPEG
_LABEL_POINTS = 8.5
_APART_PX = 5  # between the boxes of phrases that share a region


@dataclass(frozen=True)
class Picture:
    """A drawn picture as the page holds it."""

    source: str
    alt: str
    width_px: int
    height_px: int


def draw_panel(panel: Panel, pixels: np.ndarray | None, *, narrow: bool = False) -> Picture:
    """The picture of a panel. pixels (H, W, 3) uint8 in any size, None where the file is not there.

    narrow: as small as it is shown where three stand side by side, so that its labels can be read there.
    """
    scale = (_NARROW_PX if narrow else _SHOWN_PX) / max(panel.width, panel.height)
    width, height = round(panel.width * scale), round(panel.height * scale)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100 * _SHARPNESS)
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": _LABEL_POINTS}):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        _draw_ground(axes, panel, pixels)
        axes.set_xlim(0, panel.width)
        axes.set_ylim(panel.height, 0)
        if panel.marks:
            _draw_marks(axes, panel, canvas)
        elif panel.region_weights is not None:
            _draw_brightest(axes, panel, canvas)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=100 * _SHARPNESS, pil_kwargs={"quality": _QUALITY})
    source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Picture(source, described(panel, pixels is not None), width, height)


def brightness(panel: Panel, height: int, width: int) -> np.ndarray:
    """(height, width) in [DARKEST, 1]: the weights of all regions that cover a pixel, the largest sum being 1."""
    assert panel.region_weights is not None
    sums = np.zeros((height, width))
    columns, rows = width / panel.width, height / panel.height
    for (x1, y1, x2, y2), weight in zip(panel.boxes, panel.region_weights, strict=True):
        sums[
            max(0, round(y1 * rows)) : max(0, round(y2 * rows)),
            max(0, round(x1 * columns)) : max(0, round(x2 * columns)),
        ] += weight
    return DARKEST + (1 - DARKEST) * sums / max(float(sums.max()), 1e-9)


def described(panel: Panel, has_picture: bool) -> str:
    """The text alternative."""
    parts = [f"Picture {panel.image_id}" + ("" if has_picture else " (its file is not here; outlines of the regions)")]
    if panel.region_weights is not None and not panel.marks:
        best = int(np.argmax(panel.region_weights))
        share = 100 * float(panel.region_weights[best])
        name = f"{panel.region_names[best]}, " if panel.region_names else ""
        parts.append(f"brightest where the decoder looks; most at {name}{_place(panel.boxes[best])}, {share:.0f} %")
    for mark in panel.marks:
        parts.append(f"{mark.phrase}: {_place(mark.box)}" + {True: ", right", False: ", wrong", None: ""}[mark.right])
    return "; ".join(parts) + "."


def _draw_ground(axes: Axes, panel: Panel, pixels: np.ndarray | None) -> None:
    missing = pixels is None
    if pixels is None:
        pixels = np.full((panel.height, panel.width, 3), 235, np.uint8)
    shown = pixels.astype(np.float64) / 255
    if panel.region_weights is not None and not panel.marks:
        shown *= brightness(panel, *pixels.shape[:2])[..., None]
    axes.imshow(shown.clip(0, 1), extent=(0, panel.width, panel.height, 0), interpolation="bilinear")
    if missing:
        for box in panel.boxes:
            _draw_box(axes, box, "#9a9a9a", width=0.6)


def _draw_brightest(axes: Axes, panel: Panel, canvas: FigureCanvasAgg) -> None:
    assert panel.region_weights is not None
    best = int(np.argmax(panel.region_weights))
    box = panel.boxes[best]
    _draw_box(axes, box, "white", width=1.2, halo="#0008")
    label = " ".join([*panel.region_names[best : best + 1], f"{100 * float(panel.region_weights[best]):.0f} %"])
    _draw_label(axes, canvas, label, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), "#000a", [])


def _draw_marks(axes: Axes, panel: Panel, canvas: FigureCanvasAgg) -> None:
    for place, mark in enumerate(panel.marks):
        for box in mark.truth:
            _draw_box(axes, box, mark_colour(place), width=1.6, dashed=True, halo="#fffc")
    drawn: list[Box] = []
    for place, mark in enumerate(panel.marks):
        further = drawn.count(mark.box) * _APART_PX * panel.width / _SHOWN_PX  # phrases that share a region
        x1, y1, x2, y2 = mark.box
        box = (x1 - further, y1 - further, x2 + further, y2 + further)
        _draw_box(axes, box, mark_colour(place), width=2.2, halo="#fffc")
        drawn.append(mark.box)
    taken: list[Bbox] = []
    for place, mark in enumerate(panel.marks):
        label = f"{place + 1} {_shortened(mark.phrase)} {VERDICTS[mark.right]}".rstrip()
        taken.append(_draw_label(axes, canvas, label, mark.box, mark_colour(place), taken))


def mark_colour(place: int) -> str:
    """The colour of a panel's phrase, on the picture and in the sentence."""
    return PALETTE[place % len(PALETTE)]


def _draw_box(axes: Axes, box: Any, colour: str, *, width: float, dashed: bool = False, halo: str = "") -> None:
    x1, y1, x2, y2 = (float(value) for value in box)
    style: dict[str, Any] = {"linestyle": (0, (4, 3))} if dashed else {}
    effects = [withStroke(linewidth=width + 1.6, foreground=halo)] if halo and not dashed else []
    if halo and dashed:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=halo, linewidth=width + 1.2))
    axes.add_patch(
        Rectangle(
            (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width, path_effects=effects, **style
        )
    )


def _draw_label(axes: Axes, canvas: FigureCanvasAgg, label: str, box: Box, colour: str, taken: list[Bbox]) -> Bbox:
    """Write a label where it hides no other: above its box, inside it, below it, or further down."""
    text = axes.text(
        0, 0, label, color="white", va="top", ha="left", bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5}
    )
    frame = axes.get_window_extent(canvas.get_renderer())
    extent = text.get_window_extent(canvas.get_renderer())
    to_data = axes.transData.inverted()
    size = to_data.transform((extent.width + 12, 0))[0] - to_data.transform((0, 0))[0]
    tall = abs(to_data.transform((0, extent.height + 10))[1] - to_data.transform((0, 0))[1])
    found = None
    for x, y in _label_places(box, size, tall, axes.get_xlim()[1], axes.get_ylim()[0]):
        text.set_position((x + 3, y + 2))
        found = text.get_window_extent(canvas.get_renderer()).padded(4)
        if not any(found.overlaps(other) for other in taken):
            return found
    return found or frame


def _label_places(box: Box, width: float, height: float, most_x: float, most_y: float) -> Iterator[tuple[float, float]]:
    """Upper left corners for a label, the best first, all within the picture."""
    x1, y1, x2, y2 = box
    for x, y in ((x1, y1 - height), (x1, y2), (x2 - width, y1 - height), (x2 - width, y2), (x1, y1), (x1, y2 - height)):
        if y >= 0 and y + height <= most_y:
            yield min(max(x, 0.0), max(most_x - width, 0.0)), y
    for step in range(int(most_y // height)):
        yield min(max(x1, 0.0), max(most_x - width, 0.0)), step * height


def _shortened(phrase: str) -> str:
    return phrase if len(phrase) <= 30 else phrase[:28].rstrip() + "…"


def _place(box: Any) -> str:
    return f"x {float(box[0]):.0f} to {float(box[2]):.0f}, y {float(box[1]):.0f} to {float(box[3]):.0f}"
