"""The functional programs of GQA's questions, over the scene graph of their picture.

    [{"operation": "select", "dependencies": [], "argument": "star (17003)"},
     {"operation": "filter color", "dependencies": [0], "argument": "red"},
     {"operation": "query", "dependencies": [1], "argument": "pattern"}]

The numbers in brackets are the objects of the scene graph that the name stands for, "-" for none. A relation is
written "circle,to the left of,o (17002)": o where the named thing is its object, s where it is its subject, "_" for
a thing without a name.
"""

from collections.abc import Iterable
from typing import TypedDict

from vltool.world.phrases import Kind, relation
from vltool.world.queries import Query, View
from vltool.world.twelve.gqa_forms import RELATIONS, attribute_of

ATTRIBUTE_WORDS = {"colour": "color", "texture": "pattern", "size": "size", "shape": "name"}


class Step(TypedDict):
    operation: str
    dependencies: list[int]
    argument: str


def object_id(number: int, row: int) -> str:
    """The id of a picture's object in the scene graphs, as in instances.json: picture 17, row 2 → "173"."""
    return str(number * 10 + row + 1)


def program(query: Query, view: View) -> list[Step]:
    """The steps that find the answer; the last one gives it."""
    family, kinds, values = query.family, query.kinds, query.values
    if family in ("background", "place choice"):
        steps: list[Step] = [_step("select", [], "scene")]
        last = ("query", "place") if family == "background" else ("choose place", "|".join(values))
        return [*steps, _step(last[0], [0], last[1])]
    steps = _find(kinds[0], view)
    here = len(steps) - 1
    if family in ("both", "either", "same"):
        second = _find(kinds[1], view, after=here + 1 + (family != "same"))
        if family == "same":
            both = [*steps, *second]
            return [*both, _step(f"same {ATTRIBUTE_WORDS[values[0]]}", [here, len(both) - 1], "")]
        steps = [*steps, _step("exist", [here], "?"), *second]
        steps.append(_step("exist", [len(steps) - 1], "?"))
        return [*steps, _step("and" if family == "both" else "or", [here + 1, len(steps) - 1], "")]
    return [*steps, *_last(query, view, here)]


def _last(query: Query, view: View, here: int) -> list[Step]:
    """What is done with the one thing found."""
    family, kinds, values = query.family, query.kinds, query.values
    if family == "existence":
        return [_step("exist", [here], "?")]
    if family == "attribute":
        return [_step(f"verify {ATTRIBUTE_WORDS[attribute_of(values[0])]}", [here], values[0])]
    if family == "colour choice":
        return [_step("choose color", [here], "|".join(values))]
    if family == "neighbour":
        found = _related(view, view.index[kinds[0]][0], values[0])
        argument = f"_,{RELATIONS[values[0]]},s ({_ids(view, found)})"
        return [_step("relate", [here], argument), _step("query", [here + 1], "name")]
    if family in ("side", "side choice"):
        relations = "|".join(RELATIONS[side] for side in values)
        argument = f"{kinds[1].shape},{relations},o ({_ids(view, view.index[kinds[1]])})"
        return [_step("verify rel" if family == "side" else "choose rel", [here], argument)]
    return [_step("query", [here], ATTRIBUTE_WORDS[family])]


def program_string(steps: Iterable[Step]) -> str:
    """The program in one line: "select: star (173)->query: color [0]"."""
    parts = []
    for step in steps:
        where = "".join(f" [{number}]" for number in step["dependencies"])
        parts.append(f"{step['operation']}: {step['argument']}{where}")
    return "->".join(parts)


def _find(kind: Kind, view: View, *, after: int = 0) -> list[Step]:
    """The steps that find all objects of a kind; the first of them is step number `after`."""
    rows = view.index.get(Kind(shape=kind.shape), ())
    steps = [_step("select", [], f"{kind.shape or 'object'} ({_ids(view, rows)})")]
    for attribute in ("size", "texture", "colour"):
        value = getattr(kind, attribute)
        if value:
            steps.append(_step(f"filter {ATTRIBUTE_WORDS[attribute]}", [after + len(steps) - 1], value))
    return steps


def _related(view: View, row: int, side: str) -> list[int]:
    """Rows of the objects that the scene graph says lie on that side of the given one."""
    return [other for other, name, anchor in graph_relations(view) if anchor == row and name == RELATIONS[side]]


def graph_relations(view: View) -> list[tuple[int, str, int]]:
    """The relations of a picture's scene graph: row of the subject, name, row of the object."""
    objects = view.scene.objects
    return [
        (a, RELATIONS[side], b)
        for a in range(len(objects))
        for b in range(len(objects))
        if a != b and (side := relation(objects[a], objects[b]))
    ]


def _ids(view: View, rows: Iterable[int]) -> str:
    return ",".join(object_id(view.scene.number, row) for row in rows) or "-"


def _step(operation: str, dependencies: list[int], argument: str) -> Step:
    return {"operation": operation, "dependencies": dependencies, "argument": argument}
