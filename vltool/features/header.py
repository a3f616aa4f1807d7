"""What a feature store says about itself: who made its features, how, and of what width.

{"format": "vltool-region-store", "version": 1, "backend": "builtin", "fingerprint": "39f72daa...",
 "recipe": {"name": "bottom-up", "min_boxes": 10, ...}, "feature_dim": 2048, "dtype": "float16",
 "precision": "float32", "detector": {"name": "R101-C4", "config": {...}},
 "class_names": [...], "attribute_names": [...], "versions": {"vltool": "0.1.0", "torch": "2.6.0", ...}}
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from vltool.errors import StoreError

FORMAT, VERSION = "vltool-region-store", 1
DTYPES = ("float16", "float32")
# Features that differ in one of these do not belong into one store.
IDENTITY = ("backend", "fingerprint", "recipe", "feature_dim", "dtype", "precision")


def make_header(
    *,
    feature_dim: int,
    dtype: str = "float16",
    backend: str,
    fingerprint: str,
    recipe: Mapping[str, Any],
    precision: str = "float32",
    detector: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    attribute_names: Sequence[str] = (),
) -> dict[str, Any]:
    """The header of a store, JSON values.

    backend: "builtin", "detectron2", or the format the features were imported from. fingerprint: of the detector,
    or of whatever else decides what the features are. recipe: {"name": ..., and its numbers}.
    """
    if dtype not in DTYPES:
        raise StoreError(f"--dtype {dtype!r}: choose {', '.join(DTYPES)}")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "backend": backend,
        "fingerprint": fingerprint,
        "recipe": dict(recipe),
        "feature_dim": int(feature_dim),
        "dtype": dtype,
        "precision": precision,
        "detector": dict(detector or {}),
        "class_names": list(class_names),
        "attribute_names": list(attribute_names),
        "versions": versions(),
    }
    return json.loads(json.dumps(header))  # what a reader will see: tuples are lists


def versions() -> dict[str, str]:
    """Versions of what makes features."""
    found = {"python": platform.python_version()}
    for package in ("vltool", "torch", "torchvision", "pillow", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            found[package] = "unknown"
    return found


def check_same_origin(found: Mapping[str, Any], wanted: Mapping[str, Any], *, where: str) -> None:
    """Raises StoreError unless features of `wanted` can be added to a store with the header `found`."""
    for name in IDENTITY:
        if found.get(name) != wanted.get(name):
            raise StoreError(
                f"{where}: its features were made with {name} {found.get(name)!r}, now it is {wanted.get(name)!r}. "
                "Write to another store (--out), or repeat the options it was made with; to replace it, delete it first"
            )


def region_source(header: Mapping[str, Any]) -> str:
    """Whose regions a store holds, as it stands beside scores of finding one: backend and recipe."""
    return f"{header.get('backend')} {header.get('recipe', {}).get('name', '')}".strip()
