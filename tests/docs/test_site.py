"""The documentation builds strictly (every link and anchor leads somewhere), and asks no other host for anything."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "material"):
        if importlib.util.find_spec(package) is None:
            pytest.skip("mkdocs-material is not installed: pip install 'vltool[docs]'")
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    return out


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", text)
        assert not loaded, f"{page.relative_to(site)} loads {loaded[0]}"


def test_the_quickstart_is_the_readme(site: Path) -> None:
    page = (site / "quickstart" / "index.html").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings
    for heading in headings:
        assert heading in page
    assert 'href="../detectors/"' in page  # docs/detectors.md in the README


def test_every_page_has_its_place_in_the_navigation() -> None:
    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        items = part.values() if isinstance(part, dict) else part
        return [page for item in items for page in pages(item)]  # type: ignore[attr-defined]

    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert len(named) == len(set(named)) and set(named) == there
