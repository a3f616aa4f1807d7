"""The engine of a Ray cluster: the same results as processes here, also when a node is lost; nothing left running."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.jobs import square
from tests.search.miniature_search import search_miniature, searched_config
from vltool.engines.local import LocalEngine
from vltool.engines.ray import RayEngine
from vltool.errors import ConfigError, VltoolError

pytest.importorskip("ray")


def ray_processes() -> set[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if "raylet" in line or "gcs_server" in line}


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_local_cluster_gives_results_and_errors_and_leaves_nothing_running() -> None:
    before, handler = ray_processes(), signal.getsignal(signal.SIGTERM)
    waiting = deque([1, 2, 3])
    found = {}
    for done in RayEngine(2).run(square, waiting):
        found[done.job] = (done.result, str(done.error or ""))
        if done.job == 1:
            waiting.append(5)
    assert found == {1: (1, ""), 2: (4, ""), 3: (None, "three"), 5: (25, "")}
    assert ray_processes() <= before
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_loses_a_node_in_the_middle_gives_the_plan_of_the_local_engine(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    settings: dict[str, Any] = {"strategy": "halving", "seeds": [0, 1], "halving": {"factor": 3, "rungs": 2}}
    training = {"checkpoint_every": 3}
    here = search_miniature(searched_config(tmp_path / "a", training, **settings), LocalEngine(2), tasks=["grounding"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    jobs: list[Any] = []

    class Losing(RayEngine):
        """Its cluster loses a node after the first result, while both nodes have work."""

        def run(self, function: Any, waiting: Any) -> Iterator[Any]:
            for done in super().run(function, waiting):
                jobs.append(done)
                if len(jobs) == 1:
                    cluster.remove_node(lost, allow_graceful=False)
                yield done

    try:
        config = searched_config(tmp_path / "b", training, **settings)
        there = search_miniature(config, Losing(2, address=cluster.address, num_threads=1), tasks=["grounding"])
    finally:
        cluster.shutdown()
    assert len(jobs) > 4 and all(done.error is None for done in jobs)
    assert there["failed"] == 0
    assert plan_of(there) == plan_of(here)


def plan_of(found: dict[str, Any]) -> dict[str, Any]:
    """What a search chose, but for where it lies."""
    return {task: {key: own[key] for key in own if key != "folder"} for task, own in found["chosen"].items()}


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_without_room_for_a_job_is_refused_with_what_it_needs() -> None:
    with pytest.raises(VltoolError, match="no node of the Ray cluster has 1 cores and 64 GPUs"):
        list(RayEngine(1, num_threads=1, gpus_per_job=64).run(square, [1]))


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"the Ray cluster 127\.0\.0\.1:1 cannot be joined"):
        list(RayEngine(1, address="127.0.0.1:1").run(square, [1]))
