"""What can be asked of a picture before it is put into words: queries, and the view of a scene that answers them."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from vltool.world.phrases import Kind, KindIndex, index_kinds, unique_kinds
from vltool.world.scene import Scene


class Query(NamedTuple):
    """What is asked: the family, the kinds of object it speaks of, and further values (an attribute, a side, …)."""

    family: str
    kinds: tuple[Kind, ...] = ()
    values: tuple[str, ...] = ()


Asked = Iterator[tuple[Query, str]]


class View:
    """A scene with what is looked up in it again and again."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.index: KindIndex = index_kinds(scene)

    def count(self, kind: Kind) -> int:
        """How many objects of a kind the picture has."""
        return len(self.index.get(kind, ()))

    @cached_property
    def unique(self) -> list[tuple[Kind, int]]:
        """Short names for single objects, at most two attributes besides the noun, each with its row."""
        return [
            (kind, row)
            for row, kinds in unique_kinds(self.index).items()
            for kind in kinds
            if kind.num_attributes - (kind.shape is not None) <= 2
        ]

    @cached_property
    def plain_names(self) -> list[tuple[Kind, int]]:
        """Names for single objects by shape and at most one more attribute."""
        return [(kind, row) for kind, row in self.unique if kind.shape and kind.num_attributes <= 2]
