"""What the processor or GPU multiplies fast, checked and never assumed; and how a process keeps its memory."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BFLOAT16_UNITS = (
    "amx_bf16",
    "avx512_bf16",
)  # Intel's tiles; dot products of Intel's Cooper Lake, AMD's Zen 4 and later


def has_bfloat16_units(device: torch.device | str) -> bool:
    """Whether `device` multiplies matrices in bfloat16 faster than in float32."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.9
    if known:
        return any(known.get(unit, False) for unit in BFLOAT16_UNITS)
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # before; private, and so may be missing
    return any(getattr(torch.cpu, test, bool)() for test in tests)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
LARGEST_KEPT = 32 << 20
"""The largest threshold that glibc takes, in bytes; what is larger goes back to the system when it is freed."""


def keep_freed_memory() -> bool:
    """Let this process use again what it frees, rather than give it back; whether the C library was told so.

    By itself glibc gives back what lies free at the end of its memory, and takes fresh pages for the next tensor, which
    the system empties first: up to a third of a training step on a processor with AMX. What the process holds stays at
    its peak instead. Other C libraries are left as they are. It is told after torch is there: earlier, threads wait.
    """
    import torch  # noqa: F401

    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  an AttributeError where the library is another
        told = library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    except (OSError, AttributeError):
        return False
    return bool(told)
