"""From a name and files to a detector; torch is imported only when one is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from vltool.detectors.detector import Detector
from vltool.detectors.names import NAMES_FILE, names_beside
from vltool.errors import CheckpointError, ConfigError
from vltool.registry import DETECTORS, resolve

HOW_TO_GET_DETECTRON2 = (
    "It is optional. It has no wheels: fetch its source (github.com/facebookresearch/detectron2) and run: "
    "pip install --no-build-isolation ./detectron2"
)


def load_detector(
    backend: str = "auto",
    *,
    config_file: str | Path | None = None,
    weights: str | Path | None = None,
    names_file: str | Path | None = None,
    precision: str = "auto",
    device: str = "auto",
    fold: bool | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Detector:
    """A detector ready to run; without files, the small one that was trained on the generated world.

    backend: "builtin", "detectron2", or "auto": detectron2 where it can be imported and runs this detector, else the
    built-in runner; or the name of another package's detector (docs/adding_a_detector.md), which gets the files as they
    are given. say: is told which one runs, and why.
    config_file, weights: detectron2's YAML (or maskrcnn-benchmark's, for VinVL) and `.pth`, `.pkl` or
    `.safetensors`. Without weights, the local file that MODEL.WEIGHTS names. names_file: class and attribute names
    (default: `classes.json`, or Visual Genome's published lists, beside the weights, if there).
    precision: "float32", "bfloat16" or "auto". device: "cpu", "cuda" or "auto".
    fold: merge batch normalizations into convolutions (built-in runner, always in bfloat16): faster, and rounded other
    last digits, of which a hundred layers of random weights can make 1e-4. None: where res5 is the head, as there most
    is won, and for the world detector.
    """
    if backend != "auto" and backend not in DETECTORS:
        raise ConfigError(f"--backend {backend!r}: choose auto, {', '.join(DETECTORS)}")
    if backend in DETECTORS.givers():
        say(f"backend {backend} of {DETECTORS.givers()[backend]}, as asked for")
        files = {"config_file": config_file, "weights": weights, "names_file": names_file}
        return load_foreign(backend, **files, precision=precision, device=choose_device(device))
    if config_file is None and weights is not None:
        raise ConfigError(f"--weights {weights} without --config-file: name the detectron2 YAML file of these weights")
    if config_file is None:
        config_file, weights, names_file = world_detector_files()
        fold = True if fold is None else fold
    weights = Path(weights) if weights is not None else weights_named_in(Path(config_file))
    names_file = names_beside(weights.parent) if names_file is None else names_file
    options = (
        str(config_file),
        str(weights),
        names_file and str(names_file),
        precision,
        choose_device(device),
        fold,
    )
    if backend == "auto":
        return load_by_choice(options, precision=precision, say=say)
    reason = why_no_detectron2() if backend == "detectron2" else ""
    if reason:
        raise ConfigError(f"--backend detectron2: {reason}. {HOW_TO_GET_DETECTRON2}")
    say(f"backend {backend}, as asked for")
    return resolve(DETECTORS, backend, kind="detector")(*options)


def load_foreign(backend: str, **options: Any) -> Detector:
    """The detector of another package's entry point. Raises ConfigError where it goes by another name."""
    detector: Detector = resolve(DETECTORS, backend, kind="detector")(**options)
    if detector.backend != backend:  # stores remember it, and load the detector again by it
        raise ConfigError(
            f"detector {backend!r} of {DETECTORS.givers()[backend]}: its `backend` is {detector.backend!r}; "
            "that must be the name of its entry point"
        )
    return detector


def load_by_choice(options: tuple[Any, ...], *, precision: str, say: Callable[[str], None]) -> Detector:
    """The detector run by detectron2 where that can be, else by the built-in runner, which gives the same numbers."""
    reason = why_no_detectron2()
    if not reason and precision == "bfloat16":
        reason = "detectron2 computes in float32 only"
    if not reason:
        try:
            detector = resolve(DETECTORS, "detectron2", kind="detector")(*options)
        except (ConfigError, CheckpointError) as error:
            reason = f"detectron2 cannot run this detector: {error}"
        else:
            say("backend detectron2: it is installed and runs this detector")
            return detector
    say(f"backend builtin: {reason}")
    return resolve(DETECTORS, "builtin", kind="detector")(*options)


def why_no_detectron2() -> str:
    """Why detectron2 cannot be used here; "" if it can."""
    if importlib.util.find_spec("detectron2") is None:
        return "detectron2 is not installed"
    from vltool.detectors.detectron2 import why_not_importable

    return why_not_importable()


def world_detector_files() -> tuple[Path, Path, Path]:
    """Configuration, weights and names of the detector that comes with the package."""
    folder = Path(str(resources.files("vltool.world") / "detector"))
    files = folder / "config.yaml", folder / "model.safetensors", folder / NAMES_FILE
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"{file}: missing from this installation of vltool; reinstall it, or give --config-file"
            )
    return files


def weights_named_in(config_file: Path) -> Path:
    """The local file that a configuration names in MODEL.WEIGHTS, relative to the working directory or to itself."""
    from vltool.detectors.faster_rcnn.yaml_file import flatten, load_yaml

    keys = flatten(load_yaml(config_file))
    named = keys.get("MODEL.WEIGHTS", keys.get("MODEL.WEIGHT", ""))  # the latter is maskrcnn-benchmark's
    if not isinstance(named, str):
        raise ConfigError(f"{config_file}: MODEL.WEIGHTS = {named!r:.80}, expected the name of a file")
    if not named:
        raise ConfigError(f"{config_file}: MODEL.WEIGHTS is empty; name the weights file with --weights")
    if "://" in named:
        raise CheckpointError(
            f"{config_file}: MODEL.WEIGHTS = {named!r}: vltool downloads nothing; "
            "fetch that file and name it with --weights"
        )
    for candidate in (Path(os.path.expanduser(named)), config_file.parent / named):
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{config_file}: MODEL.WEIGHTS = {named!r}: no such file; name the weights file with --weights"
    )


def choose_device(device: str) -> str:
    """ "cpu" or "cuda" for "auto"; any other name as it is, if torch has it."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ConfigError(f"--device {device!r}: {error}") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device {device!r}: torch finds no CUDA device; use --device cpu")
    return device
