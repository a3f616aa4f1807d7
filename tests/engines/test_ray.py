"""The engine of a Ray cluster: the same results as processes here, also when a node is lost; nothing left running."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.jobs import square
from tests.search.miniature_search import search_miniature, searched_config
from vltool.engines.local import LocalEngine
from vltool.engines.ray import RayEngine, _check_answers, check_engine, cluster
from vltool.errors import ConfigError, VltoolError

pytest.importorskip("ray")


def ray_processes() -> set[str]:
    """Those of the cluster that this process has started, whose session has its number in the name."""
    listed = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout
    own = [line for line in listed.splitlines() if re.search(rf"/session_[\d_-]+_{os.getpid()}\b", line)]
    return {line.split()[0] for line in own if "raylet" in line or "gcs_server" in line}


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_local_cluster_gives_results_and_errors_and_leaves_nothing_running() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    waiting = deque([1, 2, 3])
    found, during = {}, set[str]()
    for done in RayEngine(2).run(square, waiting):
        found[done.job] = (done.result, str(done.error or ""))
        during |= ray_processes()
        if done.job == 1:
            waiting.append(5)
    assert found == {1: (1, ""), 2: (4, ""), 3: (None, "three"), 5: (25, "")}
    assert during and not ray_processes()
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


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"the Ray cluster 127\.0\.0\.1:1 cannot be joined"):
        list(RayEngine(1, address="127.0.0.1:1").run(square, [1]))


@pytest.mark.parametrize("address", ["..:6379", "name.invalid:6379", "127.0.0.1:99999", "127.0.0.1:²"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be joined: .* Name a running one as host:port"):
        _check_answers(address)


@pytest.mark.parametrize(
    ("greeting", "is_ray"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),  # Ray's dashboard, say
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"", False),
        (bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 64, 0]), True),  # SETTINGS: MAX_FRAME_SIZE of gRPC
    ],
)
def test_another_program_at_the_address_is_told_before_ray_waits_for_it(greeting: bytes, is_ray: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                heard = connection.recv(1 << 10)
                assert heard.startswith(b"PRI * HTTP/2.0")
                connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if is_ray:
            _check_answers(address)
        else:
            with pytest.raises(ConfigError, match="what listens there is not the head of a cluster"):
                _check_answers(address)
        thread.join()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_local_cluster_is_open_to_this_machine_alone() -> None:
    with cluster("", num_cpus=1) as ray:
        address, where = ray.get_runtime_context().gcs_address, ray.util.get_node_ip_address()
        pids = {int(pid) for pid in ray_processes()}
        ports = listening(pids)
    assert address.startswith("127.0.0.1:") and where == "127.0.0.1"
    assert len(ports) >= 3 and {host for host, _ in ports} == {"127.0.0.1"}


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """(address, port) on which these processes accept connections, by /proc."""
    sockets = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(link)}
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                host, port = fields[1].split(":")
                found.add((socket.inet_ntoa(bytes.fromhex(host[-8:])[::-1]), int(port, 16)))
    return found


def test_what_is_wrong_with_an_engine_is_known_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    check_engine("local", "")
    check_engine("ray", "head:6379")
    with pytest.raises(ConfigError, match="--ray-address goes with --engine ray: add that, or leave the address out"):
        check_engine("local", "head:6379")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_engine("local", "")
    with pytest.raises(
        ConfigError, match=r"--engine ray needs the package ray\. Install it: pip install 'vltool\[ray\]'"
    ):
        check_engine("ray", "")


def test_a_local_cluster_that_does_not_start_is_not_called_one_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def timed_out(**options: Any) -> None:
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", timed_out)
    with pytest.raises(ConfigError, match=r"a local Ray cluster cannot be started: .* during startup\. Try again"):
        list(RayEngine(1).run(square, [1]))
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
