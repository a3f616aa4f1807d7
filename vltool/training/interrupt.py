"""Ctrl-C and SIGTERM as a wish that a training fulfils when its update is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = "stopping after this update, and saving; Ctrl-C again leaves at once, without saving"

_DEFAULTS: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


@contextmanager
def wish_to_stop(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """A function that tells whether a signal asked to stop, while the block runs.

    A second Ctrl-C interrupts at once. Handlers that others have set are left alone, and so is every thread but the
    main one. say: told once when the first signal comes.
    """
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        if not asked:
            asked.append(number)
            threading.Thread(target=say, args=(STOPPING,), daemon=True).start()  # what it interrupted may hold a lock
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number, default in _DEFAULTS.items() if is_main and signal.getsignal(number) == default]
    for number in ours:
        signal.signal(number, note)
    try:
        yield lambda: bool(asked)
    finally:
        for number in ours:
            signal.signal(number, _DEFAULTS[number])
