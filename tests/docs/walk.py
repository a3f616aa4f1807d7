"""Does what a page says: writes the files it shows, runs the commands it shows, and compares what they print.

```yaml title="run.yaml"        a file, written as it stands
```console                      `$ ` begins a command, what follows are lines that it must print, in this order
$ vltool world world --train 12 --json
{"out": "world", "pictures": 12, …}

Among the lines that are printed there may be others. Any number stands for a number, `…` for anything, and blanks and
rules of tables may be as long as they like.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from vltool.cli.app import app
from vltool.errors import VltoolError

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page. title: the file that it is, if any."""

    language: str
    title: str
    text: str


@dataclass(frozen=True)
class Example:
    """A command and the lines that a page says it prints."""

    command: str
    promised: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def examples(block: Block) -> Iterator[Example]:
    """The commands of a console block, lines that end with a backslash put together."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", " ").partition("\n")
        yield Example(command, tuple(line for line in output.splitlines() if line.strip()))


def follow(page: Path, *, site: Path | None = None) -> int:
    """Do what `page` says in the working directory; how many commands it ran. site: where pip installs to."""
    done = 0
    for block in blocks(page):
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for example in examples(block):
                printed = run(example.command, site=site)
                compare(example, printed, page)
                done += 1
    return done


def run(command: str, *, site: Path | None = None) -> str:
    """What a command prints, on stdout and stderr; vltool's in this process, where torch is loaded already."""
    words = shlex.split(command)
    if words[0] == "vltool":
        result = CliRunner().invoke(app, words[1:], prog_name="vltool")
        if isinstance(result.exception, VltoolError):
            return result.output + f"vltool: {result.exception}\n"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output
    if words[:2] == ["pip", "install"]:
        assert site is not None, f"this page must not install anything: {command}"
        apart = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
        words = [sys.executable, "-m", "pip", "install", *apart, *words[2:]]
    elif words[0] == "python":
        words[0] = sys.executable
    else:
        raise AssertionError(f"the pages run vltool, pip install and python only: {command}")
    return subprocess.run(words, check=True, text=True, capture_output=True).stdout


def compare(example: Example, printed: str, page: Path) -> None:
    """Every promised line is printed, in order."""
    lines = iter(printed.splitlines())
    for promise in example.promised:
        pattern = re.compile(".*?".join(re.escape(plain(part)) for part in promise.split("…")))
        assert any(pattern.fullmatch(plain(line)) for line in lines), (
            f"{page.name}: `{example.command}` does not print this line (or not in this order):\n{promise}\n"
            f"It printed:\n{printed}"
        )


def plain(line: str) -> str:
    """A line without what may differ: numbers, and how wide blanks and rules are."""
    return re.sub(r"[━─]+", "─", re.sub(r"\s+", " ", NUMBER.sub("0", line))).strip()
