"""What the manifests say to each other and to our commands is true: flags, names, ports, sizes."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import get_args_parser

from pipelines.cli import PIPELINES
from pipelines.follow_flags import read_follow_rules
from pipelines.running import RUNNERS, check_beam_options
from pipelines.settings import Execution
from trainer import pretrain
from trainer.command_line import parse_flags, settings_of_flags
from trainer.settings import check_batch

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
Containers = list[dict[str, Any]]
Resources = dict[str, dict[str, Any]]


def beam_runs(containers: Containers) -> Iterator[list[str]]:
    """The words after `beam` of each container that runs it."""
    for container in containers:
        if container.get("command") == ["beam"] or container.get("image", "").startswith("REGISTRY/shardmill-driver:"):
            yield container["args"]


def flags_of(words: list[str]) -> tuple[Any, list[str]]:
    parser = importlib.import_module(f"pipelines.{Path(words[1]).stem}").make_parser()
    flags, beam_options = parser.parse_known_args(words[2:])
    return flags, beam_options


def test_every_flag_of_beam_run_is_one_of_the_pipelines_or_of_beam(containers: Containers):
    runs = list(beam_runs(containers))
    assert len(runs) == 2
    for words in runs:
        assert words[0] == "run"
        assert (ROOT / words[1]).is_file()
        assert Path(words[1]).stem in PIPELINES
        flags, beam_options = flags_of(words)
        assert flags.runner in RUNNERS
        # A local run is the one whose options are checked for those that Beam would drop in silence.
        check_beam_options(Execution(output="out", beam_options=tuple(beam_options)), known=[])


def test_the_supervisor_serves_its_numbers_where_its_annotations_and_its_probe_say(resources: Resources):
    spec = resources["Deployment/shardmill-follow"]["spec"]
    container, annotations = spec["template"]["spec"]["containers"][0], spec["template"]["metadata"]["annotations"]
    rules = read_follow_rules(flags_of(container["args"])[0])
    port = container["ports"][0]
    assert (rules.metrics_port, rules.metrics_host) == (port["containerPort"], "0.0.0.0")
    assert annotations["prometheus.io/port"] == str(rules.metrics_port)
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def torchrun_flags(words: list[str]) -> tuple[Any, Any]:
    """torchrun's flags, and the trainer's."""
    launcher = get_args_parser().parse_args(words)
    assert (launcher.module, launcher.training_script) == (True, "trainer.pretrain")
    return launcher, parse_flags(pretrain.make_parser(), launcher.training_script_args)


def test_every_flag_of_torchrun_and_of_the_trainer_is_known_and_every_number_of_nodes_divides_the_batch(
    resources: Resources,
):
    spec = resources["PyTorchJob/shardmill-base"]["spec"]
    worker, policy = spec["pytorchReplicaSpecs"]["Worker"], spec["elasticPolicy"]
    pod = worker["template"]["spec"]
    launcher, flags = torchrun_flags(pod["containers"][0]["args"])
    settings = settings_of_flags(flags)
    for n_nodes in range(policy["minReplicas"], policy["maxReplicas"] + 1):
        assert check_batch(settings, n_ranks=n_nodes * policy["nProcPerNode"])
    assert worker["replicas"] == policy["maxReplicas"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == policy["nProcPerNode"]
    assert launcher.shutdown_timeout < pod["terminationGracePeriodSeconds"]


def job_flags(resources: Resources) -> tuple[Any, list[str]]:
    """Flags of the Job that submits, and its options of Beam."""
    pod = resources["Job/shardmill-ccnews"]["spec"]["template"]["spec"]
    return flags_of(pod["containers"][0]["args"])


def test_images_are_ours_in_the_version_of_the_project_or_flinks(containers: Containers, resources: Resources):
    used = {container["image"] for container in containers if "image" in container}
    named = {f"REGISTRY/shardmill-{path.stem}:{VERSION}" for path in (ROOT / "deploy/images").glob("*.Dockerfile")}
    assert used == named
    for path in (ROOT / "deploy/images").glob("*.Dockerfile"):
        assert f"REGISTRY/shardmill-{path.stem}:{VERSION}" in path.read_text()
    flink = resources["FlinkDeployment/shardmill-flink"]["spec"]
    version = re.search(r"^flink:(\d+)\.(\d+)\.", flink["image"])
    assert version is not None
    assert flink["flinkVersion"] == f"v{version[1]}_{version[2]}"


def test_the_job_goes_to_the_cluster_that_is_there_and_fills_it(resources: Resources):
    cluster = resources["FlinkDeployment/shardmill-flink"]
    flags, beam_options = flags_of(
        resources["Job/shardmill-ccnews"]["spec"]["template"]["spec"]["containers"][0]["args"]
    )
    spec = cluster["spec"]
    slots = spec["taskManager"]["replicas"] * int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert flags.flink_master == f"{cluster['metadata']['name']}-rest:8081"
    assert flags.workers == slots
    assert spec["mode"] == "standalone"  # a session cluster in native mode has no slot before its first job
    assert beam_options == [f"--flink_version={spec['flinkVersion'][1:].replace('_', '.')}"]
    assert f"'{beam_options[0].partition('=')[2]}'" in (ROOT / "deploy/images/driver.Dockerfile").read_text()


def test_worker_pools_are_the_same_everywhere_and_where_the_job_looks_for_them(
    resources: Resources, containers: Containers
):
    flags, _ = job_flags(resources)
    pools = [one for one in containers if one["name"] == "worker-pool"]
    assert len(pools) == 2
    for pool in pools:
        assert pool["command"][1:3] == ["-m", "apache_beam.runners.worker.worker_pool_main"]
        assert f"localhost:{pool['command'][3].partition('=')[2]}" == flags.worker_pool
    assert pools[0]["image"] == pools[1]["image"]


def test_pods_mount_the_volume_that_there_is_and_write_nowhere_as_root(resources: Resources, containers: Containers):
    claims = re.findall(r"claimName: (\S+)", "".join(p.read_text() for p in (ROOT / "deploy/kubernetes").iterdir()))
    assert {f"PersistentVolumeClaim/{name}" for name in claims} <= resources.keys()
    for container in containers:
        if container["name"] != "flink-main-container":
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
    for words in beam_runs(containers):
        flags = flags_of(words)[0]
        assert all(path.startswith("/data/") for path in (flags.output, flags.vocabulary))


def test_a_workers_memory_is_more_than_what_was_measured(containers: Containers):
    page = (ROOT / "deploy/how-big-does-it-get.md").read_text()
    measured = re.search(r"^\| memory of a worker[^|]*\| ([\d,]+) MB \|", page, re.MULTILINE)
    assert measured is not None
    n_bytes = int(measured[1].replace(",", "")) * 1_000_000
    pool = next(one for one in containers if one["name"] == "worker-pool" and "ports" in one)
    assert in_bytes(pool["resources"]["limits"]["memory"]) > 1.25 * n_bytes
    follower = next(one for one in containers if one["name"] == "follow")
    n_workers = flags_of(follower["args"])[0].workers
    assert in_bytes(follower["resources"]["limits"]["memory"]) > 1.25 * n_workers * n_bytes


def in_bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


@pytest.mark.parametrize("name", ["README.md", "deploy/README.md"])
def test_documents_name_files_of_deploy_that_are_there(name: str):
    """Paths from the project's root, as commands have them, and links from where the document lies."""
    text = (ROOT / name).read_text()
    assert [path for path in re.findall(r"deploy/[\w./-]*\w", text) if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
