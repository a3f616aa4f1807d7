"""The generated world as VQA v2 writes it: questions, annotations and complementary pairs.

One question, its annotation and one pair:

    {"image_id": 3, "question": "How many red circles are there?", "question_id": 3002}
    {"question_type": "how many", "multiple_choice_answer": "2", "answers": [{"answer": "2", "answer_confidence": "yes",
     "answer_id": 1}, … ten of them], "image_id": 3, "answer_type": "number", "question_id": 3002}
    [3002, 41005]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vltool.world.pairs import annotate, ask_in_pairs, most_common_answer
from vltool.world.questions import FAMILIES, question_type
from vltool.world.scene import Scene

_ANNOTATOR_STREAM = 4  # third word of the random seed
_INFO = {
    "description": "Generated world of vltool, in the layout of VQA v2.0",
    "url": "",
    "version": "2.0",
    "year": 2017,
    "contributor": "vltool",
    "date_created": "2017-01-01 00:00:00",
}
_LICENSE = {"url": "", "name": "Generated questions, free to use"}


def vqa_files(
    subset: str, scenes: Sequence[Scene], *, questions_per_image: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any], list[list[int]]]:
    """The contents of a subset's questions, annotations and complementary-pairs files."""
    asked, pairs = ask_in_pairs(scenes, questions_per_image=questions_per_image, seed=seed)
    questions, annotations = [], []
    seen: dict[int, int] = {}
    ids: list[int] = []
    for question in asked:
        image_id = scenes[question.picture].number
        row = seen[image_id] = seen.get(image_id, -1) + 1
        question_id = image_id * 1000 + row
        ids.append(question_id)
        rng = np.random.default_rng([seed, image_id, _ANNOTATOR_STREAM, row])
        answers = annotate(question, rng)
        questions.append({"image_id": image_id, "question": question.text, "question_id": question_id})
        annotations.append(
            {
                "question_type": question_type(question.text),
                "multiple_choice_answer": most_common_answer([text for text, _ in answers], right=question.answer),
                "answers": [
                    {"answer": text, "answer_confidence": confidence, "answer_id": number}
                    for number, (text, confidence) in enumerate(answers, start=1)
                ],
                "image_id": image_id,
                "answer_type": FAMILIES[question.family].answer_type,
                "question_id": question_id,
            }
        )
    common = {"data_subtype": subset, "data_type": "mscoco"}
    return (
        {"info": _INFO, "task_type": "Open-Ended", **common, "license": _LICENSE, "questions": questions},
        {"info": _INFO, "license": _LICENSE, **common, "annotations": annotations},
        [[ids[a], ids[b]] for a, b in pairs],
    )
