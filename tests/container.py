"""Performs the steps of the Dockerfile without a container engine: its own RUN lines, in a folder that stands for /.

    python -m tests.container --target cpu --root /tmp/image      # packages are fetched, as an image's build does
    python -m tests.container --target cpu --root /tmp/image --offline   # those installed here stand for them

What needs an image is left out and said: system packages, users. Everything else runs as it stands: ARG, ENV, WORKDIR,
COPY (of what .dockerignore lets through), RUN, and at the end HEALTHCHECK, which decides the exit code.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.packaging.surroundings import ROOT, environment, others

OF_AN_IMAGE = ("apt-get", "useradd")
"""RUN lines that begin so are left out: they change the system."""


@dataclass
class Stage:
    """One FROM and the instructions below it, as (keyword, rest of the line)."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def of(self, keyword: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == keyword]


def read_dockerfile(text: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """ARGs before the first FROM, and the stages by name, in order."""
    whole = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for line in filter(None, (line.strip() for line in whole.splitlines())):
        keyword, _, rest = line.partition(" ")
        rest = re.sub(r"\s+", " ", rest).strip()
        if keyword == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()  # type: ignore[union-attr]
            stages[name] = Stage(name, base)
        elif stages:
            list(stages.values())[-1].instructions.append((keyword, rest))
        else:
            assert keyword == "ARG", line
            name, _, value = rest.partition("=")
            arguments[name] = value
    return arguments, stages


def needed(stages: dict[str, Stage], target: str) -> list[Stage]:
    """The stages that `target` is made from and itself, in the order of the file."""
    wanted = {target}
    for stage in reversed(stages.values()):
        if stage.name in wanted:
            wanted |= {stage.base, *re.findall(r"\bfrom=(\S+?)[, ]", " ".join(r for _, r in stage.instructions))}
    return [stage for stage in stages.values() if stage.name in wanted]


class Rehearsal:
    """A folder that stands for the image's root, and the variables that its commands see."""

    def __init__(
        self, root: Path, *, variables: dict[str, str], given: dict[str, str], say: Callable[[str], None] = print
    ):
        self.root, self.given, self.say = root, given, say
        self.variables = dict(variables)
        self.inherited: dict[str, dict[str, str]] = {}  # of each stage, for those that build on it
        shim = root / "usr/local/bin/python"  # as the images of Python have it
        shim.parent.mkdir(parents=True)
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        shim.chmod(0o755)
        self.variables["PATH"] = f"{shim.parent}:/usr/bin:/bin"

    def inside(self, text: str) -> str:
        """The same with the absolute paths of the image moved below the folder."""
        return re.sub(r"(?<![\w/.}])/(?=(?:opt|work|tmp)\b)", f"{self.root}/", text)

    def perform(self, stage: Stage) -> None:
        env = dict(self.inherited.get(stage.base, self.variables))
        where = self.root
        for keyword, rest in stage.instructions:
            if keyword == "ARG":
                name, _, value = rest.partition("=")
                env[name] = self.given.get(name, value.strip('"'))
            elif keyword == "ENV":
                for item in shlex.split(rest):
                    name, _, value = item.partition("=")
                    env[name] = self.inside(value.replace("$PATH", env["PATH"]))
            elif keyword == "WORKDIR":
                where = Path(self.inside(rest))
                where.mkdir(parents=True, exist_ok=True)
            elif keyword == "COPY":
                self.copy(rest.split(), where)
            elif keyword == "RUN":
                self.run(re.sub(r"--mount=\S+ ", "", rest), where, env)
        self.inherited[stage.name] = env

    def copy(self, words: list[str], where: Path) -> None:
        *sources, target = [word for word in words if not word.startswith("--")]
        if words[0].startswith("--from="):  # of another stage, which lies in the same folder here
            for source in sources:
                assert source == target or source.rpartition("/")[0] == target.rstrip("/"), (
                    f"COPY changes a path: {words}"
                )
                assert Path(self.inside(source)).exists(), f"{words[0]} has no {source}"
            return
        for source in sources:
            assert is_let_through(source), f".dockerignore keeps {source} out of the build"
            place = where / target / Path(source).name if len(sources) > 1 else where / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)

    def run(self, command: str, where: Path, env: dict[str, str]) -> None:
        if command.startswith(OF_AN_IMAGE):
            self.say(f"left out, needs an image: RUN {command[:60]} …")
            return
        self.say(f"RUN {command[:100]} …")
        subprocess.run(["sh", "-euc", self.inside(command)], cwd=where, env=env, check=True)

    def ask(self, stage: Stage, command: list[str]) -> subprocess.CompletedProcess[str]:
        """What a command prints in the finished image, begun in its working directory."""
        env = self.inherited[stage.name]
        found = shutil.which(command[0], path=env["PATH"])
        assert found, f"{command[0]} is not on the image's PATH {env['PATH']}"
        return subprocess.run([found, *command[1:]], cwd=self.root / "work", env=env, text=True, capture_output=True)


def is_let_through(source: str) -> bool:
    """Whether .dockerignore leaves a file or folder of the repository's root to the build."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(source, line.removeprefix("!")):
            kept = line.startswith("!")
    return kept


def rehearse(
    target: str, root: Path, *, offline: bool, given: dict[str, str], say: Callable[[str], None] = print
) -> tuple[Rehearsal, Stage]:
    """All steps of `target`. Raises CalledProcessError for a RUN line that fails."""
    arguments, stages = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    variables = environment(others(root / "packages")) if offline else environment(None)
    if not offline:
        for name in ("PIP_NO_INDEX", "PIP_CONFIG_FILE"):
            del variables[name]
    rehearsal = Rehearsal(root, variables=variables | arguments, given=given, say=say)
    for stage in needed(stages, target):
        say(f"== {stage.name}")
        rehearsal.perform(stage)
    return rehearsal, stages[target]


def inherited(stages: dict[str, Stage], name: str, keyword: str) -> str:
    """The last `keyword` of a stage or of those it builds on."""
    found = [rest for stage in _line(stages, name) for rest in stage.of(keyword)]
    return found[0] if found else ""


def _line(stages: dict[str, Stage], name: str) -> Iterator[Stage]:
    while name in stages:
        yield stages[name]
        name = stages[name].base


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--root", type=Path, required=True, help="an empty folder")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    given = dict(item.partition("=")[::2] for item in options.build_arg)
    rehearsal, stage = rehearse(options.target, options.root.resolve(), offline=options.offline, given=given)
    _, stages = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    check = json.loads(inherited(stages, stage.name, "HEALTHCHECK").partition(" CMD ")[2])
    healthy = rehearsal.ask(stage, check)
    sys.stdout.write(healthy.stdout + healthy.stderr)
    return healthy.returncode


if __name__ == "__main__":
    sys.exit(main())
