"""The generated world as GQA writes it: questions, choices and scene graphs.

One question of `val_balanced_questions.json` (a JSON object by question id), and what the choices and the scene graph
of its picture say:

    "200017003": {"semantic": [{"operation": "select", "dependencies": [], "argument": "star (173)"}, …],
        "entailed": ["200017041"], "equivalent": ["200017003"], "question": "What color is the star?",
        "imageId": "2300017", "isBalanced": true, "groups": {"global": "color", "local": "13-star_color"},
        "answer": "red", "semanticStr": "select: star (173)->query: color [0]",
        "annotations": {"answer": {}, "question": {"4": "173"}, "fullAnswer": {"1": "173"}},
        "types": {"detailed": "directOf", "semantic": "attr", "structural": "query"}, "fullAnswer": "The star is red."}
    "200017003": {"valid": ["red", "green", …], "plausible": ["red", "blue"]}
    "2300017": {"width": 320, "height": 240, "location": "sand", "objects": {"173": {"name": "star", "x": 12, "y": 40,
        "w": 70, "h": 64, "attributes": ["large", "plain", "red"], "relations": [{"object": "171", "name": "above"}]}}}
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltool.world.phrases import Kind, the_kind
from vltool.world.queries import Query, View
from vltool.world.scene import Scene
from vltool.world.twelve.balance import draw_balanced
from vltool.world.twelve.gqa_forms import FORMS, entails
from vltool.world.twelve.gqa_programs import graph_relations, object_id, program, program_string

_QUESTION_STREAM, _WORDING_STREAM = 12, 13  # third words of the random seed
_FIRST_ID = 200_000_000  # of questions; a picture has up to 1,000
Questions = dict[str, dict[str, Any]]


def question_files(
    pictures: Sequence[tuple[str, Scene]], *, per_picture: int, seed: int
) -> tuple[Questions, Questions, dict[str, dict[str, list[str]]]]:
    """Balanced questions, all questions (those and the ones they entail), and the choices of all.

    pictures: GQA's image id and the scene. Each balanced question has a twin about another picture, with the same
    words of another answer.
    """
    views = [View(scene) for _, scene in pictures]
    rng = np.random.default_rng([seed, len(pictures), _QUESTION_STREAM])
    asked = draw_balanced(
        [{name: dict(form.ask(view)) for name, form in FORMS.items()} for view in views],
        {name: form.share for name, form in FORMS.items()},
        per_picture=per_picture,
        group_size=2,
        rng=rng,
    )
    by_picture: dict[int, dict[Query, str]] = defaultdict(dict)
    for entry in asked:
        by_picture[entry.picture][entry.query] = entry.answer
    questions: Questions = {}
    for row, balanced in sorted(by_picture.items()):
        questions.update(_of_picture(pictures[row][0], views[row], balanced, seed))
    return (
        {key: question for key, question in questions.items() if question["isBalanced"]},
        questions,
        _choices(questions),
    )


def _of_picture(image_id: str, view: View, balanced: Mapping[Query, str], seed: int) -> Questions:
    """A picture's questions by id: the balanced ones, then those that they entail."""
    answers = dict(balanced)
    for query, answer in balanced.items():
        for further, its_answer in entails(query, answer):
            assert answers.setdefault(further, its_answer) == its_answer, (image_id, query, further)
    number = view.scene.number
    ids = {query: str(_FIRST_ID + number * 1000 + row) for row, query in enumerate(answers)}
    rng = np.random.default_rng([seed, number, _WORDING_STREAM])
    return {
        ids[query]: _question(
            image_id,
            view,
            query,
            answer,
            wording=rng.random(),
            question_id=ids[query],
            entailed=[ids[further] for further, _ in entails(query, answer) if further in ids],
            balanced=query in balanced,
        )
        for query, answer in answers.items()
    }


def _question(
    image_id: str,
    view: View,
    query: Query,
    answer: str,
    *,
    wording: float,
    question_id: str,
    entailed: list[str],
    balanced: bool,
) -> dict[str, Any]:
    form = FORMS[query.family]
    wordings = form.word(query)
    text = wordings[int(wording * len(wordings))]
    full_answer = form.full_answer(query, answer)
    steps = program(query, view)
    return {
        "semantic": steps,
        "entailed": entailed,
        "equivalent": [question_id],
        "question": text,
        "imageId": image_id,
        "isBalanced": balanced,
        "groups": {"global": form.group or None, "local": _local_group(query)},
        "answer": answer,
        "semanticStr": program_string(steps),
        "annotations": {
            "answer": {},
            "question": _mentions(text, query, view),
            "fullAnswer": _mentions(full_answer, query, view),
        },
        "types": {"detailed": form.detailed, "semantic": form.semantic, "structural": form.structural},
        "fullAnswer": full_answer,
    }


def _local_group(query: Query) -> str:
    """What GQA balances within: the things spoken of and the form."""
    names = "_".join(kind.shape or "object" for kind in query.kinds) or "scene"
    return f"{1 + list(FORMS).index(query.family):02d}-{names}_{'_'.join(query.values) or query.family}"


def _mentions(text: str, query: Query, view: View) -> dict[str, str]:
    """Which words, by place, name a single object of the picture: {"3": "173"}, {"2:4": "173"}."""
    found = {}
    for kind in query.kinds:
        rows = view.index.get(kind, ())
        name = the_kind(kind)
        before = text.lower().find(name) if kind != Kind() else -1
        if len(rows) != 1 or before < 0:
            continue
        first = len(text[:before].split()) + 1  # the article is not part of the name
        last = first + len(name.split()) - 1
        found[str(first) if last == first + 1 else f"{first}:{last}"] = object_id(view.scene.number, rows[0])
    return found


def _choices(questions: Questions) -> dict[str, dict[str, list[str]]]:
    """Valid: what such a question can be answered with. Plausible: what is an answer to its local group anywhere."""
    plausible: dict[str, set[str]] = defaultdict(set)
    for question in questions.values():
        plausible[question["groups"]["local"]].add(question["answer"])
    valid = {form.detailed: list(form.answers) for form in FORMS.values()}
    return {
        key: {
            "valid": valid[question["types"]["detailed"]],
            "plausible": sorted(plausible[question["groups"]["local"]]),
        }
        for key, question in questions.items()
    }


def scene_graphs(pictures: Sequence[tuple[str, Scene]]) -> dict[str, dict[str, Any]]:
    """The content of {train,val}_sceneGraphs.json; boxes are whole pixels."""
    return {image_id: _scene_graph(scene) for image_id, scene in pictures}


def _scene_graph(scene: Scene) -> dict[str, Any]:
    relations: dict[int, list[dict[str, str]]] = defaultdict(list)
    for subject, name, other in graph_relations(View(scene)):
        relations[subject].append({"object": object_id(scene.number, other), "name": name})
    objects = {}
    for row, item in enumerate(scene.objects):
        x1, y1, x2, y2 = (round(value) for value in item.box)
        objects[object_id(scene.number, row)] = {
            "name": item.shape,
            "h": y2 - y1,
            "relations": relations[row],
            "w": x2 - x1,
            "attributes": [item.size, item.texture, item.colour],
            "y": y1,
            "x": x1,
        }
    return {"width": scene.width, "height": scene.height, "location": scene.background, "objects": objects}
