"""docs/algorithm.md and docs/vilbert.md set each equation beside lines of code: they are there."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize(("file", "quotation"), QUOTATIONS + VILBERT_QUOTATIONS)
def test_quoted_lines_are_in_the_file(file: str, quotation: str) -> None:
    lines = {line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
    assert [line.strip() for line in quotation.splitlines() if line.strip() not in lines] == []


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
