"""Files of trained weights, read without running anything in them.

`.safetensors` holds arrays alone. `.pth`, `.bin`, `.pt` and `.pkl` are pickles and can carry code; here nothing but
arrays, numbers and plain containers is let through.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import CheckpointError, DataError
from vltool.plain_pickle import loads


def read_content(path: str | Path, *, next_step: str) -> Any:
    """What a file of weights holds: a mapping of names to arrays, often inside another with settings beside it.

    next_step: what to do where the file is not there. Raises CheckpointError where it is missing, cannot be read, or
    holds more than plain data.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise CheckpointError(f"{path}: no such weights file. vltool downloads nothing: {next_step}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: an empty file: was its download cut off?")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".pkl":
            return loads(path.read_bytes())
        import torch

        with torch.serialization.safe_globals(_numpy_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError as error:
        raise CheckpointError(
            f"{path}: {error}. Save the weights as .safetensors, or as a .pth of tensors alone"
        ) from error
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if "Unsupported" in line), f"{error!r:.200}").strip()
        raise CheckpointError(f"{path}: cannot be read as weights, or holds more than arrays: {reason}") from error


def _numpy_numbers() -> list[Any]:
    """A trainer's checkpoint keeps losses and learning rates, some of them as numpy numbers, beside the weights."""
    return [
        (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
        np.float64(0).__reduce__()[0],
        np.dtype,
        *(type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")),
    ]
