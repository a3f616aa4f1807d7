"""A task, an encoder, a detector and a reader from outside the package: each page followed as it stands."""

from __future__ import annotations

import pytest

from tests.docs.conftest import Folder
from tests.docs.walk import DOCS, follow


@pytest.mark.slow
@pytest.mark.xdist_group("examples")
@pytest.mark.parametrize("what", ["a_task", "an_encoder", "a_detector", "a_reader"])
def test_the_page_adds_one_from_outside(what: str, folder: Folder) -> None:
    folder.walk("features")  # the world and its features
    assert follow(DOCS / f"adding_{what}.md", site=folder.site) >= 2
