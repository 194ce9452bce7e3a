"""What monitoring sees of a follower, through its own little server."""

import socket
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bpe.growing import Growing, Window, window_folder
from pipelines.follow_health import FollowStatus, serve_health

WINDOWS = tuple(
    Window(n, n, window_folder(n, n), "1" * 64, files=2, read=10, kept=5, rejected=4, broken=1, tokens=800)
    for n in (1, 2, 3)
)
GROWING = Growing("ccnews", 3, "4" * 64, "5" * 64, None, WINDOWS)


def fetch(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def read_metrics(text: str) -> dict[tuple[str, str], float]:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, sample.labels.get("outcome", "")): sample.value for sample in samples}


def test_metrics_are_those_of_the_corpus_and_follow_it():
    status = FollowStatus(every_s=600)
    with serve_health(status, host="127.0.0.1", port=0) as address:
        before = read_metrics(fetch(f"{address}/metrics")[1])
        status.growing, status.pending_files = GROWING, 7
        after = read_metrics(fetch(f"{address}/metrics")[1])
    assert before["shardmill_follow_generation", ""] == before["shardmill_follow_tokens_total", ""] == 0
    assert after["shardmill_follow_generation", ""] == after["shardmill_follow_windows_total", ""] == 3
    assert after["shardmill_follow_documents_total", "kept"] == 15
    assert after["shardmill_follow_documents_total", "rejected"] == 12
    assert after["shardmill_follow_documents_total", "broken"] == 3
    assert after["shardmill_follow_tokens_total", ""] == 2_400
    assert after["shardmill_follow_pending_files", ""] == 7


def test_health_says_what_is_wrong():
    status = FollowStatus(every_s=10)
    with serve_health(status, host="127.0.0.1", port=0) as address:
        assert fetch(f"{address}/healthz") == (200, "ok\n")
        status.failures_in_a_row, status.last_failure = 3, "no such bucket"
        assert fetch(f"{address}/healthz") == (503, "3 failures in a row: no such bucket\n")
        status.failures_in_a_row, status.looked_at = 0, time.monotonic() - 1_000
        code, text = fetch(f"{address}/healthz")
        assert (code, text[:40]) == (503, "nobody has looked for new files for 1000")
        status.window = 8  # a window may take as long as it takes
        assert fetch(f"{address}/healthz") == (200, "ok\n")
        assert fetch(f"{address}/else") == (404, "/metrics and /healthz are here\n")


def test_without_a_port_nothing_is_served():
    with serve_health(FollowStatus(every_s=1), host="127.0.0.1", port=None) as address:
        assert address == ""


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"--metrics-port {port}: .* on 127.0.0.1; choose another"),
            serve_health(FollowStatus(every_s=1), host="127.0.0.1", port=port),
        ):
            pass
