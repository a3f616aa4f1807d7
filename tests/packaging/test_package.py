"""The wheel and the sdist: what is in them, and that an empty environment needs nothing of the repository."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.surroundings import ROOT, environment, requirements, run

IN_THE_WHEEL = (
    "vltool/py.typed",
    "vltool/report/page.html.j2",
    "vltool/world/demo.yaml",
    "vltool/world/glove.world.50d.txt",
    "vltool/world/detector/config.yaml",
    "vltool/world/detector/model.safetensors",
    "vltool/world/detector/classes.json",
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built as `pip wheel` and `pip install SDIST` do, by hatchling."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: pip install hatchling")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", out, where=ROOT, env=environment(None))
    return out


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def names(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    found = names(wheel)
    assert set(IN_THE_WHEEL) <= found
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vltool").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == there


def test_the_wheel_says_what_it_requires_and_gives_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
    metadata = archive.read(f"{info}METADATA").decode()
    assert re.search(r"^Requires-Python: >=3\.11$", metadata, re.MULTILINE)
    assert {"ray", "docs", "dev"} <= set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE))
    assert "vltool = vltool.cli.app:main" in archive.read(f"{info}entry_points.txt").decode()
    assert "licenses/LICENSE" in " ".join(archive.namelist())


def test_the_sdist_makes_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("vltool-*"))
    for file in (
        "README.md",
        "SECURITY.md",
        "Dockerfile",
        "Makefile",
        "mkdocs.yml",
        "tests/conftest.py",
        "docs/data.md",
    ):
        assert (source / file).is_file(), file
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "--directory",
        tmp_path / "again",
        where=source,
        env=environment(None),
    )
    assert names(next((tmp_path / "again").glob("*.whl"))) == names(wheel)


class Installed:
    """An empty virtual environment in which pip installed the wheel, beside what the wheel requires."""

    def __init__(self, wheel: Path, place: Path, *extras: str) -> None:
        self.place = place
        self.env = environment(requirements(place / "packages", wheel, *extras))
        venv.create(place / "venv", with_pip=False)
        self.bin = place / "venv" / "bin"
        wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        pip = (sys.executable, "-m", "pip", "--python", self.bin / "python")
        run(*pip, "install", "--quiet", wanted, where=place, env=self.env)  # which asks no index: all is there
        run(*pip, "check", where=place, env=self.env)
        (place / "empty").mkdir()

    def __call__(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        first, *rest = command
        return run(self.bin / first, *rest, where=self.place / "empty", env={**self.env, **variables}, check=check)


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


@pytest.mark.slow
@pytest.mark.xdist_group("installed")
def test_an_empty_folder_is_all_that_the_commands_need(installed: Installed) -> None:
    where = installed("python", "-c", "import vltool; print(vltool.__file__)").stdout
    assert where.startswith(str(installed.place / "venv"))
    health = json.loads(installed("vltool", "doctor", "--json").stdout)
    assert health["works"]
    assert {"Ray", "detectron2"} <= {one["subject"] for one in health["findings"] if one["found"] == "not installed"}
    assert "--seed" in installed("vltool", "demo", "--help").stdout
    installed("vltool", "world", "world", "--train", "4", "--val", "4", "--test", "4")
    options = ("--out", "store", "--image-id", "world:{number}", "--json")
    done = json.loads(installed("vltool", "extract-features", "world/images", *options).stdout)
    assert done["images"] == done["stored"] > 12 and done["backend"] == "builtin"


@pytest.mark.slow
@pytest.mark.xdist_group("installed")
def test_every_module_needs_only_what_the_package_requires(installed: Installed) -> None:
    code = """
import importlib, pkgutil, vltool
for module in pkgutil.walk_packages(vltool.__path__, "vltool."):
    if module.name not in ("vltool.__main__", "vltool.detectors.detectron2"):
        importlib.import_module(module.name)
print(len(list(pkgutil.walk_packages(vltool.__path__, "vltool."))))
"""
    assert int(installed("python", "-c", code).stdout) > 100


@pytest.mark.slow
@pytest.mark.xdist_group("installed")
def test_the_shell_completes_commands_and_options(installed: Installed) -> None:
    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        shown = installed("vltool", check=False, _VLTOOL_COMPLETE="complete_bash", **words).stdout
        return shown.split()

    assert completed("vltool ext") == ["extract-features"]
    assert "merge" in completed("vltool features ")
    assert "--box-format" in completed("vltool extract-features --box")
    assert completed("vltool extract-features --backend b") == ["builtin"]


@pytest.mark.slow
def test_an_extra_brings_what_it_is_for(wheel: Path, tmp_path: Path) -> None:
    with_ray = Installed(wheel, tmp_path, "ray")
    health = json.loads(with_ray("vltool", "doctor", "--json").stdout)
    ray = next(one for one in health["findings"] if one["subject"] == "Ray")
    assert ray["found"] != "not installed"
