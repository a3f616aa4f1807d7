"""Names from other packages: found, loaded only when asked for, and never in the place of another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vltool.config import from_dict
from vltool.detectors.load import load_detector
from vltool.errors import ConfigError
from vltool.registry import DETECTORS, ENCODERS, READERS, TASKS, Registry, resolve


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, package: str, group: str, points: str, code: str = "") -> None:
    """What pip leaves of a package: its module and its dist-info."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{points}\n")
    if code:
        (site / f"{package}.py").write_text(code)


@pytest.mark.parametrize("registry", [TASKS, ENCODERS, READERS, DETECTORS], ids=lambda registry: registry.group)
def test_a_name_of_another_package_stands_beside_our_own(registry: Registry, site: Path) -> None:
    own = set(registry)  # and what is installed now is found all the same
    install(site, "other_one", registry.group, "novel = other_one:inner.Thing", "class inner:\n    Thing = 7\n")
    assert set(registry) == own | {"novel"} and len(registry) == len(own) + 1
    assert registry.givers() == {"novel": "other_one 1.0"}
    assert resolve(registry, "novel", kind="thing") == 7


def test_nothing_is_imported_before_a_name_is_asked_for(site: Path) -> None:
    install(site, "explosive", "vltool.tasks", "bomb = explosive:Bomb", "raise ImportError('no such library')")
    assert "bomb" in TASKS and sorted(TASKS)
    assert resolve(TASKS, "vqa", kind="task").__name__ == "VisualQuestionAnswering"
    with pytest.raises(
        ConfigError, match=r"task 'bomb' is explosive:Bomb of explosive 1\.0, which does not load: no such"
    ):
        resolve(TASKS, "bomb", kind="task")


@pytest.mark.parametrize(
    ("package", "code", "says"),
    [
        ("slip", "class Task(:\n", r"SyntaxError: invalid syntax"),
        ("raiser", "raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("hollow", "", "has no attribute 'Task'"),
    ],
)
def test_a_package_that_does_not_load_is_named_whatever_is_wrong(
    site: Path, package: str, code: str, says: str
) -> None:
    install(site, package, "vltool.encoders", f"odd = {package}:Task", code or "# nothing here\n")
    with pytest.raises(
        ConfigError, match=rf"{package}:Task of {package} 1\.0, which does not load: .*{says}.* Mend or"
    ):
        resolve(ENCODERS, "odd", kind="encoder")


def test_a_name_that_vltool_has_is_refused_and_both_givers_named(site: Path) -> None:
    install(site, "impostor", "vltool.tasks", "vqa = impostor:Task")
    with pytest.raises(ConfigError, match=r"'vqa' of vltool\.tasks is given by vltool itself and .* of impostor 1\.0"):
        resolve(TASKS, "grounding", kind="task")
    with pytest.raises(ConfigError, match="pip uninstall impostor"):
        from_dict({"name": "n", "out": "o", "tasks": {}})


def test_a_name_that_two_packages_give_is_refused(site: Path) -> None:
    install(site, "first_one", "vltool.readers", "sheet = first_one:read")
    install(site, "second_one", "vltool.readers", "sheet = second_one:read")
    with pytest.raises(ConfigError, match=r"'sheet' of vltool\.readers is given by .*_one 1\.0 and .* of .*_one 1\.0"):
        list(READERS)


def test_an_unknown_name_lists_what_is_known_from_everywhere(site: Path) -> None:
    install(site, "other_two", "vltool.detectors", "grid = other_two:load")
    with pytest.raises(ConfigError, match="choose auto, builtin, detectron2, grid"):
        load_detector("gird")
    raw = {"name": "n", "out": "o", "features": {"backend": "gird"}, "tasks": {"vqa": {"train": [], "val": []}}}
    with pytest.raises(ConfigError, match=r"unknown features\.backend 'gird'; known: auto, builtin, detectron2, grid"):
        from_dict(raw)


def test_a_detector_that_goes_by_another_name_is_refused(site: Path) -> None:
    code = "class D:\n    backend = 'other'\n\n\ndef load(*, config_file, **rest):\n    return D()\n"
    install(site, "misnamed", "vltool.detectors", "grid = misnamed:load", code)
    with pytest.raises(ConfigError, match="its `backend` is 'other'; that must be the name of its entry point"):
        load_detector("grid")


def test_help_looks_at_no_installed_package(site: Path) -> None:
    code = (
        "import sys; sys.argv = ['vltool', '--help']\n"
        "from vltool.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "from vltool.registry import _foreign\n"
        "print(_foreign.cache_info().currsize, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True).stdout.splitlines()
    looked, *modules = shown[-1].split()
    assert looked == "0"
    heavy = {"torch", "numpy", "pandas", "spacy", "lmdb", "pydantic", "matplotlib", "optuna", "PIL", "yaml", "ray"}
    assert not heavy & set(modules), "heavy packages slow every `vltool --help` and every completion down"
