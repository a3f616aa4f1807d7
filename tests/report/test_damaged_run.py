"""Files of a run that hold something else: an error that names the file, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.sample_run import write_sample_run
from vltool.errors import DataError
from vltool.report.run_files import read_run

DAMAGE = {
    "eval/joint-test.json": [
        '{"model"',
        "[1]",
        '{"model": "joint", "split": "test", "tasks": {"vqa": {"accuracy": "x"}}}',
    ],
    "counts.json": ["[]", '{"examples": [{}]}', '{"examples": [], "contamination": [{"train": "vqa"}]}'],
    "plan.json": ['{"tasks": 3}', '{"tasks": [{"task": "vqa"}]}', "null"],
    "text/coverage.json": ["[]"],
    "stages/search-layers.json": ["3", '{"seconds": "long"}'],
    "search/trials.csv": ["a,b\n1,2\n"],
    "training/joint/log.jsonl": ['{"kind": "loss"}\n', "junk}\n"],
    "training/joint/result.json": ["[]", '{"identity": {}}'],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, texts in DAMAGE.items() for text in texts])
def test_the_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    config = write_sample_run(tmp_path)
    read_run(config)
    path = tmp_path / name
    assert path.exists()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=str(path if name != "training/joint/result.json" else path.parent)):
        read_run(config)
