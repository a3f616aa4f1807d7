"""What a process does with memory that it frees."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from vltool.processor import LARGE_PAGE, TORCH_LARGE_PAGES, read_setting

COUNT_FRESH_PAGES = """
import resource, sys
import torch
from vltool.processor import keep_freed_memory

print(keep_freed_memory() if sys.argv[1] == "keep" else False)

def work():
    tensors = [torch.ones(7_900_000) for _ in range(8)]  # 250 MB, which go back together
    del tensors

for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_used_again() -> None:
    def fresh_pages(mode: str) -> tuple[str, int]:
        command = [sys.executable, "-c", COUNT_FRESH_PAGES, mode]
        plain = {**os.environ, TORCH_LARGE_PAGES: "0", "MALLOC_TRIM_THRESHOLD_": "131072"}  # glibc's first threshold
        told, pages = subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout.split()
        return told, int(pages)

    told, kept = fresh_pages("keep")
    assert told == "True"
    assert 10 * kept < fresh_pages("as it is")[1]


COUNT_LARGE_PAGES = """
import torch
from vltool.processor import keep_freed_memory

keep_freed_memory()
tensors = [torch.ones(6_000_000) for _ in range(8)]
rollup = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup") if line.count(":") == 1)
print(rollup["AnonHugePages:"])
"""


def large_pages_are_given_out() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return (
        setting.exists()
        and "[never]" not in setting.read_text()
        and read_setting("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") == str(LARGE_PAGE)
        and read_setting("/proc/sys/vm/overcommit_memory") != "2"
        and Path("/proc/self/smaps_rollup").exists()
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.skipif(not large_pages_are_given_out(), reason="this system gives out no large pages")
def test_tensors_lie_in_large_pages() -> None:
    command, without_torch_s = [sys.executable, "-c", COUNT_LARGE_PAGES], {**os.environ, TORCH_LARGE_PAGES: "0"}
    kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True, env=without_torch_s).stdout)
    assert kilobytes > 0  # how many depends on how scattered the machine's memory is


BEGIN_OF_TENSORS = """
import sys
if sys.argv[1] == "torch first":
    import torch
from vltool.processor import keep_freed_memory

keep_freed_memory()
import torch
print(*(torch.empty(bytes, dtype=torch.uint8).data_ptr() % 4096 for bytes in (2_097_153, 5_000_001, 9_437_184)))
"""


@pytest.mark.skipif(not large_pages_are_given_out(), reason="this system gives out no large pages")
@pytest.mark.parametrize("order", ["torch first", "torch later"])
def test_large_tensors_begin_at_a_page(order: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != TORCH_LARGE_PAGES}
    command = [sys.executable, "-c", BEGIN_OF_TENSORS, order]
    assert subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout.split() == ["0"] * 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_memory_without_room_for_large_pages_is_used_as_before() -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))\n" + COUNT_FRESH_PAGES
    command = [sys.executable, "-c", limited, "keep"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith("True")


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from vltool import processor

    monkeypatch.setenv(TORCH_LARGE_PAGES, "0")  # and put back afterwards
    monkeypatch.delenv(TORCH_LARGE_PAGES)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not processor.keep_freed_memory.__wrapped__() and TORCH_LARGE_PAGES not in os.environ
    monkeypatch.setattr(sys, "platform", "linux")

    class OtherLibrary:
        def mallopt(self, *_: int) -> int:
            raise AssertionError("not glibc's")

    monkeypatch.setattr(processor.ctypes, "CDLL", lambda _: OtherLibrary())
    assert not processor.keep_freed_memory.__wrapped__()
