"""Captions of the generated world are true: read back word by word here, by other code than wrote them."""

from __future__ import annotations

import re

import pytest

from vltool.world.captions import CAPTIONS_PER_PICTURE, Caption, Phrase, write_captions
from vltool.world.scene import Scene, SceneObject, generate_scene

SCENES = [generate_scene(21, number) for number in range(250)]
CAPTIONED = [(scene, caption) for scene in SCENES for caption in write_captions(scene)]

VALUES = {
    **dict.fromkeys(("small", "little"), ("size", "small")),
    **dict.fromkeys(("large", "big"), ("size", "large")),
    **{word: ("texture", word) for word in ("plain", "striped", "dotted", "checkered")},
    "spotted": ("texture", "dotted"),
    **{c: ("colour", c) for c in ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")},
    **{s: ("shape", s) for s in ("circle", "square", "triangle", "star", "heart", "cross")},
    **{s + "s": ("shape", s) for s in ("circle", "square", "triangle", "star", "heart")},
    "crosses": ("shape", "cross"),
}
OPEN_NOUNS = {"shape", "object", "shapes", "objects"}
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "both": 2}
BACKGROUND_WORDS = {
    "table": "wood",
    "wall": "brick",
    "grass": "grass",
    "lawn": "grass",
    "sand": "sand",
    "beach": "sand",
    "floor": "tile",
    "water": "water",
    "lake": "water",
    "sky": "sky",
    "clouds": "sky",
    "carpet": "carpet",
    "rug": "carpet",
}


def words_of(caption: Caption, phrase: Phrase) -> list[str]:
    return [word.lower() for word in caption.words[phrase.first : phrase.last]]


def fitting(scene: Scene, words: list[str]) -> tuple[int, ...]:
    """Rows of the objects that the words of a phrase fit."""
    wanted = [VALUES[word] for word in words[1:] if word not in OPEN_NOUNS]
    return tuple(
        row for row, item in enumerate(scene.objects) if all(getattr(item, name) == value for name, value in wanted)
    )


def is_so(scene: Scene, between: str, first: Phrase, second: Phrase) -> bool:
    a, b = scene.objects[first.objects[0]], scene.objects[second.objects[0]]
    (ax, ay), (bx, by) = a.centre, b.centre
    if between.endswith("left of"):
        return ax < bx - 20
    if between.endswith("right of"):
        return ax > bx + 20
    if between.endswith("above"):
        return ay < by - 20
    if between.endswith(("below", "under")):
        return ay > by + 20
    if between.endswith(("next to", "beside", "near")):
        return box_gap(a, b) < 15
    if "bigger than" in between:
        return a.extent > b.extent
    if "smaller than" in between:
        return a.extent < b.extent
    return True


def box_gap(a: SceneObject, b: SceneObject) -> float:
    dx = max(a.box[0] - b.box[2], b.box[0] - a.box[2], 0)
    dy = max(a.box[1] - b.box[3], b.box[1] - a.box[3], 0)
    return float((dx * dx + dy * dy) ** 0.5)


def test_each_picture_has_five_different_captions() -> None:
    for scene in SCENES:
        captions = write_captions(scene)
        assert len({caption.words for caption in captions}) == len(captions) == CAPTIONS_PER_PICTURE


def test_phrases_name_exactly_their_objects() -> None:
    for scene, caption in CAPTIONED:
        for phrase in caption.phrases:
            if not phrase.objects:
                continue
            words = words_of(caption, phrase)
            assert fitting(scene, words) == phrase.objects, caption.sentence
            if words[0] in ("a", "an", "the"):
                assert len(phrase.objects) == 1, caption.sentence
            elif words[0] == "all":
                assert len(phrase.objects) > 2, caption.sentence
            else:
                assert len(phrase.objects) == NUMBERS[words[0]], caption.sentence


def test_phrase_types_are_shapes_other_scene_and_notvisual() -> None:
    types = set()
    for scene, caption in CAPTIONED:
        for phrase in caption.phrases:
            shapes = {scene.objects[row].shape for row in phrase.objects}
            if phrase.objects:
                assert phrase.type == (shapes.pop() if len(shapes) == 1 else "other")
            types.add((phrase.type, bool(phrase.objects)))
    assert {("scene", False), ("notvisual", False), ("other", False), ("other", True), ("star", True)} <= types


def test_scene_phrases_name_the_background() -> None:
    for scene, caption in CAPTIONED:
        for phrase in caption.phrases:
            if phrase.type == "scene":
                assert BACKGROUND_WORDS[words_of(caption, phrase)[-1]] == scene.background


def test_relations_between_phrases_hold() -> None:
    checked = 0
    for scene, caption in CAPTIONED:
        single = [phrase for phrase in caption.phrases if len(phrase.objects) == 1]
        for second in single[1:]:
            start = max(phrase.last for phrase in caption.phrases if phrase.last <= second.first)
            between = " ".join(caption.words[start : second.first])
            # "A is above B and right of C" speaks of A both times.
            assert is_so(scene, between, single[0], second), caption.sentence
            checked += "of" in between or "above" in between
    assert checked > 50


def test_said_properties_hold() -> None:
    checked = 0
    for scene, caption in CAPTIONED:
        said = re.search(r" are (?:both )?(red|green|blue|yellow|purple|orange|white|black)\b", caption.sentence)
        if said:
            subjects = caption.phrases[:2] if " both " in said.group(0) else caption.phrases[:1]
            rows = [row for phrase in subjects for row in phrase.objects]
            assert rows and all(scene.objects[row].colour == said.group(1) for row in rows), caption.sentence
            checked += 1
    assert checked > 50


def test_phrases_do_not_overlap_and_cover_every_attribute_word() -> None:
    for _, caption in CAPTIONED:
        ends = [0]
        for phrase in caption.phrases:
            assert ends[-1] <= phrase.first < phrase.last <= len(caption.words)
            ends.append(phrase.last)
        covered = {place for phrase in caption.phrases for place in range(phrase.first, phrase.last)}
        for place, word in enumerate(caption.words):
            if word.lower() in VALUES and VALUES[word.lower()][0] in ("shape", "size", "texture"):
                assert place in covered, caption.sentence


def test_captions_mostly_speak_of_two_or_more_objects() -> None:
    spoken_of = [len({row for phrase in caption.phrases for row in phrase.objects}) for _, caption in CAPTIONED]
    assert min(spoken_of) >= 2
    assert sum(any(phrase.type == "scene" for phrase in caption.phrases) for _, caption in CAPTIONED) > 400


@pytest.mark.parametrize("form", ["raw", "words"])
def test_sentences_read_well(form: str) -> None:
    for _, caption in CAPTIONED:
        if form == "raw":
            assert re.fullmatch(r"[A-Z][a-z]*( [a-z]+,?)+\.", caption.sentence), caption.sentence
            assert not re.search(r"\ba orange|\ban (?!orange)", caption.sentence, flags=re.IGNORECASE)
        else:
            assert caption.words[-1] == "." and caption.words[0][0].isupper()


def test_vocabulary_is_small_enough_to_learn() -> None:
    vocabulary = {word.lower() for _, caption in CAPTIONED for word in caption.words}
    assert 100 <= len(vocabulary) <= 200
