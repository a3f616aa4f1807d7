"""Writes docs/licences.md from what the installed packages say of themselves: python -m tests.packaging.licences"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.surroundings import ROOT

PAGE = ROOT / "docs" / "licences.md"
GROUPS = ("vltool", "ray", "docs", "dev")
SHORT = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
HEAD = """# Licences

What vltool depends on and under which licences, as the packages' own metadata say. Made by
`python -m tests.packaging.licences`; a test compares it with `constraints.txt`. vltool itself is Apache-2.0, and none
of these is part of its wheel: pip installs them beside it. `for`: what brings the package first, vltool itself or one
of its extras.

NVIDIA's packages come with PyPI's torch, under NVIDIA's own terms; the CPU wheels of torch do without.

| package | licence | for |
|---|---|---|
"""


def pinned() -> list[str]:
    """The packages of constraints.txt, as it spells them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line]


def licence_of(package: Distribution) -> str:
    """SPDX's name where the metadata has one, else the classifiers, else the first line of the licence."""
    expression = package.metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = package.metadata.get_all("Classifier") or []
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    named = [
        SHORT.get(name, name)
        for name in named
        if name not in ("OSI Approved", "Other/Proprietary License", "DFSG approved")
    ]
    if named:
        return " / ".join(named)
    stated = (package.metadata.get("License") or "").strip().splitlines()
    if stated and stated[0].lower() != "unknown":
        return SHORT.get(stated[0], stated[0])[:60]
    return licence_file(package)


def licence_file(package: Distribution) -> str:
    """The licence by the text of its file."""
    for file in package.files or []:
        if re.match(r"(?i)(licen[cs]e|copying)", file.name):
            text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")[:3000]
            for mark, name in (
                ("Apache License", "Apache-2.0"),
                ("Permission is hereby granted, free of charge", "MIT"),
                ("Redistribution and use in source and binary forms", "BSD"),
                ("NVIDIA", "NVIDIA's own"),
            ):
                if mark in text:
                    return name
    return (
        "not said (a name for several packages)"
        if not package.files or all(".dist-info" in str(f) for f in package.files)
        else "unknown"
    )


def groups() -> dict[str, str]:
    """For each package, the first group that brings it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"vltool": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, str] = {}
    for group in GROUPS:
        waiting = [Requirement(line) for line in wanted[group]]
        while waiting:
            one = waiting.pop()
            name = canonicalize_name(one.name)
            if name in found or (
                one.marker is not None and not any(one.marker.evaluate({"extra": e}) for e in ("", *one.extras))
            ):
                continue
            found[name] = group
            try:
                lines = distribution(name).requires or []
            except PackageNotFoundError:
                continue
            for further in map(Requirement, lines):
                if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in ("", *one.extras)):
                    waiting.append(
                        Requirement(f"{further.name}[{','.join(further.extras)}]" if further.extras else further.name)
                    )
    return found


def table() -> str:
    """The page. Raises PackageNotFoundError where a pinned package is not installed."""
    brought = groups()
    rows = []
    for name in pinned():
        group = brought.get(canonicalize_name(name), "dev")
        licence = licence_of(distribution(name)).replace("|", "\\|")
        rows.append(f"| {name} | {licence} | {group if group == 'vltool' else f'extra `{group}`'} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: {len(pinned())} packages\n")
