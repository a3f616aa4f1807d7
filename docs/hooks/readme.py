"""Pages that are files of the repository: shown from there, so that there is no second copy to fall behind.

A page whose whole text is `<!-- README.md -->` is that file, with its links turned to where the pages lie.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_WHOLE_FILE = re.compile(r"<!-- ([\w.]+) -->\s*")
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page, or of the file that it names."""
    found = _WHOLE_FILE.fullmatch(markdown)
    return markdown if found is None else from_root((ROOT / found[1]).read_text(encoding="utf-8"))


def from_root(markdown: str) -> str:
    """The text of a file in the repository's root as a page: links into docs/ lead to pages, others are plain."""

    def turned(link: re.Match[str]) -> str:
        text, target = link.groups()
        if target.startswith("docs/") and target.endswith(".md"):
            return f"[{text}]({target.removeprefix('docs/')})"
        return text if text == target else f"{text} (`{target}` in the repository)"

    return _LINK.sub(turned, markdown)
