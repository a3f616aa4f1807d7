"""Fuzzing for as long as one likes: python -m tests.fuzz [TARGET ...] --seconds 60

Each target in turn. With atheris (pip install atheris) the binary ones are led by the coverage of vltool's own code;
otherwise, and for the others, by chance. An input that makes a reader do what it must not is written to
tests/fuzz/found/ and ends the target; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

FOUND = Path(__file__).parent / "found"


def by_chance(name: str, seconds: float, seed: int) -> tuple[int, str]:
    """How many inputs were tried, and what went wrong."""
    from tests.fuzz.changes import changed
    from tests.fuzz.targets import TARGETS

    target, draw = TARGETS[name], random.Random(seed)
    pool = list(target.seeds)
    tried, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        data = changed(draw.choice(pool), target.kind, draw)
        tried += 1
        try:
            was_read = target(data)
        except Exception as error:  # noqa: BLE001 - the finding
            return tried, keep(name, data, error)
        if was_read and len(pool) < 200 and len(data) < 20_000:
            pool.append(data)  # what is read although it was changed leads further
    return tried, ""


def keep(name: str, data: bytes, error: BaseException) -> str:
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{abs(hash(data)) % 10**8:08}"
    path.write_bytes(data)
    return f"{path}: {error!r:.300}"


def by_coverage(name: str, seconds: int, seed: int) -> tuple[int, str]:
    """The same by atheris, in a process of its own, which ends with its first finding."""
    FOUND.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--atheris", "--seconds", str(seconds), "--seed", str(seed)],
        text=True,
        errors="replace",
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    shown = done.stdout + done.stderr
    tried = [
        int(number) for number in re.findall(r"(?:stat::number_of_executed_units:\s*|^Done |^#)(\d+)", shown, re.M)
    ]
    wrong = "" if done.returncode == 0 else f"atheris ended with {done.returncode}: {shown[-1500:]}"
    return max(tried, default=0), wrong


def run_atheris(name: str, seconds: int, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["vltool"], enable_loader_override=False):
        from tests.fuzz.target import scratch
        from tests.fuzz.targets import TARGETS
    corpus = scratch() / f"corpus-{name}"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(TARGETS[name].seeds):
        (corpus / str(number)).write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-seed={seed or 1}", "-print_final_stats=1", "-rss_limit_mb=4096"]
    options += ["-timeout=20", "-max_len=20000", f"-artifact_prefix={FOUND}/{name}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="one target, in this process")
    parser.add_argument("--by-chance", action="store_true", help="do without atheris")
    options = parser.parse_args()
    if options.atheris:
        run_atheris(options.targets[0], options.seconds, options.seed)
        return 0
    from tests.fuzz.targets import TARGETS

    led = importlib.util.find_spec("atheris") is not None and not options.by_chance
    findings = total = 0
    for name in options.targets or TARGETS:
        way = by_coverage if led and TARGETS[name].kind == "bytes" else by_chance
        tried, wrong = way(name, options.seconds, options.seed)
        total += tried
        findings += bool(wrong)
        sys.stdout.write(
            f"{name:22} {tried:12,} inputs {way.__name__.replace('_', ' '):12} {wrong or 'nothing found'}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{total:,} inputs, {findings} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
