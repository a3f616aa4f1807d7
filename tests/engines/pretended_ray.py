"""As much of Ray as `launch_on_ray` uses, in this process: actors that can be lost, and what is asked of them.

With it the rules of restarting are tested in moments; that Ray does what is asked is tested with Ray itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException):
        super().__init__(str(cause))
        self.cause = cause


class RayActorError(RayError):
    pass


class Actor:
    """An object whose methods are called with `.remote(…)`. lost: its node is gone, and it does not answer."""

    def __init__(self, own: Any):
        self.own, self.lost = own, False

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *values: self._call(name, *values))

    def _call(self, name: str, *values: Any) -> object:
        answer = Answer()
        if self.lost:
            answer.error = RayActorError("lost")
            return answer
        try:
            answer.value = getattr(self.own, name)(*values)
        except Exception as error:  # noqa: BLE001 - as Ray hands it back
            answer.error = RayTaskError(error)
        return answer

    def lose(self) -> None:
        """What is left when an actor's process dies: the pipe that it held is closed, which ends the process below."""
        if not self.lost:
            self.lost = True
            os.close(self.own._held)


class Answer:
    value: Any = None
    error: RayError | None = None


class PretendedRay:
    """rooms: whether there is room for a group, asked every time; None says no more. groups: the actors of each."""

    def __init__(self, has_room: Callable[[], bool] = lambda: True, cores: float = 8):
        self.has_room, self.cores = has_room, cores
        self.groups: list[list[Actor]] = []
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RayActorError=RayActorError)
        strategies = SimpleNamespace(PlacementGroupSchedulingStrategy=lambda group, rank: (group, rank))
        self.util = SimpleNamespace(
            placement_group=self._group, remove_placement_group=lambda group: None, scheduling_strategies=strategies
        )

    def _group(self, bundles: list[dict[str, float]], strategy: str) -> Any:
        self.groups.append([])
        return SimpleNamespace(bundle_count=len(bundles), wait=lambda seconds: self.has_room())

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cores}

    def remote(self, **options: Any) -> Callable[[type], Any]:
        def made(kind: type) -> Any:
            def start() -> Actor:
                self.groups[-1].append(Actor(kind()))
                return self.groups[-1][-1]

            return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

        return made

    def get(self, answer: Answer) -> Any:
        if answer.error is not None:
            raise answer.error
        return answer.value

    def wait(self, answers: list[Answer], *, num_returns: int, timeout: float) -> tuple[list[Answer], list[Answer]]:
        return answers, []

    def kill(self, actor: Actor) -> None:
        actor.lose()

    @contextmanager
    def cluster(self, address: str, *, num_cpus: int = 0) -> Iterator[PretendedRay]:
        yield self
        for actor in (actor for group in self.groups for actor in group):
            actor.lose()
