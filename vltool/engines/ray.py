"""Jobs on a Ray cluster: a running one by its address, or one started here for the time. The only imports of ray.

A job whose node or process is lost is run again elsewhere. The nodes need this package, and the run's folders at the
same paths: results, checkpoints and features lie there.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from vltool.engines.engine import Done, JobT, LostJob, ResultT
from vltool.engines.local import num_cores
from vltool.errors import ConfigError, VltoolError

RETRIES = 3
SECONDS_TO_GREET = 30.0
STORE_BYTES = 80 << 20  # of Ray's own object store: jobs and results are small


class RayEngine:
    """Jobs by Ray: `num_jobs` at once (0: as many as the cluster has room for), each with `num_threads` cores.

    address: as `ray status` names it (host:port); without one a local cluster is started, and ended afterwards.
    num_threads: 0: this machine's cores divided among the jobs of a local cluster, 1 on a running one.
    gpus_per_job: which share of a GPU a job needs.
    """

    def __init__(self, num_jobs: int = 0, *, address: str = "", num_threads: int = 0, gpus_per_job: float = 0.0):
        self.num_jobs = num_jobs
        self.address = address
        self.num_threads = num_threads or (1 if address or not num_jobs else max(1, num_cores() // num_jobs))
        self.gpus_per_job = gpus_per_job

    def run(
        self, function: Callable[[JobT], ResultT], jobs: Sequence[JobT] | deque[JobT]
    ) -> Iterator[Done[JobT, ResultT]]:
        """Results as they come. An error of a job is given with it; LostJob if it was lost too often."""
        waiting = jobs if isinstance(jobs, deque) else deque(jobs)
        if not waiting:
            return
        with cluster(self.address, num_cpus=self.num_jobs * self.num_threads) as ray:
            self._check_room(ray)
            remote = ray.remote(num_cpus=self.num_threads, num_gpus=self.gpus_per_job, max_retries=RETRIES)(_run_job)
            running: dict[Any, JobT] = {}
            while waiting or running:
                while waiting and len(running) < self._places(ray):
                    job = waiting.popleft()
                    running[remote.remote(function, job, self.num_threads, os.getcwd())] = job
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    yield _done(ray, running.pop(reference), reference)

    def _places(self, ray: Any) -> int:
        return self.num_jobs or max(1, int(ray.cluster_resources().get("CPU", 0) // self.num_threads))

    def _check_room(self, ray: Any) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(
            node.get("CPU", 0) >= self.num_threads and node.get("GPU", 0) >= self.gpus_per_job for node in nodes
        ):
            raise VltoolError(
                f"no node of the Ray cluster has {self.num_threads} cores and {self.gpus_per_job:g} GPUs for a job. "
                "Use more jobs at once (each needs less), or another cluster"
            )


@contextmanager
def cluster(address: str, *, num_cpus: int = 0) -> Iterator[Any]:
    """ray, connected; disconnected afterwards, and ended if it was started here. Nothing is asked of the network.

    num_cpus: for how many a cluster started here has room; it may be more than there are, which then share them.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _check_installed()
    _check_answers(address)
    import ray

    handler = signal.getsignal(signal.SIGTERM)  # Ray sets its own, and leaves it there
    places = max(num_cpus, num_cores())
    here: dict[str, Any] = {"num_cpus": places, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        with nullcontext() if address else _on_this_machine_alone():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else here),
            )
    except Exception as error:  # Ray itself raises plain ones, as when a node takes too long to start
        raise _not_joined(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def check_engine(name: str, address: str) -> None:
    """Raises ConfigError for what can be known to be wrong of an engine before anything runs.

    That is the address of a cluster for another engine, which would not be used, or Ray where it is not installed.
    """
    if name != "ray" and address:
        raise ConfigError(
            "--ray-address goes with --engine ray: add that, or leave the address out (ray_address in a configuration)"
        )
    if name == "ray":
        _check_installed()


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray needs the package ray. Install it: pip install 'vltool[ray]'")


@contextmanager
def _on_this_machine_alone() -> Iterator[None]:
    """Let a cluster that is started here listen on 127.0.0.1, as it does on macOS and Windows by itself.

    On Linux its ports would be open to the network, and whoever reaches them can have any code run.
    """
    from ray._private import ray_constants  # what the variable says is read once, when this is imported

    name = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    before, was = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = was
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def address_of_this_node() -> str:
    """The IP address under which the other nodes of the cluster find the one that this process runs on."""
    import ray

    return str(ray.util.get_node_ip_address())


def _check_answers(address: str) -> None:
    """Raises ConfigError if no Ray answers at host:port; Ray itself would try for minutes on end."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in address:
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as connection:
            if os.environ.get("RAY_USE_TLS") != "1" and not _speaks_grpc(connection):
                raise ConnectionError("what listens there is not the head of a cluster, whose port is 6379 mostly")
    except (OSError, ValueError, OverflowError) as error:  # a name that is none, a port above 65535
        raise _not_joined(address, error) from error


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether the other side greets as HTTP/2 does (RFC 9113, section 3.4), on which Ray's own language rides."""
    settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # length (3 bytes), type 4, flags, stream: an empty SETTINGS frame
    connection.settimeout(SECONDS_TO_GREET)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
    greeting = b""
    while len(greeting) < len(settings):
        received = connection.recv(len(settings) - len(greeting))
        if not received:
            return False
        greeting += received
    return greeting[3] == settings[3] and greeting[5:] == settings[5:]


def _not_joined(address: str, error: Exception) -> ConfigError:
    reason = str(error).rstrip(".") or type(error).__name__
    if not address:
        return ConfigError(
            f"a local Ray cluster cannot be started: {reason}. Try again when the machine has less to do, use "
            "--engine local, or name a running cluster (--ray-address host:port)"
        )
    return ConfigError(
        f"the Ray cluster {address} cannot be joined: {reason}. Name a running one as host:port "
        "(ray start --head prints it), or leave --ray-address out"
    )


def _run_job(function: Callable[[JobT], ResultT], job: JobT, num_threads: int, folder: str) -> ResultT:
    """The job in a worker of Ray: relative paths mean what they mean to whoever started it."""
    import torch

    from vltool.processor import keep_freed_memory

    os.chdir(folder)
    keep_freed_memory()
    torch.set_num_threads(num_threads)
    return function(job)


def _done(ray: Any, job: JobT, reference: Any) -> Done[JobT, Any]:
    try:
        return Done(job, ray.get(reference), None)
    except ray.exceptions.RayTaskError as error:
        return Done(job, None, error.cause)
    except ray.exceptions.RayError as error:
        lost = f"the node or process that ran it was lost {RETRIES + 1} times ({type(error).__name__}): {error}"
        return Done(job, None, LostJob(lost))
