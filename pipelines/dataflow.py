"""Google's Dataflow: what a command for it must say, checked before anything is built, and the options for Beam.

In: an Execution whose runner is Dataflow. Out: options under Beam's own names, and the job as Beam would submit it.
The rule: nothing here speaks to Google. What the command lacks is one line with its remedy, since Beam itself would
ask for credentials for minutes, or make a bucket of its own, before it says so.
"""

import importlib.util
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.inputs import InputFile
from pipelines.settings import Execution
from pipelines.staging import names_any
from pipelines.storage import is_url

RUNNER = "DataflowRunner"
# Beam checks by these, and where one fails it makes a bucket instead of complaining.
_LOCATION = re.compile(r"gs://[a-z0-9][-_a-z0-9.]+[a-z0-9]/.*")
_PROJECT = re.compile(r"[a-z][-a-z0-9:.]+[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
_ENVIRONMENT_VERSION = "8"  # of the service's interface, as Beam's client says it
DRY_RUN = "--dry_run=True"  # Beam's own: translate, and submit nothing
MAX_NAME = 63


def check_dataflow(execution: Execution) -> None:
    """ValueError for what a run on Dataflow lacks; does nothing for other runners."""
    if execution.runner != RUNNER:
        return
    given = PipelineOptions(list(execution.beam_options)).view_as(GoogleCloudOptions)
    for name, value, pattern, example in (
        ("--project", given.project, _PROJECT, "my-project"),
        ("--region", given.region, _REGION, "us-central1"),
        ("--temp_location", given.temp_location, _LOCATION, "gs://BUCKET/tmp"),
    ):
        if not value:
            raise ValueError(f"--runner dataflow needs {name}: add {name}={example}")
        if not pattern.fullmatch(str(value)):
            raise ValueError(f"{name} is {value}, which Dataflow does not take; say it as in {name}={example}")
    if given.staging_location and not _LOCATION.fullmatch(given.staging_location):
        raise ValueError(
            f"--staging_location is {given.staging_location}; it is a folder of a bucket, as in gs://BUCKET/staging"
        )
    if given.job_name and not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", given.job_name):
        raise ValueError(
            f"--job_name is {given.job_name}; it is a letter, then letters, digits and dashes, in lower case"
        )
    if not execution.output.startswith("gs://"):
        raise ValueError(f"--output {execution.output}: workers of Dataflow write to a bucket; name a gs:// folder")
    _check_reach("--vocabulary", execution.vocabulary)
    if not _is_installed("google.cloud.dataflow") or not _is_installed("gcsfs"):
        raise ValueError("--runner dataflow needs Google's clients: pip install 'shardmill[pipelines,gcp]'")


def check_inputs(execution: Execution, inputs: Sequence[InputFile]) -> None:
    """ValueError where workers of Dataflow could not reach an input file or an earlier run."""
    if execution.runner != RUNNER:
        return
    for file in inputs:
        _check_reach("--input", file.location)
    for run in execution.against:
        _check_reach("--against", run)


def dataflow_arguments(execution: Execution, name: str) -> Iterator[str]:
    """Our choices for Dataflow; what the command says itself comes after them and wins."""
    yield f"--runner={RUNNER}"
    yield f"--max_num_workers={execution.workers}"  # a bound on what a run costs; the service chooses below it
    if name and not names_any(execution.beam_options, ("--job_name",)):
        yield f"--job_name={job_name(name)}"
    if name and not names_any(execution.beam_options, ("--labels", "--label")):
        corpus, _, mark = name.rpartition("-")
        yield f"--labels=shardmill={job_name(corpus or name)}"
        yield f"--labels=settings={mark}"


def job_name(name: str) -> str:
    """A name by Dataflow's rule; two jobs of one name cannot run at once, so one run is never carried out twice.

    >>> job_name("books_wiki-0123456789ab"), job_name("Ünsere Texte!"), job_name("7")
    ('books-wiki-0123456789ab', 'nsere-texte', 'job-7')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "job"
    if not plain[0].isalpha():
        plain = f"job-{plain}"
    return plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 13]}{plain[-13:]}"


def writes_template(execution: Execution) -> bool:
    """Whether the job is only written down, for a template's launcher to submit."""
    return execution.runner == RUNNER and names_any(execution.beam_options, ("--template_location",))


def submission(pipeline: Any) -> tuple[Any, dict[str, Any]]:
    """(proto of the pipeline, body of the request that makes the job) as Beam's Dataflow runner translates them.

    The pipeline was made with DRY_RUN, by which the runner asks for no credentials and no network. Files have the
    places they would be staged to; container image, worker pool and options are as the service would get them.
    """
    from apache_beam.runners.dataflow.internal import apiclient

    job = pipeline.run().job
    cloud = job.options.view_as(GoogleCloudOptions)
    job.proto.environment = apiclient.Environment(
        packages=[],
        options=job.options,
        environment_version=_ENVIRONMENT_VERSION,
        proto_pipeline_staged_url=f"{cloud.staging_location}/pipeline.pb",
        proto_pipeline=job.proto_pipeline,
    ).proto
    body: dict[str, Any] = json.loads(job.json())
    return job.proto_pipeline, body


def _check_reach(name: str, path: str) -> None:
    if path and not is_url(path):
        raise ValueError(f"{name} {path}: workers of Dataflow cannot read this machine's files; copy it to gs:// first")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
