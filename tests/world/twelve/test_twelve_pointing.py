"""Visual7W and GuessWhat?! of the generated world: what is asked and answered singles out one object of the picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.world.twelve.reading import VISUAL_GENOME_FIRST, fits, only, plainly, rows, towards
from vltool.world.scene import Scene

SIDES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}


def pointed_at(scene: Scene, question: str) -> int:
    if match := re.fullmatch(r"Which shape is (left of|right of|above|below) the (.+)\?", question):
        anchor = only(scene, match[2])
        (row,) = towards(scene, anchor, match[1])
        assert plainly(scene, row, match[1], anchor)
        return row
    match = re.fullmatch(r"Which (.+) is (\w+)\?", question)
    assert match, question
    return only(scene, f"{match[1]} {match[2]}")


def test_visual7w_answers_are_the_one_object_of_the_picture_that_fits(
    content: Callable[[str], Any], scene_of: Callable[[int], Scene]
) -> None:
    file = content("visual7w/dataset_v7w_pointing.json")
    boxes = {box["box_id"]: box for box in file["boxes"]}
    asked = [(image, pair) for image in file["images"] for pair in image["qa_pairs"]]
    assert len(asked) > 150 and len({pair["qa_id"] for _, pair in asked}) == len(asked)
    for image, pair in asked:
        scene = scene_of(image["image_id"] - VISUAL_GENOME_FIRST)
        assert pointed_at(scene, pair["question"]) == pair["answer"] % 10 - 1, pair
        choices = [pair["answer"], *pair["multiple_choices"]]
        assert len(set(choices)) == 4
        for choice in choices:
            item, box = scene.objects[choice % 10 - 1], boxes[choice]
            corners = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
            assert choice // 10 == scene.number and item.shape == box["name"]
            assert max(abs(a - b) for a, b in zip(item.box, corners, strict=True)) <= 0.5


def test_visual7w_asks_few_questions_twice_of_a_picture(content: Callable[[str], Any]) -> None:
    for image in content("visual7w/dataset_v7w_pointing.json")["images"]:
        texts = [pair["question"] for pair in image["qa_pairs"]]
        assert 1 <= len(texts) <= 6 and len(set(texts)) == len(texts)


def answers_of(scene: Scene, question: str) -> list[bool]:
    """The true answer for every object."""
    if match := re.fullmatch(r"is it (?:in the (\w+) half|on the (\w+) side of the picture) \?", question):
        axis, sign = SIDES[match[1] or match[2]]
        middle = (scene.width, scene.height)[axis] / 2
        offsets = [sign * (item.centre[axis] - middle) for item in scene.objects]
        assert min(map(abs, offsets)) > 15, "an object in between"
        return [offset > 0 for offset in offsets]
    match = re.fullmatch(r"is it (?:an? )?(.+) \?", question)
    assert match, question
    return [fits(item, match[1]) for item in scene.objects]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_guesswhat_answers_are_true_and_leave_the_target_alone(
    lines: Callable[[str], list[Any]], scene_of: Callable[[int], Scene], split: str
) -> None:
    games = lines(f"guesswhat/guesswhat.{split}.jsonl.gz")
    assert len(games) >= 10
    for game in games:
        scene = scene_of(game["image"]["id"])
        target = game["object_id"] % 10 - 1
        left = set(range(len(scene.objects)))
        for qa in game["qas"]:
            truth = answers_of(scene, qa["question"])
            assert qa["answer"] == ("Yes" if truth[target] else "No"), (game["id"], qa)
            remaining = {row for row in left if truth[row] == truth[target]}
            assert remaining < left, "a question that tells nothing"
            left = remaining
        assert left == {target}


def test_guesswhat_lists_all_objects_of_its_picture(
    lines: Callable[[str], list[Any]], scene_of: Callable[[int], Scene]
) -> None:
    games = [game for split in ("train", "valid", "test") for game in lines(f"guesswhat/guesswhat.{split}.jsonl.gz")]
    numbers = [qa["id"] for game in games for qa in game["qas"]]
    assert len(set(numbers)) == len(numbers) and len({game["id"] for game in games}) == len(games)
    for game in games:
        scene = scene_of(game["image"]["id"])
        assert (game["image"]["width"], game["image"]["height"]) == (scene.width, scene.height)
        assert [thing["category"] for thing in game["objects"]] == [item.shape for item in scene.objects]
        for thing, item in zip(game["objects"], scene.objects, strict=True):
            x, y, width, height = thing["bbox"]
            assert (x, y, x + width, y + height) == pytest.approx(item.box, abs=0.02)


def test_visual_genome_answers_are_true(content: Callable[[str], Any], scene_of: Callable[[int], Scene]) -> None:
    for picture in content("visual_genome/question_answers.json"):
        scene = scene_of(picture["id"] - VISUAL_GENOME_FIRST)
        for qa in picture["qas"]:
            assert visual_genome_answer(scene, qa["question"]) == qa["answer"], qa
            assert qa["image_id"] == picture["id"]


NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
PLACES = {"wood": "On a wooden table", "brick": "In front of a brick wall", "grass": "On the grass"}
PLACES |= {"sand": "On the sand", "tile": "On a tiled floor", "water": "On the water"}
PLACES |= {"sky": "In front of a cloudy sky", "carpet": "On a carpet"}


def visual_genome_answer(scene: Scene, question: str) -> str:
    text = question.lower().removesuffix("?")
    if text.startswith("where"):
        return f"{PLACES[scene.background]}."
    if match := re.fullmatch(r"how many (.+?) (?:are there|are in the picture|can you see)", text):
        return f"{NUMBERS[len(rows(scene, match[1]))]}."
    if match := re.fullmatch(r"what (?:color is the shape|is) (left of|right of|above|below) the (.+)", text):
        (row,) = towards(scene, only(scene, match[2]), match[1])
        return f"{(scene.objects[row].colour if 'color' in text else scene.objects[row].shape).capitalize()}."
    if match := re.fullmatch(r"what color are the (.+)", text):
        (colour,) = {scene.objects[row].colour for row in rows(scene, match[1])}
        return f"{colour.capitalize()}."
    patterns = {
        "colour": r"what (?:color is|is the color of) the (.+)",
        "texture": r"what (?:kind of pattern does|pattern is on) the (.+?)(?: have)?",
        "size": r"what size is the (.+)",
        "shape": r"(?:what shape is|which shape is|what is) the (.+)",
    }
    attribute, words = next((name, m[1]) for name, pattern in patterns.items() if (m := re.fullmatch(pattern, text)))
    return f"{getattr(scene.objects[only(scene, words)], attribute).capitalize()}."
