"""Charts and pictures: what is drawn, and that the same input gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.report.sample_run import sample_config, write_sample_run
from vltool.report.attention import Mark, Panel
from vltool.report.figures import Chart, learning_curves, level_chart, own_updates, task_curves
from vltool.report.pictures import DARKEST, brightness, draw_panel
from vltool.report.run_files import RunFiles, read_run
from vltool.report.sentences import words_of
from vltool.structures import ImageId

BOXES = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
TOKENS = ("a", "red", "box", "on", "sand")


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return read_run(write_sample_run(tmp_path))


def panel(**changes: object) -> Panel:
    weights = {"region_weights": np.array([0.75, 0.25]), "word_weights": np.array([0.1, 0.4, 0.4, 0.05, 0.05])}
    return Panel(ImageId("file:1"), 20, 30, BOXES, **{"tokens": TOKENS, **weights, **changes})  # type: ignore[arg-type]


def marked() -> Panel:
    marks = (
        Mark("a red box", (0, 3), (0, 0, 10, 10), 0.9, True, ((0, 0, 9, 10),)),
        Mark("sand", (4, 5), (5, 0, 15, 10), 0.2, False, ((20, 10, 30, 20),)),
    )
    return panel(region_weights=None, word_weights=None, marks=marks)


def test_a_task_counts_its_own_updates(files: RunFiles) -> None:
    assert own_updates(files.trainings["joint"], "vqa") == {k: k + 1 for k in range(6)}
    trial = files.chosen_trial("vqa")
    assert trial is not None and own_updates(trial, "vqa") == {0: 3, 1: 6}


def test_curves_go_from_most_tasks_to_the_single_one(files: RunFiles) -> None:
    curves = task_curves(files, "vqa")
    assert [curve.label for curve in curves] == ["joint", "vqa + grounding", "single task"]
    assert curves[-1].losses == [(3, 3.0), (6, 2.75)]
    assert curves[-1].scores == [(6, 61.0)]


def test_charts_are_the_same_each_time_and_tell_what_they_show(files: RunFiles) -> None:
    first, second = learning_curves(files), learning_curves(files)
    assert isinstance(first, Chart) and first == second
    assert first.source.startswith("data:image/svg+xml;base64,")
    assert "vqa: joint: loss from 3 to 1.75, last validation score 60.0" in first.alt
    levels = level_chart(files)
    assert isinstance(levels, Chart) and "chosen level 2" in levels.alt and "level 3 60.5" in levels.alt


def test_charts_without_trainings_are_sentences(tmp_path: Path) -> None:
    files = read_run(sample_config(tmp_path))
    assert isinstance(learning_curves(files), str) and isinstance(level_chart(files), str)


def test_brightness_adds_the_weights_of_regions_that_cover_a_pixel() -> None:
    found = brightness(panel(), 40, 60)  # twice the size
    assert found[5, 12] == 1.0  # in both regions
    assert found[5, 2] == pytest.approx(DARKEST + (1 - DARKEST) * 0.75)
    assert found[5, 25] == pytest.approx(DARKEST + (1 - DARKEST) * 0.25)
    assert found[30, 50] == DARKEST


@pytest.mark.parametrize("make", [panel, marked])
@pytest.mark.parametrize("pixels", [None, np.full((20, 30, 3), 128, np.uint8)])
def test_pictures_are_the_same_each_time(make: object, pixels: np.ndarray | None) -> None:
    first, second = (draw_panel(make(), pixels) for _ in range(2))  # type: ignore[operator]
    assert first == second
    assert first.source.startswith("data:image/jpeg;base64,")
    assert first.width_px / first.height_px == pytest.approx(1.5, rel=0.01)
    assert ("not here" in first.alt) == (pixels is None)


def test_text_alternative_says_where_the_regions_are() -> None:
    alt = draw_panel(marked(), None).alt
    assert "a red box: x 0 to 10, y 0 to 10, right" in alt and "sand: x 5 to 15, y 0 to 10, wrong" in alt


def test_many_labels_find_a_place() -> None:
    marks = tuple(Mark(f"phrase {k}", (k, k + 1), (0, 0, 10, 10), 0.5, False, ()) for k in range(12))
    assert draw_panel(panel(marks=marks, tokens=tuple("abcdefghijkl")), None).source


def test_redness_follows_the_attention_over_words() -> None:
    words = words_of(panel())
    assert [word.hint for word in words] == ["10 %", "40 %", "40 %", "5 %", "5 %"]
    assert words[1].style.endswith("0.75)") and words[0].style.endswith("0.19)")


def test_phrases_carry_the_colour_of_their_box_and_whether_they_are_right() -> None:
    words = words_of(marked())
    assert [(word.text, word.mark) for word in words] == [("a red box", "1✓"), ("on", ""), ("sand", "2✗")]
    assert words[0].style != words[2].style


def test_punctuation_stands_close() -> None:
    tokens = ("do", "n't", "look", ",", "it", "'s", "a", "t-shirt", ".")
    assert "".join(word.space + word.text for word in words_of(panel(tokens=tokens, word_weights=None))) == (
        " don't look, it's a t-shirt."
    )


def test_phrases_that_share_a_region_are_both_seen() -> None:
    shared = [Mark(f"phrase {k}", (k, k + 1), (2, 2, 10, 10), 0.5, False, ()) for k in range(2)]
    both = draw_panel(panel(marks=tuple(shared)), None)
    assert both.source != draw_panel(panel(marks=(shared[1], shared[1])), None).source
