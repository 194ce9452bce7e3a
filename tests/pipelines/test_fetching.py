"""The crawler as others call it: inside Beam, and from the command line."""

import argparse
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.crawl_journal import Part, read_part
from pipelines.crawl_outcomes import OUTCOMES
from pipelines.crawl_tasks import BUCKETS, partition_of, site_of_url
from pipelines.fetching import (
    FetchSettings,
    FetchTask,
    FetchUrls,
    add_fetch_flags,
    read_fetch_settings,
    summarize,
)
from pipelines.options import Parser


@given(st.integers(1, BUCKETS), st.sampled_from(["http://{}/", "https://{}:8443/x", "http://www.{}/y?z"]),
       st.from_regex(r"[a-z]{1,8}\.[a-z]{2,5}", fullmatch=True))  # fmt: skip
def test_a_host_belongs_to_one_partition_whatever_its_url_looks_like(n: int, form: str, host: str) -> None:
    partition = partition_of(site_of_url(form.format(host)), n)
    assert partition == partition_of(site_of_url(f"http://{host}/"), n)
    assert 0 <= partition < n


def test_every_partition_of_every_number_is_used() -> None:
    for n_partitions in (1, 2, 3, 7, 64, 255, 256):
        assert {bucket * n_partitions // BUCKETS for bucket in range(BUCKETS)} == set(range(n_partitions))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.outcomes.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.slow
def test_several_workers_of_a_beam_pipeline_are_as_polite_as_one(web: Any, tmp_path: Path, quick_settings: Any) -> None:
    hosts = [f"h{host:02}.example" for host in range(20)]
    for number, host in enumerate(hosts):
        web.answers[host, "/0"] = web.redirect(web.url("b.example", f"/{number}"))
    tasks = [FetchTask(web.url(host, f"/{n}"), f"{host}{n}") for host in hosts for n in range(2)]
    settings = quick_settings(n_partitions=8, delay_s=0.05)
    options = PipelineOptions(
        ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    )
    with beam.Pipeline(options=options) as pipeline:
        pipeline | beam.Create(tasks) | FetchUrls(str(tmp_path), settings, name="t", driver_pid=os.getpid())
    assert Counter(row["outcome"] for row in rows_of(tmp_path)) == {"fetched": 40}
    for host in ("b.example", *hosts):
        own = sorted((visit for visit in web.visits if visit.host == host), key=lambda visit: visit.began_s)
        assert min(after.began_s - before.answered_s for before, after in pairwise(own)) >= 0.05


def test_inside_a_beam_pipeline_replays_fetch_nothing_twice(web: Any, tmp_path: Path, quick_settings: Any) -> None:
    tasks = [FetchTask(web.url(f"h{host:02}.example", f"/{n}"), f"{host}-{n}") for host in range(10) for n in range(3)]
    settings = quick_settings(n_partitions=3)
    options = PipelineOptions(["--direct_runner_bundle_repeat=2", "--runner=FnApiRunner"])
    for _ in range(2):  # the second run finds all partitions finished
        with beam.Pipeline(options=options) as pipeline:
            pipeline | beam.Create(tasks) | FetchUrls(str(tmp_path), settings, name="t")
    parts = [read_part(Part(tmp_path, "t", number)) for number in range(3)]
    summary = summarize([part for part in parts if part], tmp_path, name="t")
    assert summary.outcomes == (("fetched", 30),)
    assert sorted(row["key"] for row in rows_of(tmp_path)) == sorted(task.key for task in tasks)
    assert max(Counter((visit.host, visit.target) for visit in web.visits).values()) == 1


def read_flags(*words: str) -> FetchSettings:
    parser = Parser(prog="test")
    add_fetch_flags(parser)
    return read_fetch_settings(parser.parse_args(words))


def test_flags_have_the_defaults_of_the_settings() -> None:
    assert read_flags("--fetch-contact", "ops@example.org") == FetchSettings(contact="ops@example.org")
    assert read_flags("--fetch-contact", "https://example.org/crawl").contact == "https://example.org/crawl"


@pytest.mark.parametrize("contact", ["", "me", "a@b", "x y@example.org", "ops@example.org\r\nX: y", "https://me", "@."])
def test_a_crawl_without_a_contact_is_refused_with_the_remedy(contact: str) -> None:
    with pytest.raises(ValueError, match="--fetch-contact"):
        FetchSettings(contact=contact)


@pytest.mark.parametrize(
    "changed", [{"delay_s": -1}, {"n_connections": 0}, {"body_bytes": 0}, {"allow_addresses": ("here",)},
                {"hosts": (("a", "b"),)}, {"deadline_s": 0}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(changed: dict[str, Any], quick_settings: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|cannot be|does not appear"):
        quick_settings(**changed)


def test_a_hosts_file_is_read_as_etc_hosts_is(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# ours\n127.0.0.1 A.example b.example # two\n\n::1\tc.example\n")
    settings = read_flags("--fetch-contact", "ops@example.org", "--fetch-hosts-file", str(path))
    assert settings.hosts == (("a.example", "127.0.0.1"), ("b.example", "127.0.0.1"), ("c.example", "::1"))
    for text in ("a.example 127.0.0.1\n", "127.0.0.1\n", "127.0.0.1 a_b/c\n"):
        path.write_text(f"# first\n{text}")
        with pytest.raises(ValueError, match="line 2"):
            read_flags("--fetch-contact", "ops@example.org", "--fetch-hosts-file", str(path))


def test_help_states_units_and_defaults() -> None:
    parser = Parser(prog="test")
    add_fetch_flags(parser)
    for action in parser._actions:
        assert isinstance(action, argparse._HelpAction) or action.help
    text = " ".join(parser.format_help().split())
    assert "(default: 1.0)" in text
    assert "Dangerous" in text


def test_every_outcome_has_a_sentence() -> None:
    assert all(sentence.endswith(".") and outcome.isidentifier() for outcome, sentence in OUTCOMES.items())
