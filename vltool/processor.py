"""What the processor or GPU multiplies fast, checked and never assumed; and how a process keeps its memory."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import sys
from pathlib import Path
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


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # <malloc.h>
NEVER = -1
USUAL_TOP_PAD = 128 << 10
LARGEST_KEPT = 32 << 20
"""The largest threshold that glibc takes, in bytes; what is larger goes back to the system when it is freed."""

TORCH_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""Tells torch, before it first takes memory, to begin each tensor of 2 MB or more at a page, and to ask for large ones.

Where all begin alike within a page, a pass over several of them that caches do not hold takes two thirds of its time.
"""

MADV_HUGEPAGE = 14  # <sys/mman.h>
LARGE_PAGE = 2 << 20
IN_LARGE_PAGES = (2 << 30) - LARGE_PAGE
"""How much of a process's memory is asked for in large pages, in bytes: nearly the most that M_TOP_PAD takes."""
MOST_BLOCKS = 64


def read_setting(path: str) -> str:
    """Of Linux; "" where it is not there."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process use again what it frees, in large pages where the system has them; whether glibc was told so.

    By itself glibc gives back what lies free at the end of its memory, and takes fresh pages for the next tensor, which
    the system empties first: up to a third of a training step on a processor with AMX. What the process holds stays at
    its peak instead. Other C libraries are left as they are. It is told after torch is there: earlier, threads wait;
    and once a process.
    """
    import torch  # noqa: F401

    if not sys.platform.startswith("linux"):
        return False
    if has_large_pages():
        os.environ.setdefault(TORCH_LARGE_PAGES, "1")
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  an AttributeError where the library is another
        told = library.mallopt(M_TRIM_THRESHOLD, NEVER) and library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        if told:
            library.mallopt(M_ARENA_MAX, 1)  # all threads share that memory, where none had its own before
            ask_for_large_pages(library)
    except (OSError, AttributeError):
        return False
    return bool(told)


def has_large_pages() -> bool:
    """Whether the system gives out pages of 2 MB, and neither none nor larger ones."""
    return read_setting("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") == str(LARGE_PAGE)


def ask_for_large_pages(library: ctypes.CDLL) -> int:
    """Extend glibc's memory by addresses that the system is to fill with large pages; how many bytes of them.

    In pages of 4 KB the processor looks up an address for every 4 KB that it reads, which on a virtual machine takes
    as long as the reading. Addresses alone take no memory. 0 where there is no room for them, where the system gives
    out no large pages or larger ones than these, and where it reserves memory for every address.
    """
    if not has_large_pages() or read_setting("/proc/sys/vm/overcommit_memory") == "2":
        return 0
    try:
        mmap.mmap(-1, IN_LARGE_PAGES + LARGEST_KEPT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:  # a limit of this process
        return 0
    library.sbrk.restype, library.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    end: int = library.sbrk(0)
    taken: list[int | None] = []
    library.mallopt(M_TOP_PAD, IN_LARGE_PAGES)
    try:
        while library.sbrk(0) == end and None not in taken and len(taken) < MOST_BLOCKS:
            taken.append(library.malloc(LARGEST_KEPT // 2))  # of what lies free already first
    finally:
        library.mallopt(M_TOP_PAD, USUAL_TOP_PAD)
        for block in taken:
            library.free(block)
    first = -(-end // LARGE_PAGE) * LARGE_PAGE
    size: int = (library.sbrk(0) - first) // LARGE_PAGE * LARGE_PAGE
    return size if size > 0 and library.madvise(first, size, MADV_HUGEPAGE) == 0 else 0
