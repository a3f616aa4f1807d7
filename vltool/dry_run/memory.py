"""How much memory this process, or its GPU, has held at most."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch


def peak_bytes(device: torch.device) -> int:
    """The most that was held since `restart_peak`: on a GPU what torch has given out, else the process's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _status_bytes("VmHWM")


def restart_peak(device: torch.device) -> int:
    """Forget the peak so far; gives what is held now. Where the system does not let it, the peak stays."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def machine_bytes() -> int:
    """The memory of this machine; 0 where it cannot be told."""
    return _kilobytes(Path("/proc/meminfo"), "MemTotal")


def _status_bytes(name: str) -> int:
    return _kilobytes(Path("/proc/self/status"), name)


def _kilobytes(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
