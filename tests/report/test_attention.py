"""What the figures show is what the decoders say, on a miniature world with all three tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.miniature import miniature_model
from vltool.report.attention import Exhibit, Looker, Panel, candidates, pick, spread
from vltool.report.task_exhibits import complementary_pairs
from vltool.structures import Example, ImageId
from vltool.tasks.prepare import PreparedTasks

TASKS = ("caption_retrieval", "vqa", "grounding")


@pytest.fixture(scope="module")
def looked() -> tuple[Looker, PreparedTasks]:
    model, prepared, batching = miniature_model()
    return Looker(model, batching, torch.device("cpu")), prepared


def exhibits(looked: tuple[Looker, PreparedTasks], task: str, split: str = "train") -> list[Exhibit]:
    looker, prepared = looked
    return candidates(prepared.tasks[task], looker, prepared.examples[task][split])


def panel(number: int) -> Panel:
    return Panel(ImageId(f"file:{number}"), 1, 1, np.zeros((1, 4)), ("a",))


@pytest.mark.parametrize("task", ["caption_retrieval", "vqa"])
def test_attention_sums_to_one_over_real_regions_and_words(looked: tuple[Looker, PreparedTasks], task: str) -> None:
    panels = [panel for exhibit in exhibits(looked, task) for panel in exhibit.panels]
    assert {len(panel.boxes) for panel in panels} == {2, 3, 4}  # padded in the batch, not here
    for panel in panels:
        assert panel.region_weights is not None and panel.word_weights is not None
        assert panel.region_weights.shape == (len(panel.boxes),)
        assert panel.word_weights.shape == (len(panel.tokens),)
        assert panel.region_weights.sum() == pytest.approx(1, abs=1e-5)
        assert panel.word_weights.sum() == pytest.approx(1, abs=1e-5)


def test_questions_come_in_pairs_with_different_answers(looked: tuple[Looker, PreparedTasks]) -> None:
    found = [exhibit for exhibit in exhibits(looked, "vqa") if len(exhibit.panels) == 2]
    assert found
    for exhibit in found:
        first, second = exhibit.panels
        assert first.tokens == second.tokens and first.image_id != second.image_id
        assert first.lines[1] != second.lines[1]  # the true answers


def test_pairs_need_another_picture_and_another_answer(looked: tuple[Looker, PreparedTasks]) -> None:
    examples = looked[1].examples["vqa"]["train"]
    same = [example for example in examples if example.target.answers[0] == "yes"]
    assert complementary_pairs(examples) and not complementary_pairs(same)


def test_a_caption_is_shown_with_its_picture_and_another(looked: tuple[Looker, PreparedTasks]) -> None:
    examples = looked[1].examples["caption_retrieval"]["train"]
    own = {example.rows[0] for example in examples}
    for exhibit in exhibits(looked, "caption_retrieval"):
        first, rival = exhibit.panels
        assert any(image_id == first.image_id for image_id, text in own if tuple(text.split()) == first.tokens)
        assert rival.image_id != first.image_id
        assert exhibit.right == ("rank 1 of" in first.lines[1])


def test_a_rival_scores_higher_exactly_when_the_caption_is_wrong(looked: tuple[Looker, PreparedTasks]) -> None:
    looker, prepared = looked
    task = prepared.tasks["caption_retrieval"]
    for exhibit in exhibits(looked, "caption_retrieval"):
        text = " ".join(exhibit.panels[0].tokens)
        pairs = [Example(str(k), ((panel.image_id, text),), None) for k, panel in enumerate(exhibit.panels)]
        own, rival = looker.look(task, pairs)[0].flatten().tolist()
        assert exhibit.right == (own > rival + 1e-6) or abs(own - rival) < 1e-5


def test_marks_are_the_decoders_top_regions(looked: tuple[Looker, PreparedTasks]) -> None:
    looker, prepared = looked
    task, examples = prepared.tasks["grounding"], prepared.examples["grounding"]["train"]
    logits = looker.look(task, examples)[0]
    by_image = {example.rows[0][0]: k for k, example in enumerate(examples)}
    for exhibit in exhibits(looked, "grounding"):
        panel = exhibit.panels[0]
        scores = logits[by_image[panel.image_id], :, : len(panel.boxes)]
        assert [mark.box for mark in panel.marks] == [tuple(panel.boxes[k]) for k in scores.argmax(-1)]
        assert [mark.right for mark in panel.marks] == [mark.box in mark.truth for mark in panel.marks]
        assert [mark.phrase for mark in panel.marks] == [" ".join(panel.tokens[slice(*m.span)]) for m in panel.marks]
        assert exhibit.right == all(mark.right for mark in panel.marks)


def test_looking_twice_gives_the_same(looked: tuple[Looker, PreparedTasks]) -> None:
    for task in TASKS:
        for first, second in zip(exhibits(looked, task), exhibits(looked, task), strict=True):
            assert (first.title, first.right) == (second.title, second.right)
            for a, b in zip(first.panels, second.panels, strict=True):
                assert (a.lines, a.marks) == (b.lines, b.marks)
                assert np.array_equal(a.region_weights, b.region_weights)


def test_looking_leaves_no_gradients_and_no_dropout(looked: tuple[Looker, PreparedTasks]) -> None:
    looker, _ = looked
    looker.model.train()
    exhibits(looked, "vqa")
    assert not looker.model.training
    assert all(parameter.grad is None for parameter in looker.model.parameters())


def test_no_examples_give_no_exhibits(looked: tuple[Looker, PreparedTasks]) -> None:
    looker, prepared = looked
    nothing: Sequence[Example] = ()
    assert all(candidates(task, looker, nothing) == [] for task in prepared.tasks.values())


def test_right_and_wrong_take_turns_on_different_pictures() -> None:
    offered = [Exhibit("vqa", str(k), k in (2, 4), (panel(k % 5),)) for k in range(8)]
    used = {ImageId("file:0")}
    assert [exhibit.title for exhibit in pick(offered, 4, used)] == ["2", "1", "4", "3"]
    assert used == {ImageId(f"file:{k}") for k in range(5)}


def test_pictures_are_shown_again_when_there_are_no_others() -> None:
    offered = [Exhibit("vqa", str(k), True, (panel(0),)) for k in range(2)]
    assert [exhibit.title for exhibit in pick(offered, 4, {ImageId("file:0")})] == ["0", "1"]


def test_spread_is_even_and_never_more() -> None:
    assert spread(range(10), 3) == [0, 3, 6] and spread(range(2), 3) == [0, 1]
