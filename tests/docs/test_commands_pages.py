"""Every command has a page, and the examples of the pages give what the pages say."""

from __future__ import annotations

import re

import pytest

from tests.docs.conftest import COMMANDS, Folder
from tests.docs.walk import DOCS, blocks, compare, examples
from tests.docs.walk import Example as Promise
from vltool.cli.app import app

PAGES = sorted((DOCS / "commands").glob("*.md"))


def test_every_command_has_a_page_and_every_page_is_walked() -> None:
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert names | {"index"} == {page.stem for page in PAGES} == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_own_command(page) -> None:  # type: ignore[no-untyped-def]
    text = page.read_text(encoding="utf-8")
    assert page.stem == "index" or text.startswith(f"# vltool {page.stem}\n")
    commands = [example.command for block in blocks(page) for example in examples(block) if block.language == "console"]
    assert page.stem == "index" or any(command.startswith(f"vltool {page.stem}") for command in commands)
    assert not re.search(r"^x$", text, re.MULTILINE)


def test_a_promise_that_is_not_kept_is_found() -> None:
    page = DOCS / "commands" / "world.md"
    example = Promise("vltool world", ("world: 48 pictures, …", "clean"))
    compare(example, "a bar\nworld: 12 pictures, 3 objects\n  clean\n", page)
    for printed in ("world: 12 pictures\nclean\n", "clean\nworld: 12 pictures, 3 objects\n", ""):
        with pytest.raises(AssertionError, match="does not print this line"):
            compare(example, printed, page)


@pytest.mark.slow
@pytest.mark.xdist_group("examples")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_page_give_what_it_says(command: str, folder: Folder) -> None:
    assert folder.walk(command) > 0 or command == "index"
