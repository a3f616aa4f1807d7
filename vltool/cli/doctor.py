"""vltool doctor: what is installed, what is missing, what it means, what to type."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from vltool import __version__
from vltool.cli.console import print_json, print_lines
from vltool.cli.options import Json

SHOWN = ("torch", "torchvision", "numpy", "spacy", "lmdb")  # with their versions, of all that is required
SHARED_MEMORY = Path("/dev/shm")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Finding:
    """One line of the examination. fine: nothing to do; advice: what a lack costs and what to type.

    required: without it vltool does not work.
    """

    subject: str
    found: str
    fine: bool
    advice: str = ""
    required: bool = False


def examine() -> list[Finding]:
    """Everything that a run may need on this machine."""
    return [
        Finding("vltool", f"{__version__}, Python {platform.python_version()}", True),
        *_requirements(),
        _world_files(),
        _processor(),
        _memory(),
        _bfloat16(),
        _gpu(),
        _shared_memory(),
        _detectron2(),
        _ray(),
        _parser_model(),
        *_other_packages(),
        _disk(),
    ]


def command(json: Json = False) -> None:
    """What is installed, what is missing, what that costs, and what to type. Exit code 2: vltool cannot work."""
    findings = examine()
    works = all(finding.fine for finding in findings if finding.required)
    if json:
        print_json({"works": works, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = "ok  " if finding.fine else "MISS" if finding.required else "note"
            print_lines(f"{mark}  {finding.subject:18} {finding.found}")
            if finding.advice:
                print_lines(f"      {'':18} {finding.advice}")
    if not works:
        raise typer.Exit(2)


def _requirements() -> Iterator[Finding]:
    """The packages that vltool requires, each at a version that it works with."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("vltool") or []
    except importlib.metadata.PackageNotFoundError:
        advice = "it runs from a folder, so nobody has looked after what it requires: pip install ."
        yield Finding("installation", "vltool itself is not installed", False, advice)
        lines = []
    required = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate({"extra": ""})]
    good = 0
    for one in required:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(one.name, "missing", False, f"vltool requires it: pip install '{one}'", required=True)
            continue
        if one.specifier.contains(version, prereleases=True):
            good += 1
        else:
            advice = f"vltool requires {one.specifier}: pip install '{one}'"
            yield Finding(one.name, version, False, advice, required=True)
    if required and good == len(required):
        yield Finding("packages", f"all {good} that are required", True)
    for name in SHOWN:
        if importlib.util.find_spec(name) is not None:
            yield Finding(name, importlib.metadata.version(name), True)


def _world_files() -> Finding:
    world = Path(__file__).parents[1] / "world"
    files = ("detector/config.yaml", "detector/model.safetensors", "demo.yaml", "glove.world.50d.txt")
    missing = [name for name in files if not (world / name).is_file()]
    if not missing:
        return Finding("world detector", "in the package", True)
    advice = "the installation is not whole: pip install --force-reinstall --no-deps vltool"
    return Finding("world detector", f"{', '.join(missing)} missing", False, advice, required=True)


def _processor() -> Finding:
    name, flags = platform.machine(), set[str]()
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        described = ""
    if model := re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE):
        name = model[1].strip()
    if listed := re.search(r"^flags\s*:\s*(.+)$", described, re.MULTILINE):
        flags = set(listed[1].split())
    has = [flag for flag in FLAGS if flag in flags]
    found = f"{name}, {_num_cores()} cores to use" + (f", {' '.join(has)}" if has else "")
    if flags and "avx2" not in flags:
        return Finding("processor", found, True, "without AVX2 everything is slower")
    return Finding("processor", found, True)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    advice = "take search.jobs=1 and smaller batches"
    return Finding("memory", f"{total:.0f} GB", total > 3.5, "" if total > 3.5 else advice)


def _bfloat16() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("bfloat16", "unknown, torch is missing", False)
    from vltool.processor import has_bfloat16_units

    if has_bfloat16_units("cpu"):
        return Finding("bfloat16", "this processor multiplies matrices in bfloat16", True)
    advice = "training on the CPU uses float32"
    return Finding("bfloat16", "neither AMX nor AVX512-BF16 on this processor", True, advice)


def _gpu() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", "unknown, torch is missing", False)
    import torch

    if not torch.cuda.is_available():
        for_cuda = f"; torch is built for CUDA {torch.version.cuda} and finds no device" if torch.version.cuda else ""
        advice = "everything runs on the CPU; datasets of full size want a GPU. If there is one, look at: nvidia-smi"
        return Finding("GPU", f"none{for_cuda}", True, advice)
    cards = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return Finding("GPU", ", ".join(f"{card.name} ({card.total_memory / 1e9:.0f} GB)" for card in cards), True)


def _shared_memory() -> Finding:
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", f"no {SHARED_MEMORY}", True, "only Ray and NCCL (several GPUs) use it")
    size = shutil.disk_usage(SHARED_MEMORY).total / 1e9
    if size >= 1:
        return Finding("shared memory", f"{size:.1f} GB in {SHARED_MEMORY}", True)
    advice = "enough for one process; Ray and NCCL (several GPUs) want more: docker run --shm-size=4g"
    return Finding("shared memory", f"{1000 * size:.0f} MB in {SHARED_MEMORY}", False, advice)


def _detectron2() -> Finding:
    from vltool.detectors.load import HOW_TO_GET_DETECTRON2, why_no_detectron2

    reason = why_no_detectron2()
    if not reason:
        return Finding("detectron2", "installed", True, "--backend auto uses it for the detectors that it can run")
    found = "not installed" if reason.endswith("not installed") else reason
    return Finding("detectron2", found, True, f"{HOW_TO_GET_DETECTRON2}. The built-in runner gives the same numbers")


def _ray() -> Finding:
    if importlib.util.find_spec("ray") is None:
        advice = "work stays on this machine; for --engine ray: pip install 'vltool[ray]'"
        return Finding("Ray", "not installed", True, advice)
    return Finding("Ray", importlib.metadata.version("ray"), True)


def _parser_model() -> Finding:
    models = sorted(point.name for point in importlib.metadata.entry_points(group="spacy_models"))
    if models:
        return Finding("spaCy model", ", ".join(models), True, f"vltool predict --parser {models[0]} finds phrases")
    advice = (
        "only vltool predict --parser needs one; phrases in [brackets] work: python -m spacy download en_core_web_sm"
    )
    return Finding("spaCy model", "none", True, advice)


def _other_packages() -> Iterator[Finding]:
    """What other packages add: names that a configuration may use, and which of them do not load."""
    from vltool.errors import ConfigError
    from vltool.registry import DETECTORS, ENCODERS, READERS, TASKS, resolve

    for registry in (TASKS, ENCODERS, READERS, DETECTORS):
        try:
            len(registry)
            found = ", ".join(f"{name} ({giver})" for name, giver in sorted(registry.givers().items()))
        except ConfigError as error:
            yield Finding(registry.group, "not usable", False, str(error), required=True)
            continue
        if found:
            yield Finding(registry.group, found, True)
        for name in sorted(registry.givers()):
            try:
                resolve(registry, name, kind=registry.group.removeprefix("vltool.").removesuffix("s"))
            except ConfigError as error:
                yield Finding(f"{registry.group}.{name}", "does not load", False, str(error))


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding("disk", f"{free:.0f} GB free here", free > 5, "" if free > 5 else "a demo needs 1 GB, COCO 30 GB")
