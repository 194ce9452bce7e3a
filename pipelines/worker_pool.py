"""Starts Beam's workers on this host for the TaskManagers that ask: `python -m pipelines.worker_pool --port 50000`.

In: requests of the Fn API's external worker pool. Out: a process per worker, of the Python that runs the pool.
The rule: a worker is the caller's that had it started, and only that caller stops it.

Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) knows a worker by its id alone, and every TaskManager
counts its workers from 1-1: of two TaskManagers on one host the first to finish a job stops the worker of the other,
whose task then waits three minutes for it, fails, and is tried again. It also starts the word `python`, whichever that
is, and never reads what its workers print, so that a worker that prints 64 KiB stands still.
"""

import argparse
import contextlib
import logging
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services

STOP_SECONDS = 10.0  # a worker that has not ended by then is killed
CALLS = 64  # StopWorker waits for the worker's end, so a call needs a thread for seconds

WORKER = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness

SdkHarness(sys.argv[1], worker_id=sys.argv[2], data_buffer_time_limit_ms=-1).run()
"""

Worker = tuple[str, str]  # the caller's address and port, the id that the caller gave

log = logging.getLogger(__name__)


class WorkerPool(services.BeamFnExternalWorkerPoolServicer):
    """The processes that were started and not yet stopped."""

    def __init__(self) -> None:
        self.running: dict[Worker, subprocess.Popen[bytes]] = {}
        self.lock = threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        words = [sys.executable, "-c", WORKER, request.control_endpoint.url, request.worker_id]
        try:  # what a worker prints goes where the pool's own log goes
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        except OSError as error:
            return messages.StartWorkerResponse(error=f"no worker could be started: {error}")
        with self.lock:
            for ended in [worker for worker, one in self.running.items() if one.poll() is not None]:
                del self.running[ended]  # its runner died, so nobody stopped it
            self.running[context.peer(), request.worker_id] = process
        log.info("worker %s of %s started, pid %d", request.worker_id, context.peer(), process.pid)
        return messages.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        process = self.take(context.peer(), request.worker_id)
        if process:
            stop(process)
            log.info("worker %s of %s stopped, pid %d", request.worker_id, context.peer(), process.pid)
        return messages.StopWorkerResponse()

    def take(self, caller: str, worker: str) -> "subprocess.Popen[bytes] | None":
        """The worker to stop, no longer ours.

        A caller that connected anew has another port: then the id decides if it says which worker is meant. If it does
        not, none is stopped; a runner closes its workers' connections first, and a worker without one ends by itself.
        """
        with self.lock:
            same_id = [one for one in self.running if one[1] == worker]
            if (caller, worker) in self.running:
                return self.running.pop((caller, worker))
            return self.running.pop(same_id[0]) if len(same_id) == 1 else None

    def stop_all(self) -> None:
        with self.lock:
            ours, self.running = list(self.running.values()), {}
        for process in ours:
            process.terminate()
        for process in ours:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    process.kill()  # nothing, once it has been waited for
    process.wait()


def serve(host: str, port: int) -> tuple[WorkerPool, grpc.Server]:
    """A pool that answers; raises OSError when the port cannot be had."""
    pool = WorkerPool()
    # TaskManagers ping while nothing is sent, for as long as a job runs
    pings = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(ThreadPoolExecutor(CALLS), options=[*pings, ("grpc.so_reuseport", 0)])
    services.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:  # of gRPC, which names neither the port nor the reason in words
        raise OSError(f"--port {port}: cannot be opened on {host}; choose another, or stop what has it") from error
    server.start()
    return pool, server


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipelines.worker_pool", description="Beam's workers of this host.")
    parser.add_argument("--port", type=int, default=50000, help="port to answer on (default 50000)")
    parser.add_argument(
        "--host",
        default="localhost",
        help="address to answer on (default localhost, where TaskManagers are: who reaches a pool can run code here)",
    )
    flags = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        pool, server = serve(flags.host, flags.port)
    except OSError as error:
        sys.stderr.write(f"worker_pool: {error}\n")
        return 2
    log.info("workers of %s are started at %s:%d", sys.executable, flags.host, flags.port)
    ended.wait()
    server.stop(0)
    pool.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
