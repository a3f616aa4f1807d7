"""The boxes of one picture of Flickr30k Entities.

    <annotation>
      <filename>1000092795.jpg</filename>
      <size><width>333</width><height>500</height><depth>3</depth></size>
      <object><name>1</name><name>6</name>
        <bndbox><xmin>197</xmin><ymin>110</ymin><xmax>261</xmax><ymax>373</ymax></bndbox></object>
      <object><name>10</name><scene>0</scene><nobndbox>1</nobndbox></object>
    </annotation>

Rule: flickr30k_entities_utils.py of BryanPlummer/flickr30k_entities at 68b3d6f1: 1 is subtracted from every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from vltool.datasets.checks import Place, shown, touches
from vltool.errors import DataError

_SIDES = ("xmin", "ymin", "xmax", "ymax")
Box = tuple[float, float, float, float]


@dataclass
class EntityBoxes:
    """What is annotated in one picture: chain → boxes, and the chains of the whole scene and those not to be seen."""

    height: int
    width: int
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    scene: set[str] = field(default_factory=set)
    no_box: set[str] = field(default_factory=set)


class _Fields(NamedTuple):
    """Numbers below an element."""

    element: Element
    place: Place

    def number(self, name: str) -> int:
        text = (self.element.findtext(name) or "").strip()
        try:
            value = int(text)
        except ValueError:
            self.place.fail(name, "a whole number", text or "nothing")
        if abs(value) >= 10**9:
            self.place.fail(name, "a number of pixels", value)
        return value


def parse_annotation(content: bytes, path: Path) -> EntityBoxes:
    """The boxes of an XML file, from 0. Raises DataError naming the object and the field."""
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not XML: {error}") from error
    size = root.find("size")
    if size is None:
        raise DataError(f"{path}: expected <size> with <width> and <height>, found none")
    width, height = (_Fields(size, Place(path, "", "size")).number(side) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise DataError(f"{path}: size: expected width and height ≥ 1, found {width} x {height}")
    found = EntityBoxes(height=height, width=width)
    for index, element in enumerate(root.findall("object")):
        _add_object(found, element, Place(path, "object", index))
    return found


def _add_object(found: EntityBoxes, element: Element, place: Place) -> None:
    chains = [(name.text or "").strip() for name in element.findall("name")]
    if not chains or not all(chains):
        place.fail("name", "the chain that the object belongs to", chains)
    bounds = element.find("bndbox")
    if bounds is not None:
        box = _box(bounds, place)
        if not touches(box, height=found.height, width=found.width):
            place.fail("bndbox", f"a box in the picture of {found.width} x {found.height}", [side + 1 for side in box])
        for chain in chains:
            found.boxes.setdefault(chain, []).append(box)
        return
    flags = [name for name in ("scene", "nobndbox") if element.find(name) is not None]
    if not flags:
        place.fail("bndbox", "a box, or the marks <scene> and <nobndbox>", [child.tag for child in element])
    for name, chosen in (("scene", found.scene), ("nobndbox", found.no_box)):
        if name in flags and _Fields(element, place).number(name) > 0:
            chosen.update(chains)


def _box(bounds: Element, place: Place) -> Box:
    x1, y1, x2, y2 = (_Fields(bounds, place).number(side) - 1 for side in _SIDES)
    if x2 < x1 or y2 < y1:
        raise DataError(
            f"{place}: expected xmin ≤ xmax and ymin ≤ ymax, found {shown([x1 + 1, y1 + 1, x2 + 1, y2 + 1])}"
        )
    return float(x1), float(y1), float(x2), float(y2)
