"""The page in a real browser: readable without scripts, silent, complete in itself, described, and fit to print."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pypdf import PdfReader

from tests.report import test_page
from tests.report.browser import Browser, browser, find_chromium
from tests.report.sample_run import write_sample_run
from vltool.report import exhibits, page
from vltool.report.page import write_report
from vltool.training.run import RunInputs

trained = test_page.trained
WIDTHS = (1280, 800, 390)


@pytest.fixture(scope="module")
def report(trained: RunInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with everything: tables of a run by hand, figures of a trained one."""
    config = trained.config
    write_sample_run(config.out_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhibits, "load_inputs", lambda config: trained)
        noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
        patch.setattr(page, "load_pixels", lambda path: noise)
        return write_report(config, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def opened(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page opened with its scripts, had it any, switched off."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with browser(chromium, tmp_path_factory.mktemp("profile")) as found:
        found.ask("Emulation.setScriptExecutionDisabled", value=True)
        found.open(report)
        yield found


@pytest.fixture(scope="module")
def printed(opened: Browser) -> PdfReader:
    return PdfReader(io.BytesIO(opened.pdf(printBackground=False, preferCSSPageSize=True, paperWidth=8.27)))


def test_the_text_is_there_without_scripts(opened: Browser) -> None:
    text = opened.value("document.body.innerText")
    for words in ("Scores on the test split", "What the model looks at", "layout of the paper's Table 4"):
        assert words in text
    assert opened.value("document.scripts.length") == 0


def test_nothing_is_wrong_and_nothing_is_fetched(opened: Browser, report: Path) -> None:
    assert not opened.told("Runtime.exceptionThrown") and not opened.told("Runtime.consoleAPICalled")
    assert [event["entry"]["text"] for event in opened.told("Log.entryAdded")] == []
    asked = [event["request"]["url"] for event in opened.told("Network.requestWillBeSent")]
    assert report.as_uri() in asked
    assert [url[:60] for url in asked if url != report.as_uri() and not url.startswith("data:")] == []


def test_every_image_is_shown_and_described(opened: Browser) -> None:
    nodes = opened.ask("Accessibility.getFullAXTree")["nodes"]
    names = [
        node.get("name", {}).get("value", "")
        for node in nodes
        if node.get("role", {}).get("value") in ("image", "img", "figure img")
    ]
    assert len(names) == opened.value("document.images.length") > 6
    assert all(len(name) > 10 for name in names)
    assert opened.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(opened: Browser, width: int) -> None:
    opened.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    assert opened.value("document.documentElement.scrollWidth") <= width
    opened.ask("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(opened: Browser, scheme: str) -> None:
    opened.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    ink, paper = (opened.value(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert contrast(ink, paper) > 7
    quiet = opened.value("getComputedStyle(document.querySelector('.note')).color")
    assert contrast(quiet, paper) > 4.5
    opened.ask("Emulation.setEmulatedMedia", features=[])


def contrast(first: str, second: str) -> float:
    """Of two colours rgb(…), as WCAG 2 defines it."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_no_table_is_cut_in_print(opened: Browser, printed: PdfReader) -> None:
    """Each table that a page can hold is on one page, from its caption to its last row."""
    pages = [squeezed(found.extract_text()) for found in printed.pages]
    tables = opened.value(
        "[...document.querySelectorAll('table')].filter(table => table.rows.length < 30)"
        ".map(table => [table.caption.innerText, table.rows[table.rows.length - 1].innerText])"
    )
    assert len(tables) > 8
    for caption, last in tables:
        on = [number for number, text in enumerate(pages) if squeezed(caption) in text]
        assert any(squeezed(last) in pages[number] for number in on), caption


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))  # ligatures are letters again


def test_red_words_are_red_in_print_without_backgrounds(printed: PdfReader) -> None:
    """Where the printer leaves backgrounds out, those that carry a meaning stay."""
    contents = [found.get_contents() for found in printed.pages]
    content = b"".join(found.get_data() for found in contents if found is not None)
    colours = {tuple(map(float, match)) for match in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg", content)}
    red = np.array([220, 38, 30]) / 255  # as report/sentences.py
    assert any(np.abs(np.array(colour) - red).max() < 0.01 for colour in colours), colours


def test_nothing_is_wider_than_the_paper(opened: Browser) -> None:
    opened.ask("Emulation.setEmulatedMedia", media="print")
    opened.ask("Emulation.setDeviceMetricsOverride", width=680, height=990, deviceScaleFactor=1, mobile=False)
    wide = opened.value(
        "[...document.querySelectorAll('table, figure, pre, img')]"
        ".filter(found => found.getBoundingClientRect().right > innerWidth + 1)"
        ".map(found => found.innerText.slice(0, 80))"
    )
    opened.ask("Emulation.clearDeviceMetricsOverride")
    opened.ask("Emulation.setEmulatedMedia", media="")
    assert wide == []
