"""Runs pipelines on Flink: the options that Beam needs, and every check that can be made before a job is submitted.

In: an Execution. Out: Beam's options, or a ValueError of one line that says what is missing and what to do.
The rule: a worker pool whose `python` cannot run a worker lets a job wait for ever, so no job is submitted before
the pool has started a worker that called back.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.portability.api import beam_runner_api_pb2, endpoints_pb2
from apache_beam.portability.python_urns import PICKLED_DOFN_INFO
from apache_beam.utils.subprocess_server import JavaJarServer

from pipelines.settings import Execution

RUNNER = "FlinkRunner"
JAR_VARIABLE = "SHARDMILL_FLINK_JOB_SERVER_JAR"
# How long a worker that no stage uses is kept, for the next stage; effective where Flink itself loads the job server's
# jar. A worker that died is kept as long, so a task must not be tried again before.
ENVIRONMENT_CACHE_MS = 5_000
ANSWER_SECONDS = 10.0
JAVA_AT_LEAST = 11  # of Flink 2 and of Beam's job servers for it
WORKER_SECONDS = 60.0  # importing Beam takes seconds, on a busy machine tens of them


def flink_arguments(execution: Execution) -> Iterator[str]:
    """Beam's options for a job on Flink; without a master, Flink runs inside the job server."""
    yield f"--parallelism={execution.workers}"
    yield "--number_of_execution_retries=10"  # a TaskManager or a worker that dies costs its tasks, not the job
    yield f"--execution_retry_delay={2 * ENVIRONMENT_CACHE_MS}"
    yield f"--environment_cache_millis={ENVIRONMENT_CACHE_MS}"
    if os.environ.get(JAR_VARIABLE):
        yield f"--flink_job_server_jar={os.environ[JAR_VARIABLE]}"
    if execution.flink_master:
        yield f"--flink_master={execution.flink_master}"
    if execution.worker_pool:
        yield "--environment_type=EXTERNAL"
        yield f"--environment_config={execution.worker_pool}"


def check_flink(execution: Execution) -> None:
    """Raises ValueError for whatever would make the job fail, or wait for ever, once it is submitted.

    Of a job that is only shown, and of other runners, no more is asked than that they are not given Flink's flags.
    """
    if execution.runner != RUNNER:
        for flag, value in (("--flink-master", execution.flink_master), ("--worker-pool", execution.worker_pool)):
            if value:
                raise ValueError(f"{flag} {value} is for --runner flink, and the runner is {execution.runner}")
    if execution.runner != RUNNER or execution.dry_run:
        return
    asked = PipelineOptions([*flink_arguments(execution), *execution.beam_options])
    options = asked.view_as(FlinkRunnerOptions)
    check_java()
    if execution.flink_master:
        check_cluster(execution.flink_master, flink_version=options.flink_version)
        if not execution.worker_pool and not any("environment_type" in word for word in execution.beam_options):
            raise ValueError("--flink-master needs --worker-pool HOST:PORT, where its TaskManagers start workers")
    if execution.worker_pool:
        check_worker_pool(execution.worker_pool)
    check_jar(options.flink_job_server_jar or "", flink_version=options.flink_version)


def check_java() -> None:
    """Raises ValueError unless the java on PATH, which Beam starts the job server with, is new enough."""
    remedy = "install Java 17, for example openjdk-17-jre-headless"
    java = shutil.which("java")
    if not java:
        raise ValueError(f"--runner flink: no java on PATH; {remedy}")
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=WORKER_SECONDS, check=False)
        shown = done.stderr + done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"--runner flink: {java} does not run ({error}); {remedy}") from error
    version = re.search(r'version "(?:1\.)?(\d+)[^"]*"', shown)  # "1.8.0_392" is Java 8
    if not version:
        raise ValueError(f"--runner flink: {java} does not say its version; {remedy}")
    if int(version[1]) < JAVA_AT_LEAST:
        raise ValueError(
            f"--runner flink: {java} is Java {version[1]}; the job server and Flink need {JAVA_AT_LEAST}; {remedy}"
        )


def check_cluster(master: str, *, flink_version: str) -> None:
    """Raises ValueError unless a cluster of this minor version answers and has a free slot."""
    address = master if "://" in master else f"http://{master}"
    try:
        with urllib.request.urlopen(f"{address}/overview", timeout=ANSWER_SECONDS) as answer:
            overview: dict[str, Any] = json.load(answer)
        found, free = str(overview["flink-version"]), int(overview["slots-available"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--flink-master {master}: no Flink answers there ({error}); `local-cluster start` starts one"
        ) from error
    if found.split(".")[:2] != flink_version.split("."):
        raise ValueError(
            f"--flink-master {master} runs Flink {found}, the job server is for {flink_version};"
            f" say --flink_version={'.'.join(found.split('.')[:2])}, or start a cluster of {flink_version}"
        )
    if free < 1:
        raise ValueError(f"--flink-master {master} has no free slot; wait for its jobs, or cancel one at {address}")


def check_jar(jar: str, *, flink_version: str) -> None:
    """Raises ValueError unless the job server is here, or Beam's own download puts it into its cache."""
    if jar and "://" not in jar:
        if not Path(jar).is_file():
            raise ValueError(f"--flink_job_server_jar {jar}: no such file")
        return
    url = jar or JavaJarServer.path_to_beam_jar(f":runners:flink:{flink_version}:job-server:shadowJar")
    try:
        JavaJarServer.local_jar(url)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"Flink's job server cannot be had from {url} ({error}); name a copy with --flink_job_server_jar"
            f" or in {JAR_VARIABLE}"
        ) from error


