"""vltool doctor: every lack says what it costs and what to type; what is required decides the exit code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vltool.cli import doctor
from vltool.cli.app import app


def examined(code: int = 0) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert found["works"] is (code == 0)
    return {finding["subject"]: finding for finding in found["findings"]}


def test_it_looks_at_everything_a_run_may_need() -> None:
    wanted = {"vltool", "torch", "spacy", "world detector", "processor", "memory", "bfloat16", "GPU", "shared memory"}
    found = examined()
    assert wanted | {"detectron2", "Ray", "spaCy model", "disk"} <= set(found)
    for finding in found.values():
        assert finding["fine"] or finding["advice"]


def test_a_required_package_that_is_missing_or_too_old_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["lmdb>=1.5", "no-such-package>=2", 'ray>=2.50; extra == "ray"', "pyyaml>=6000"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    found = examined(code=2)
    assert found["no-such-package"]["advice"] == "vltool requires it: pip install 'no-such-package>=2'"
    assert "vltool requires >=6000" in found["pyyaml"]["advice"]
    assert "packages" not in found
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 2 and "MISS  no-such-package" in shown.stdout


def test_little_shared_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(total=64_000_000, free=usage.free))
    found = examined()["shared memory"]
    assert not found["fine"] and found["found"].startswith("64 MB") and "--shm-size" in found["advice"]


def test_what_is_optional_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ray" else find(name, *a))
    found = examined()
    assert found["Ray"]["found"] == "not installed" and "pip install 'vltool[ray]'" in found["Ray"]["advice"]


def test_names_of_other_packages_are_listed_and_a_clash_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "addition-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: addition\nVersion: 1.0\n")
    points = "[vltool.tasks]\ncounting = addition:Counting\n[vltool.readers]\nkarpathy = addition:read\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = examined(code=2)
    assert found["vltool.tasks"]["found"] == "counting (addition 1.0)"
    broken = found["vltool.tasks.counting"]
    assert (broken["fine"], broken["required"]) == (False, False)
    assert "task 'counting' is addition:Counting of addition 1.0, which does not load: No module" in broken["advice"]
    assert "'karpathy'" in found["vltool.readers"]["advice"] and found["vltool.readers"]["required"]
