"""URLs as keys: cases as data, and the laws that hold for any string."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.urls import canonical_url, host_of, redact_credentials

CASES = json.loads((Path(__file__).parents[1] / "data" / "urls.json").read_text(encoding="utf-8"))

anything = st.text() | st.text(alphabet="htp:/\\?#&;=%@.[]()www25eE80aü。\n").map(lambda text: text[:60])
urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "http://", "https://", "ftp://", "//", "mailto:"]),
    st.text(alphabet="aw.:@8[]%ß。", max_size=12),
    st.text(alphabet="/.%2eE5;=\\ index.html", max_size=20),
    st.text(alphabet="?&;=#%26token_utma1", max_size=24),
)


def name_case(case: dict[str, str]) -> str:
    return case["comment"]


@pytest.mark.parametrize("case", CASES["canonical"], ids=name_case)
def test_the_canonical_form_is_the_documented_one(case: dict[str, str]) -> None:
    assert canonical_url(case["original"]) == case["expected"]


@pytest.mark.parametrize("case", CASES["redacted"], ids=name_case)
def test_secrets_are_redacted_and_nothing_else(case: dict[str, str]) -> None:
    redacted = redact_credentials(case["original"])
    assert redacted == case["expected"]
    assert "CANARY" not in redacted


@given(anything | urls)
def test_canonical_url_is_idempotent_and_never_raises(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once


@given(anything | urls)
def test_redact_credentials_is_idempotent_and_never_raises(url: str) -> None:
    once = redact_credentials(url)
    assert redact_credentials(once) == once


@given(st.from_regex(r"https?://([a-zäß0-9-]{1,8}\.){1,3}[a-z]{2,5}\.?(:[0-9]{0,4})?[/?#]", fullmatch=True), st.text())
def test_the_canonical_form_has_the_same_host(front: str, rest: str) -> None:
    assert host_of(canonical_url(front + rest)) == host_of(front + rest) != ""


@given(st.text(min_size=1).filter(lambda text: not set(text) & set("&#")))
def test_no_password_survives_in_a_query(password: str) -> None:
    assert redact_credentials(f"http://h/?a=1&password={password}&b=2") == "http://h/?a=1&password=REDACTED&b=2"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://www.Example.com:80/a", "example.com"),
        ("http://joe:pw@example.com:8080", "example.com"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]"),
        ("mailto:joe@example.com", ""),
        ("/only/a/path", ""),
        ("", ""),
    ],
)
def test_host_of_names_the_site(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "tail", ["@" * 100_000, "?" + "a=" * 50_000, "://" * 50_000, "%3A%2F%2F" * 20_000, "/.." * 50_000]
)
def test_long_hostile_urls_take_no_time(tail: str) -> None:
    url = "http://h/" + tail
    assert canonical_url(redact_credentials(url)).startswith("h")
