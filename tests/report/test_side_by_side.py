"""One question and picture before every decoder of a joint model, and the phrases of questions."""

from __future__ import annotations

import pytest
import torch

from tests.miniature import miniature_model
from vltool.datasets.records import GroundedCaption, Phrase
from vltool.report.attention import Exhibit, Looker
from vltool.report.noun_phrases import PhraseFinder
from vltool.report.side_by_side import Decoders, side_by_side
from vltool.structures import Example, ImageId
from vltool.tasks.prepare import PreparedTasks


def caption(text: str) -> GroundedCaption:
    """A caption whose phrases stand in [brackets], word by word."""
    words, phrases, start = [], [], 0
    for word in text.split():
        if word.startswith("["):
            start = len(words)
        words.append(word.strip("[]"))
        if word.endswith("]"):
            phrases.append(Phrase(start, len(words) - start, "1", (), ()))
    return GroundedCaption(ImageId("world:1"), 0, tuple(words), tuple(phrases), height=10, width=10)


@pytest.fixture(scope="module")
def finder() -> PhraseFinder:
    texts = [
        "[The small cross] is left of [a green heart] .",
        "[a cross] and [the heart] are green .",
        "[a small green cross] is in [the sand] .",
    ]
    return PhraseFinder.from_captions(map(caption, texts))


@pytest.mark.parametrize(
    ("question", "phrases"),
    [
        ("is the small cross green ?", ["the small cross"]),
        ("is there a green heart or the cross ?", ["a green heart", "the cross"]),
        ("Is The Small Heart green ?", ["The Small Heart"]),
        ("how many small hearts are there ?", []),
        ("", []),
    ],
)
def test_phrases_are_runs_of_words_that_stand_in_phrases(
    finder: PhraseFinder, question: str, phrases: list[str]
) -> None:
    words = question.split()
    assert [" ".join(words[start:end]) for start, end in finder.find(words)] == phrases


@pytest.fixture(scope="module")
def shown() -> tuple[Looker, PreparedTasks, Decoders, list[Exhibit]]:
    model, prepared, batching = miniature_model()
    looker = Looker(model, batching, torch.device("cpu"))
    decoders = Decoders.of(list(prepared.tasks.values()), prepared.examples["grounding"]["train"])
    assert decoders is not None
    return looker, prepared, decoders, side_by_side(decoders, looker, prepared.examples["vqa"]["train"])


def test_every_decoder_reads_the_same_question_about_the_same_picture(
    shown: tuple[Looker, PreparedTasks, Decoders, list[Exhibit]],
) -> None:
    looker, _, _, found = shown
    assert found
    for exhibit in found:
        assert exhibit.columns in (2, 3) and len(exhibit.panels) % exhibit.columns == 0
        for start in range(0, len(exhibit.panels), exhibit.columns):
            row = exhibit.panels[start : start + exhibit.columns]
            assert len({(panel.image_id, panel.tokens) for panel in row}) == 1
            assert row[-1].heading == f"vqa (level {looker.model.level('vqa')})" and row[-1].lines[0].startswith(
                "answer"
            )
            assert row[-2].heading.startswith("caption_retrieval") and row[-2].lines[0].startswith("matching score")


def test_the_matching_score_is_the_retrieval_decoders(
    shown: tuple[Looker, PreparedTasks, Decoders, list[Exhibit]],
) -> None:
    looker, prepared, _, found = shown
    panel = found[0].panels[-2]
    question = next(
        example
        for example in prepared.examples["vqa"]["train"]
        if example.rows[0][0] == panel.image_id and looker.batching.tokens[example.rows[0][1]] == panel.tokens
    )
    batch, _ = looker.batching.batch(prepared.tasks["caption_retrieval"], [Example("1", question.rows, None)])
    expected = torch.sigmoid(looker.model.logits("caption_retrieval", batch)).item()
    assert panel.lines == (f"matching score {100 * expected:.0f} %",)


def test_the_regions_of_phrases_are_the_grounding_decoders_best(
    shown: tuple[Looker, PreparedTasks, Decoders, list[Exhibit]],
) -> None:
    marked = [panel for exhibit in shown[3] for panel in exhibit.panels if panel.marks]
    assert marked
    for panel in marked:
        for mark in panel.marks:
            assert mark.phrase == " ".join(panel.tokens[slice(*mark.span)])
            assert mark.box in [tuple(box) for box in panel.boxes.tolist()] and mark.right is None


def test_a_model_of_one_task_has_nothing_to_set_side_by_side() -> None:
    _, prepared, _ = miniature_model()
    for name in prepared.tasks:
        assert Decoders.of([prepared.tasks[name]], []) is None
    pair = [prepared.tasks["caption_retrieval"], prepared.tasks["grounding"]]
    assert Decoders.of(pair, []) is None
