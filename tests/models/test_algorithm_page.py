"""docs/algorithm.md and docs/vilbert.md set each equation beside lines of code: they are there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from vltool.config import TextConfig
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.vilbert.encoder import VilbertEncoder
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.vqa import VisualQuestionAnswering

ROOT = Path(__file__).parents[2]
PAGE, VILBERT_PAGE = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("algorithm.md", "vilbert.md"))
QUOTATIONS, VILBERT_QUOTATIONS = (
    re.findall(r"^`(vltool/[\w/]+\.py)`\n\n```python\n(.*?)```", page, flags=re.MULTILINE | re.DOTALL)
    for page in (PAGE, VILBERT_PAGE)
)


def not_in(file: str, quotation: str) -> list[str]:
    """The parts of a quotation that do not stand in a file as they are, line after line; `# …` is between parts."""
    text = (ROOT / file).read_text(encoding="utf-8").splitlines()
    parts = [part.strip("\n") for part in re.split(r"^\s*# …\n", textwrap.dedent(quotation), flags=re.MULTILINE)]

    def stands(part: str) -> bool:
        lines = part.splitlines()
        found = (text[start : start + len(lines)] for start in range(len(text)))
        return bool(lines) and any(textwrap.dedent("\n".join(own)).splitlines() == lines for own in found)

    return [part for part in parts if not stands(textwrap.dedent(part))]


@pytest.mark.parametrize(("file", "quotation"), QUOTATIONS + VILBERT_QUOTATIONS)
def test_quoted_lines_stand_in_the_file_one_after_the_other(file: str, quotation: str) -> None:
    assert not_in(file, quotation) == []


def test_a_quotation_whose_lines_stand_apart_or_are_indented_otherwise_is_found_out() -> None:
    file, quotation = next((file, text) for file, text in QUOTATIONS if text.count("\n") > 2 and "…" not in text)
    first, second, *rest = quotation.splitlines()
    assert not_in(file, quotation) == []
    for wrong in ([second, first, *rest], [first, *rest], [first, f"    {second}", *rest], [first, second, "", *rest]):
        assert not_in(file, "\n".join(wrong) + "\n")


def test_every_equation_and_block_is_set_beside_code() -> None:
    assert len(QUOTATIONS) == PAGE.count("```python")
    for number in range(1, 11):
        assert re.search(rf"\*\*Equations? [\d and]*\b{number}\b", PAGE), number


def test_options_and_files_of_vilbert_s_page_exist() -> None:
    assert len(VILBERT_QUOTATIONS) == VILBERT_PAGE.count("```python")
    for file in re.findall(r"`((?:vltool|tests)/[\w/]+(?:\.py|/))`", VILBERT_PAGE):
        assert (ROOT / file).exists(), file
    options = set(VilbertEncoder.Options.__dataclass_fields__)
    assert set(re.findall(r"`encoder\.options\.(\w+)", VILBERT_PAGE)) <= options
    assert set(re.findall(r"`text\.(\w+)`", VILBERT_PAGE)) <= set(TextConfig.__dataclass_fields__)


def test_options_and_files_of_the_page_exist() -> None:
    for file in re.findall(r"`((?:vltool|tests)/[\w/]+(?:\.py|/))`", PAGE):
        assert (ROOT / file).exists(), file
    encoder = set(DenseCoattentionEncoder.Options.__dataclass_fields__)
    assert set(re.findall(r"`encoder\.options\.(\w+)", PAGE)) | {"lstm_layers"} <= encoder
    for task in (CaptionRetrieval, VisualQuestionAnswering):
        assert {"num_score_maps", "summary_hidden_width"} <= set(task.Options.__dataclass_fields__)
