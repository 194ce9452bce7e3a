"""`--dry-run`: builds a job and shows it; runs nothing and writes nothing.

In: the function that builds a pipeline. Out, on stdout: its transforms as a tree, the files that would be staged,
and the size of the job, as text or as one JSON object a line. For Dataflow also the request that would make the job.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.stager import Stager
from apache_beam.transforms.environments import python_sdk_dependencies

from pipelines import dataflow
from pipelines.command import print_lines
from pipelines.running import beam_arguments
from pipelines.settings import Execution
from pipelines.staging import staged_code

FORMS = ("text", "json")


class Step(NamedTuple):
    """One transform of ours."""

    depth: int
    label: str
    n_hidden: int  # transforms of Beam's own that it consists of


class StagedFile(NamedTuple):
    """One file that workers would get."""

    name: str
    n_bytes: int
    sha256: str


class JobPlan(NamedTuple):
    """A job that was not run."""

    name: str
    runner: str
    steps: tuple[Step, ...]
    proto_bytes: int
    staged: tuple[StagedFile, ...]
    request: dict[str, Any] | None  # to Dataflow


def show_plan(build: Callable[[Any], None], execution: Execution, *, name: str) -> None:
    """Prints the job in the form that the command asks for."""
    plan = plan_job(build, execution, name=name)
    if execution.dry_run == "json":
        shown = plan._asdict() | {
            "steps": [step._asdict() for step in plan.steps],
            "staged": [file._asdict() for file in plan.staged],
        }
        print_lines(json.dumps(shown, sort_keys=True))
    else:
        print_lines(*describe(plan))


def plan_job(build: Callable[[Any], None], execution: Execution, *, name: str) -> JobPlan:
    """Builds the job and looks at it; ValueError where its files cannot be made."""
    with _temporary_files(), staged_code(execution) as staging:
        for_dataflow = execution.runner == dataflow.RUNNER
        dry = (dataflow.DRY_RUN,) if for_dataflow else ()
        options = PipelineOptions([*beam_arguments(execution, name), *staging, *dry])
        pipeline = beam.Pipeline(runner=FnApiRunner() if execution.is_local else execution.runner, options=options)
        build(pipeline)
        visitor = _Steps()
        pipeline.visit(visitor)
        request = None
        if for_dataflow:
            proto, request = dataflow.submission(pipeline)
            artifacts = [one for _, env in sorted(proto.components.environments.items()) for one in env.dependencies]
        else:
            proto = pipeline.to_runner_api()
            artifacts = [] if execution.is_local else python_sdk_dependencies(options)
        return JobPlan(
            name, execution.runner, tuple(visitor.steps), proto.ByteSize(), tuple(_staged(artifacts)), request
        )


def describe(plan: JobPlan) -> Iterator[str]:
    """The plan for people, line by line."""
    hidden = sum(step.n_hidden for step in plan.steps)
    yield f"{plan.name} on {plan.runner}: {len(plan.steps)} transforms, and {hidden} of Beam's own inside them"
    for step in plan.steps:
        inside = f"  ({step.n_hidden} inside)" if step.n_hidden else ""
        yield f"  {'  ' * step.depth}{step.label}{inside}"
    yield f"job: {plan.proto_bytes:,} bytes"
    yield f"staged files: {len(plan.staged)}" + ("" if plan.staged else ", workers use this installation")
    for file in plan.staged:
        yield f"  {file.name}  {file.n_bytes:,} bytes  sha256 {file.sha256}"
    if plan.request is not None:
        pool = plan.request["environment"]["workerPools"][0]
        yield f"Dataflow job: {plan.request['name']}, {plan.request['type']}"
        yield f"  image: {pool['workerHarnessContainerImage']}"
        yield f"  workers: at most {pool['autoscalingSettings']['maxNumWorkers']}"
    yield "nothing was run, nothing was written"


class _Steps(PipelineVisitor):
    """Collects transforms in the order they were applied; what Beam's composites consist of is only counted."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._stack: list[tuple[str, bool]] = []  # (label, whether it is ours to look into)

    def enter_composite_transform(self, node: Any) -> None:
        self._add(node)
        ours = node.transform is None or type(node.transform).__module__.startswith("pipelines.")
        self._stack.append((node.full_label, ours and all(open_ for _, open_ in self._stack)))

    def leave_composite_transform(self, node: Any) -> None:
        self._stack.pop()

    def visit_transform(self, node: Any) -> None:
        self._add(node)

    def _add(self, node: Any) -> None:
        if not self._stack:
            return  # the root
        if not self._stack[-1][1]:
            self.steps[-1] = self.steps[-1]._replace(n_hidden=self.steps[-1].n_hidden + 1)
            return
        above = self._stack[-1][0]
        label = node.full_label.removeprefix(f"{above}/") if above else node.full_label
        self.steps.append(Step(len(self._stack) - 1, label, 0))


def _staged(artifacts: list[Any]) -> Iterator[StagedFile]:
    """Names, sizes and checksums of artifacts that are files here."""
    for path, name, _ in Stager.extract_staging_tuple_iter(artifacts):
        data = Path(path).read_bytes()
        yield StagedFile(name, len(data), hashlib.sha256(data).hexdigest())


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Beam leaves what it stages in temporary folders; here they go when the plan has been made."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="shardmill-plan-") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
