"""The page as a whole: well-formed, self-contained, the same each time, and patient with what is missing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.miniature import Pictures, miniature_config, miniature_corpus, miniature_prepared
from tests.report.sample_run import sample_config, write_sample_run
from vltool.errors import ConfigError
from vltool.report import exhibits, page
from vltool.report.page import write_report
from vltool.report.picture_files import find_pictures, load_pixels
from vltool.report.run_files import read_run
from vltool.structures import ImageId, TaskPlan
from vltool.training.run import RunInputs, train
from vltool.training.schedule import JointPlan

VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """Checks that tags close in the order they opened, and collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.images: list[dict[str, str]] = []
        self.resources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        self.ids += [found["id"]] if "id" in found else []
        self.resources += [found[name] for name in ("src", "srcset", "poster", "data") if name in found]
        if tag == "link":
            self.resources.append(found["href"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunInputs:
    """A miniature run that learned for a moment, its train and test splits swapped: there are more pictures to show."""
    out = tmp_path_factory.mktemp("run")
    prepared = miniature_prepared()
    corpus = miniature_corpus(prepared)
    swapped = {
        task: {"train": splits["test"], "val": splits["val"], "test": splits["train"]}
        for task, splits in prepared.examples.items()
    }
    store: Any = Pictures()
    inputs = RunInputs(miniature_config(str(out)), replace(prepared, examples=swapped), corpus, store)
    levels = {"caption_retrieval": 2, "vqa": 3, "grounding": 1}
    tasks = tuple(TaskPlan(name, level, 2, 2, 4) for name, level in levels.items())
    train(inputs, JointPlan(tasks, cycle_updates=3), out / "training" / "joint")
    return inputs


def test_page_of_a_whole_run_is_well_formed_and_self_contained(tmp_path: Path) -> None:
    path = write_report(write_sample_run(tmp_path))
    assert path == tmp_path / "report.html"
    found = read(path)
    assert all(source.startswith("data:") for source in found.resources)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|url\(|@import", path.read_text(encoding="utf-8"))
    assert found.tags["script"] == 0
    assert found.images and all(image["alt"].strip() for image in found.images)
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert found.tags["table"] == found.tags["caption"]


def test_page_holds_every_table(tmp_path: Path) -> None:
    words = read(write_report(write_sample_run(tmp_path))).words
    for text in (
        "vqa, accuracy on the test split: 60.0 jointly trained, 60.0 trained alone",
        "Scores on the test split",
        "layout of the paper's Table 4",
        "All trials of the search",
        "failed: the loss is not finite",
        "evaluated pictures that a task would train on (protocol clean)",
        "Words with a GloVe vector",
        "Versions that made this page",
    ):
        assert text in words


def test_page_is_the_same_each_time(tmp_path: Path) -> None:
    config = write_sample_run(tmp_path)
    assert write_report(config).read_bytes() == write_report(config, tmp_path / "again.html").read_bytes()


def test_page_of_a_run_that_has_made_nothing_says_so(tmp_path: Path) -> None:
    words = read(write_report(sample_config(tmp_path / "new"))).words
    for text in (
        "Nothing has been scored on the test split yet",
        "There is no plan yet",
        "There are no learning curves",
        "There are no attention figures",
        "no training has left a checkpoint",
        "There is no feature store",
    ):
        assert text in words


def test_text_of_the_run_is_escaped(tmp_path: Path) -> None:
    config = replace(write_sample_run(tmp_path), name="<b>bold</b> & co")
    text = write_report(config).read_text(encoding="utf-8")
    assert "<script>" not in text and "<b>bold" not in text and "&lt;b&gt;bold" in text


def test_attention_figures_of_all_tasks_are_on_the_page(trained: RunInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibits, "load_inputs", lambda config: trained)
    said: list[str] = []
    found = read(write_report(trained.config, say=said.append))
    captions = re.findall(r"Figure (\d+)\. (\w+):", found.words)
    assert len(captions) >= 6
    assert {task for _, task in captions} == {"caption_retrieval", "vqa", "grounding"}
    assert "looking through the joint model at vqa" in said
    assert "vqa, test split, by the joint model at level 3" in found.words
    assert "its file is not here" in found.images[-1]["alt"]


def test_examples_are_of_the_validation_split_where_there_is_no_test(
    trained: RunInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    untested = {task: {**splits, "test": ()} for task, splits in trained.prepared.examples.items()}
    inputs = replace(trained, prepared=replace(trained.prepared, examples=untested))
    monkeypatch.setattr(exhibits, "load_inputs", lambda config: inputs)
    gallery = exhibits.build_gallery(read_run(trained.config))
    assert gallery.exhibits and "vqa, val split, by the joint model at level 3" in gallery.seen_by


def test_figures_with_pictures_are_small_enough_and_the_same_each_time(
    trained: RunInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibits, "load_inputs", lambda config: trained)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    monkeypatch.setattr(page, "load_pixels", lambda path: noise)
    first = write_report(trained.config).read_bytes()
    assert first == write_report(trained.config).read_bytes()
    assert len(first) < 6_000_000


def test_data_that_cannot_be_opened_is_said_and_not_raised(trained: RunInputs) -> None:
    assert "The run's data cannot be opened: " in read(write_report(trained.config)).words


def test_several_runs_share_one_page(tmp_path: Path) -> None:
    runs = [write_sample_run(tmp_path / name) for name in ("one", "two")]
    path = write_report(runs, tmp_path / "both.html")
    found = read(path)
    assert "Scores of the runs on their test splits" in found.words
    assert found.tags["article"] == 2 and found.tags["main"] == 1
    assert len(found.ids) == len(set(found.ids))
    with pytest.raises(ConfigError, match="at least one run"):
        write_report([])


def test_page_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_sample_run(tmp_path)
    before = write_report(config).read_bytes()
    monkeypatch.setattr(page, "render", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(config)
    assert (tmp_path / "report.html").read_bytes() == before


def test_pictures_are_found_under_their_ids(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "COCO_000017.png")
    (folder / "COCO_000018.png").write_bytes(b"no picture")
    images = [{"images": [str(folder), str(tmp_path / "gone")], "image_id": "coco:{number}"}]
    config = sample_config(tmp_path, features={"extract": images})
    found = find_pictures(config, {ImageId("coco:17"), ImageId("coco:18"), ImageId("coco:99")})
    assert found == {"coco:17": folder / "COCO_000017.png", "coco:18": folder / "COCO_000018.png"}
    pixels = load_pixels(found[ImageId("coco:17")])
    assert pixels is not None and pixels.shape == (4, 6, 3)
    assert load_pixels(found[ImageId("coco:18")]) is None and load_pixels(None) is None