class _Interview(services.BeamFnControlServicer):
    """Waits for a worker to call, as a runner does, asks it what it is, and lets it go.

    The Fn API has no word for a worker's versions. What it has is work: the worker is given a function to unpickle,
    and unpickling it fails with the answer.
    """

    def __init__(self) -> None:
        self.called, self.answered, self.answer = threading.Event(), threading.Event(), ""

    def Control(self, responses: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.called.set()
        work = messages.ProcessBundleRequest(process_bundle_descriptor_id=ASKING)
        yield messages.InstructionRequest(instruction_id=ASKING, process_bundle=work)
        self.answer = next(responses, messages.InstructionResponse()).error
        self.answered.set()

    def GetProcessBundleDescriptor(self, request: Any, context: Any) -> Any:  # noqa: N802
        function = beam_runner_api_pb2.FunctionSpec(urn=PICKLED_DOFN_INFO, payload=pickler.dumps(_Question()))
        payload = beam_runner_api_pb2.ParDoPayload(do_fn=function).SerializeToString()
        step = beam_runner_api_pb2.PTransform(
            unique_name=ASKING,
            spec=beam_runner_api_pb2.FunctionSpec(urn=common_urns.primitives.PAR_DO.urn, payload=payload),
            inputs={"input": "input"},
        )
        return messages.ProcessBundleDescriptor(
            id=ASKING,
            transforms={ASKING: step},
            pcollections={"input": beam_runner_api_pb2.PCollection(coder_id="bytes")},
            coders={"bytes": beam_runner_api_pb2.Coder(spec=beam_runner_api_pb2.FunctionSpec(urn=BYTES))},
        )


class _Question:
    """Unpickled, raises what the versions are, between two marks."""

    def __reduce__(self) -> Any:
        return exec, (DESCRIBE, {})


ASKING = "versions"
BYTES = common_urns.coders.BYTES.urn
MARK = "|shardmill|"
DESCRIBE = f"""
import importlib.metadata, json, platform
found = dict(python=platform.python_version())
for name in ("apache-beam", "shardmill"):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
raise RuntimeError({MARK!r} + json.dumps(found) + {MARK!r})
"""


def our_versions() -> dict[str, str | None]:
    """What decides whether a worker can unpickle and run what is made here: its Python, its Beam, and ourselves."""
    try:
        exec(DESCRIBE, {})
    except RuntimeError as error:
        return _versions_in(str(error))
    return {}


def _versions_in(answer: str) -> dict[str, str | None]:
    """The versions that a text says, {} where it says none: the worker could not unpickle the question."""
    parts = answer.split(MARK)
    said = [part for part in parts if part.startswith("{")]
    return dict(json.loads(said[-1])) if said else {}


def check_worker_pool(pool: str, *, wait_s: float = WORKER_SECONDS) -> None:
    """Raises ValueError unless the pool starts a worker that calls back within `wait_s` seconds and is like us.

    Of Python the minor version counts, since pickles of code do not outlive it; of Beam and shardmill the whole.
    """
    host, _, port = pool.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as probe:
            ours = probe.getsockname()[0]  # the address of this machine that the pool's machine can reach
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--worker-pool {pool}: nothing answers there ({error}); `local-cluster start` starts one"
        ) from error
    interview, server = _Interview(), grpc.server(ThreadPoolExecutor(3))
    services.add_BeamFnControlServicer_to_server(interview, server)
    bound = f"[{ours}]" if ":" in ours else ours
    control = f"{bound}:{server.add_insecure_port(f'{bound}:0')}"
    worker = f"probe-{uuid.uuid4().hex}"
    server.start()
    try:
        with grpc.insecure_channel(pool) as channel:
            stub = services.BeamFnExternalWorkerPoolStub(channel)
            endpoint = endpoints_pb2.ApiServiceDescriptor(url=control)
            request = messages.StartWorkerRequest(worker_id=worker, control_endpoint=endpoint)
            answer = stub.StartWorker(request, timeout=ANSWER_SECONDS)
            called = not answer.error and interview.called.wait(wait_s)
            answered = called and interview.answered.wait(wait_s)
            stub.StopWorker(messages.StopWorkerRequest(worker_id=worker), timeout=2 * ANSWER_SECONDS)
    except grpc.RpcError as error:
        raise ValueError(f"--worker-pool {pool}: what answers there is no Beam worker pool") from error
    finally:
        server.stop(0)
    if not called:
        raise ValueError(
            f"--worker-pool {pool}: the pool's `python` started no worker; put the environment that has shardmill"
            " first on PATH, and start the pool again"
        )
    compare_versions(pool, _versions_in(interview.answer) if answered else {})


def compare_versions(pool: str, theirs: Mapping[str, str | None]) -> None:
    """Raises ValueError, of one line, where the workers of a pool are not like us."""
    remedy = "start the pool with the environment that jobs are submitted from, or its like"
    if not theirs:
        raise ValueError(f"--worker-pool {pool}: its workers cannot read what this Beam pickles; {remedy}")
    for name, our in our_versions().items():
        their = theirs.get(name)
        if their is None:
            raise ValueError(f"--worker-pool {pool}: its workers have no {name}; {remedy}")
        if (minor(their) != minor(our or "")) if name == "python" else their != our:
            raise ValueError(f"--worker-pool {pool}: its workers have {name} {their}, and here it is {our}; {remedy}")


def minor(version: str) -> str:
    """
    >>> minor("3.11.7")
    '3.11'
    """
    return ".".join(version.split(".")[:2])
