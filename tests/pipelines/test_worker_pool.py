"""The worker pool: each caller's workers are its own, and none is left behind."""

import contextlib
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.portability.api import endpoints_pb2

SECONDS = 120.0


class Runner(services.BeamFnControlServicer):
    """What a TaskManager is to a pool: a connection of its own, and an address that its workers call."""

    def __init__(self, pool_port: int) -> None:
        self.calls: queue.Queue[bool] = queue.Queue()
        self.server = grpc.server(ThreadPoolExecutor(4))
        services.add_BeamFnControlServicer_to_server(self, self.server)
        self.control = f"localhost:{self.server.add_insecure_port('localhost:0')}"
        self.server.start()
        self.pool_port = pool_port
        self.connect()

    def connect(self) -> None:
        # channels of one process to one address share a connection unless they are told not to
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"localhost:{self.pool_port}", options=options)
        self.pool = services.BeamFnExternalWorkerPoolStub(self.channel)

    def Control(self, responses: Any, context: Any) -> Iterator[Any]:
        self.calls.put(True)
        yield from ()
        for _ in responses:  # until the worker ends
            pass

    def start(self, worker: str) -> None:
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=self.control)
        request = messages.StartWorkerRequest(worker_id=worker, control_endpoint=endpoint)
        assert not self.pool.StartWorker(request, timeout=SECONDS, wait_for_ready=True).error
        self.calls.get(timeout=SECONDS)

    def stop(self, worker: str) -> None:
        self.pool.StopWorker(messages.StopWorkerRequest(worker_id=worker), timeout=SECONDS, wait_for_ready=True)

    def workers(self, pool: psutil.Process) -> set[int]:
        """Process ids of the pool's children that call this runner."""
        return {one.pid for one in pool.children() if self.control in one.cmdline()}

    def end(self) -> None:
        self.channel.close()
        self.server.stop(0)


@pytest.fixture
def pool(project_root: Path, free_port: Callable[[], int]) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    words = [sys.executable, "-m", "pipelines.worker_pool", "--port", str(port)]
    process = psutil.Popen(words, cwd=project_root, stderr=subprocess.DEVNULL)
    yield process, port
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended and was waited for
        process.kill()
    process.wait()


@pytest.fixture
def runners(pool: tuple[psutil.Process, int]) -> Iterator[tuple[Runner, Runner]]:
    both = Runner(pool[1]), Runner(pool[1])
    yield both
    for one in both:
        one.end()


def test_two_callers_have_workers_of_one_id_and_each_stops_its_own(pool: Any, runners: tuple[Runner, Runner]) -> None:
    first, second = runners
    first.start("1-1")
    second.start("1-1")
    (of_first,), (of_second,) = first.workers(pool[0]), second.workers(pool[0])
    first.stop("1-1")
    assert not psutil.pid_exists(of_first)
    assert second.workers(pool[0]) == {of_second}
    first.stop("1-1")  # it has none left, and the other's is not its own
    second.stop("1-1")
    assert not pool[0].children()


def test_a_caller_that_connected_anew_stops_its_worker_where_the_id_says_which(pool: Any, runners: Any) -> None:
    first, second = runners
    first.start("1-1")
    second.start("2-1")
    first.channel.close()
    first.connect()
    first.stop("1-1")
    assert not first.workers(pool[0])
    assert second.workers(pool[0])


def test_a_stopped_pool_leaves_no_worker(pool: Any, runners: Any) -> None:
    runners[0].start("1-1")
    (worker,) = pool[0].children()
    pool[0].send_signal(signal.SIGTERM)
    assert pool[0].wait(SECONDS) == 0
    end = time.monotonic() + SECONDS
    while worker.is_running() and time.monotonic() < end:
        time.sleep(0.05)
    assert not worker.is_running()


def test_a_taken_port_is_one_line(pool: Any, runners: Any, project_root: Path) -> None:
    runners[0].start("1-1")  # the pool answers, so the port is taken
    words = [sys.executable, "-m", "pipelines.worker_pool", "--port", str(pool[1])]
    done = subprocess.run(words, cwd=project_root, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert f"worker_pool: --port {pool[1]}: cannot be opened on localhost" in done.stderr
