"""GQA of the generated world: programs run on the written scene graphs, texts answered from the words alone."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world.twelve.reading import VISUAL_GENOME_FIRST, only, plainly, rows, towards
from vltool.world.scene import Scene

Content = Callable[[str], Any]
SPLITS = ("train", "val")
SIDE = r"(left of|right of|above|below)"
OPPOSITES = {"left": "right", "right": "left", "above": "below", "below": "above"}


def every(content: Content, split: str) -> dict[str, Any]:
    name = "train_all_questions/train_all_questions_0" if split == "train" else f"{split}_all_questions"
    return dict(content(f"gqa/{name}.json"))


def run(steps: list[dict[str, Any]], graph: dict[str, Any]) -> str:
    """The answer of a program, from a scene graph alone."""
    objects, results = graph["objects"], []
    for step in steps:
        given = [results[number] for number in step["dependencies"]]
        results.append(apply(step["operation"], step["argument"], given, graph, objects))
    return str(results[-1])


def apply(operation: str, argument: str, given: list[Any], graph: dict[str, Any], objects: dict[str, Any]) -> Any:
    def one() -> dict[str, Any]:
        assert len(given[0]) == 1, (operation, argument, "of", given)
        return dict(objects[given[0][0]])

    verb, _, what = operation.partition(" ")
    if operation == "select" and argument == "scene":
        return graph["location"]
    if operation == "select":
        name, listed = re.fullmatch(r"(\w+) \((.+)\)", argument).groups()  # type: ignore[union-attr]
        found = [key for key, item in objects.items() if name in ("object", item["name"])]
        assert sorted(found) == sorted([] if listed == "-" else listed.split(","))
        return found
    if verb == "filter":
        return [key for key in given[0] if argument in objects[key]["attributes"]]
    if operation == "exist":
        return "yes" if given[0] else "no"
    if operation in ("and", "or"):
        return "yes" if (all if operation == "and" else any)(value == "yes" for value in given) else "no"
    if operation == "relate":
        relation, listed = re.fullmatch(r"_,(.+),s \((.+)\)", argument).groups()  # type: ignore[union-attr]
        anchor = given[0][0]
        assert len(given[0]) == 1
        found = [key for key, item in objects.items() if {"object": anchor, "name": relation} in item["relations"]]
        assert found == listed.split(",")
        return found
    if operation in ("verify rel", "choose rel"):
        relations, anchor = re.fullmatch(r"\w+,(.+),o \((\d+)\)", argument).groups()  # type: ignore[union-attr]
        holding = [name for name in relations.split("|") if {"object": anchor, "name": name} in one()["relations"]]
        if operation == "verify rel":
            return "yes" if holding else "no"
        return holding[0].removeprefix("to the ").removesuffix(" of")
    if verb == "same":
        places = {"size": 0, "pattern": 1, "color": 2}
        values = {objects[key]["attributes"][places[what]] for (key,) in given}
        return "yes" if len(values) == 1 else "no"
    return about(verb, argument, given[0] if isinstance(given[0], str) else one())


def about(verb: str, argument: str, found: Any) -> str:
    if isinstance(found, str):  # the place
        assert verb == "query" or found in argument.split("|")
        return found
    values = {**dict(zip(("size", "pattern", "color"), found["attributes"], strict=True)), "name": found["name"]}
    if verb == "query":
        return str(values[argument])
    if verb == "verify":
        return "yes" if argument in values.values() else "no"
    (chosen,) = set(argument.split("|")) & set(values.values())
    return chosen


@pytest.mark.parametrize("split", SPLITS)
def test_programs_give_the_answers_on_the_scene_graphs(content: Content, split: str) -> None:
    graphs = content(f"gqa/{split}_sceneGraphs.json")
    questions = every(content, split)
    assert len(questions) > 100
    for key, question in questions.items():
        assert run(question["semantic"], graphs[question["imageId"]]) == question["answer"], (key, question)
        assert question["semanticStr"].count("->") == len(question["semantic"]) - 1


def yes(truth: bool) -> str:
    return "yes" if truth else "no"


RULES: list[tuple[str, Callable[..., str]]] = [  # of the first pattern that fits, how the scene answers it
    (r"(?:what is in the background|which place is it)", lambda s: s.background),
    (r"is the background (\w+) or (\w+)", lambda s, a, b: s.background if s.background in (a, b) else "neither"),
    (r"is the (.+?) (?:to the )?(left|above) (?:of )?or (?:to the )?(right|below) (?:of )?the (.+)",
     lambda s, a, one, other, b: one if side_holds(s, a, one, b) else other if side_holds(s, a, other, b) else "none"),
    (rf"what is (?:to the )?{SIDE} the (.+)", lambda s, side, a: alone(s, side, a).shape),
    (rf"is the (.+?) (?:to the )?{SIDE} the (.+)",
     lambda s, a, side, b: yes(plainly(s, only(s, a), side, only(s, b)))),
    (r"(?:are the (.+) and the (.+) of|do the (.+) and the (.+) have) the same (color|pattern|size)",
     lambda s, a, b, c, d, what: yes(value(s, a or c, what) == value(s, b or d, what))),
    (r"are there both (.+) and (.+) in the image", lambda s, a, b: yes(bool(rows(s, a)) and bool(rows(s, b)))),
    (r"are there any (.+) or (.+)", lambda s, a, b: yes(bool(rows(s, a)) or bool(rows(s, b)))),
    (r"(?:is there an? (.+) in the image|are there any (.+))", lambda s, a, b: yes(bool(rows(s, a or b)))),
    (r"is the (.+) (\w+) or (\w+)", lambda s, a, one, other: pick(value(s, a, "color"), one, other)),
    (r"(?:what|which) color is the (.+)", lambda s, a: value(s, a, "color")),
    (r"(?:which pattern does the (.+) have|what pattern is on the (.+))", lambda s, a, b: value(s, a or b, "pattern")),
    (r"(?:how large|what size) is the (.+)", lambda s, a: value(s, a, "size")),
    (r"(?:what|which shape) is the (.+)", lambda s, a: value(s, a, "shape")),
    (r"(?:is|does) the (.+?) (?:look )?(\w+)", lambda s, a, b: yes(b in vars(s.objects[only(s, a)]).values())),
]  # fmt: skip


def value(scene: Scene, words: str, what: str) -> str:
    return str(getattr(scene.objects[only(scene, words)], {"color": "colour", "pattern": "texture"}.get(what, what)))


def pick(found: str, *choices: str) -> str:
    return found if found in choices else "neither"


def side_holds(scene: Scene, a: str, side: str, b: str) -> bool:
    return plainly(scene, only(scene, a), side if side in ("above", "below") else f"{side} of", only(scene, b))


def alone(scene: Scene, side: str, words: str) -> Any:
    (row,) = towards(scene, only(scene, words), side)
    return scene.objects[row]


@pytest.mark.parametrize("split", [*SPLITS, "testdev"])
def test_texts_are_answered_by_the_scene(content: Content, split: str, scene_of: Callable[[int], Scene]) -> None:
    for question in every(content, split).values():
        number = int(question["imageId"].lstrip("n"))
        scene = scene_of(number - VISUAL_GENOME_FIRST if number > VISUAL_GENOME_FIRST else number)
        text = question["question"].lower().removesuffix("?")
        rule, match = next((rule, match) for pattern, rule in RULES if (match := re.fullmatch(pattern, text)))
        assert rule(scene, *match.groups()) == question["answer"], question


@pytest.mark.parametrize("split", [*SPLITS, "testdev"])
def test_entailed_questions_are_about_the_same_picture(content: Content, split: str) -> None:
    questions = every(content, split)
    entailing = [question for question in questions.values() if question["entailed"]]
    assert len(entailing) > 0.4 * len(questions)
    for question in entailing:
        for key in question["entailed"]:
            assert questions[key]["imageId"] == question["imageId"] and questions[key] is not question


@pytest.mark.parametrize("split", [*SPLITS, "testdev"])
def test_balanced_questions_are_asked_of_pictures_that_answer_differently(content: Content, split: str) -> None:
    questions = content(f"gqa/{split}_balanced_questions.json")
    assert questions == {key: question for key, question in every(content, split).items() if question["isBalanced"]}
    assert len({question["types"]["detailed"] for question in questions.values()}) >= 10
    programs = defaultdict(list)
    for question in questions.values():
        programs[re.sub(r"\([\d,-]+\)", "", question["semanticStr"])].append(question["answer"])
    for text, found in programs.items():  # the ids apart, a program is the question
        assert len(set(found)) >= 2 and max(map(found.count, found)) <= len(found) / 2, text


@pytest.mark.parametrize("split", ["val", "testdev"])
def test_choices_hold_the_answer_and_its_rivals(content: Content, split: str) -> None:
    choices = content(f"gqa/{split}_choices.json")
    questions = every(content, split)
    assert choices.keys() == questions.keys()
    for key, question in questions.items():
        assert question["answer"] in choices[key]["plausible"]
        assert set(choices[key]["plausible"]) <= set(choices[key]["valid"])


def test_words_said_to_name_an_object_do(content: Content) -> None:
    graphs, questions = content("gqa/val_sceneGraphs.json"), every(content, "val")
    named = 0
    for question in questions.values():
        words = question["question"].rstrip("?").split()
        for place, key in question["annotations"]["question"].items():
            first, _, last = place.partition(":")
            item = graphs[question["imageId"]]["objects"][key]
            values = (item["name"], *item["attributes"], "shape", "object")
            assert all(word in values for word in words[int(first) : int(last or int(first) + 1)]), question
            named += 1
    assert named > 0.3 * len(questions)


def test_questions_have_the_official_keys(content: Content, shared_data: Path) -> None:
    official = json.loads((shared_data / "twelve_in_one/gqa/questions.json").read_text())
    (theirs,) = official.values()
    ours = next(iter(every(content, "val").values()))
    assert ours.keys() == theirs.keys()
    for field in ("groups", "types", "annotations"):
        assert ours[field].keys() == theirs[field].keys()
    assert ours["semantic"][0].keys() == theirs["semantic"][0].keys()
    graphs = json.loads((shared_data / "twelve_in_one/gqa/sceneGraphs/val_sceneGraphs.json").read_text())
    their_graph, our_graph = next(iter(graphs.values())), next(iter(content("gqa/val_sceneGraphs.json").values()))
    assert their_graph.keys() <= our_graph.keys()
    assert next(iter(our_graph["objects"].values())).keys() == next(iter(their_graph["objects"].values())).keys()
