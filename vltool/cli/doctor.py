"""vltool doctor: what is installed, what is missing, what it means, what to type."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from vltool import __version__
from vltool.cli.console import print_json, print_lines
from vltool.cli.options import Json


@dataclass(frozen=True)
class Finding:
    """One line of the examination. fine: nothing to do; advice: what a lack costs and what to type."""

    subject: str
    found: str
    fine: bool
    advice: str = ""


def examine() -> list[Finding]:
    """Everything that a run may need on this machine."""
    return [
        Finding("vltool", f"{__version__}, Python {platform.python_version()}", True),
        *(_package(name) for name in ("torch", "torchvision", "spacy", "lmdb")),
        _bfloat16(),
        _gpu(),
        _detectron2(),
        _world_detector(),
        _disk(),
    ]


def command(json: Json = False) -> None:
    """What is installed, what is missing, what that costs, and what to type."""
    findings = examine()
    if json:
        print_json({"findings": [asdict(finding) for finding in findings]})
        return
    for finding in findings:
        mark = "ok  " if finding.fine else "note"
        print_lines(f"{mark}  {finding.subject:18} {finding.found}")
        if finding.advice:
            print_lines(f"      {'':18} {finding.advice}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name), True)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", False, f"it belongs to vltool's own requirements: pip install {name}")


def _bfloat16() -> Finding:
    from vltool.processor import has_bfloat16_units

    if has_bfloat16_units("cpu"):
        return Finding("bfloat16", "this processor multiplies matrices in bfloat16", True)
    return Finding(
        "bfloat16", "neither AMX nor AVX512-BF16 on this processor", True, "training on the CPU uses float32"
    )


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", torch.cuda.get_device_name(0), True)
    return Finding("GPU", "none", True, "everything runs on the CPU; datasets of full size want a GPU")


def _detectron2() -> Finding:
    from vltool.detectors.load import HOW_TO_GET_DETECTRON2, why_no_detectron2

    reason = why_no_detectron2()
    if not reason:
        return Finding("detectron2", "installed", True, "--backend auto uses it for the detectors that it can run")
    found = "not installed" if reason.endswith("not installed") else reason
    return Finding("detectron2", found, True, f"{HOW_TO_GET_DETECTRON2}. The built-in runner gives the same numbers")


def _world_detector() -> Finding:
    folder = Path(__file__).parents[1] / "world" / "detector"
    if (folder / "model.safetensors").exists() and (folder / "config.yaml").exists():
        return Finding("world detector", "in the package", True)
    return Finding("world detector", "missing", False, "the installation is not whole: install vltool again")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding("disk", f"{free:.0f} GB free here", free > 5, "" if free > 5 else "a demo needs 1 GB, COCO 30 GB")
