"""Which links become URLs of OpenWebText: cases by reason, laws of the fast path, and the real lists of others."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.link_lists import ADULT, APPS_AND_FILES, ENDINGS, FORUMS, MEDIA, SHOPS_AND_TOOLS
from corpora.openwebtext import (
    END_OF_2017,
    SHOWN_REASONS,
    TARGETS,
    VARIANTS,
    Link,
    Refusal,
    UrlRules,
    clean_link,
    make_judge,
    page_key,
)
from corpora.reasons import REASONS
from corpora.submissions import Submission, read_submissions
from corpora.urls import canonical_url, host_of, redact_credentials

GOOD = Submission(
    url="http://www.example.com/news/a.html", is_self=False, score=3, over_18=False, created_utc=1_400_000_000,
    subreddit="news", id="abc",
)  # fmt: skip


def submission(**fields: object) -> Submission:
    values = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    return Submission(**{**values, **fields})


def judge(variant: str = "default", **fields: object) -> Link | Refusal:
    return make_judge(VARIANTS[variant].urls)(submission(**fields))


def reason_of(url: str, variant: str = "default") -> str:
    verdict = judge(variant, url=url)
    return verdict.reason if isinstance(verdict, Refusal) else ""


def test_a_link_carries_what_is_needed_to_fetch_it_and_to_find_its_submission():
    expected = Link("example.com/news/a.html", GOOD.url, 3, 1_400_000_000, "news", "abc")
    assert judge() == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": None}, "no_link"),
        ({"url": ""}, "no_link"),
        ({"url": "[deleted]"}, "no_link"),
        ({"url": "", "is_self": True}, "self_post"),
        ({"is_self": True}, "self_post"),
        ({"is_self": None, "domain": "self.news"}, "self_post"),
        ({"score": None}, "no_score"),
        ({"score": 2}, "low_score"),
        ({"score": -7}, "low_score"),
        ({"over_18": True}, "adults_only"),
        ({"removed_by_category": "moderator"}, "removed_post"),
        ({"over_18": None}, ""),  # old forms do not always say
        ({"is_self": None}, ""),
        ({"created_utc": None}, ""),
        ({"subreddit": None, "id": None}, ""),
    ],
)
def test_a_submission_is_refused_for_the_first_reason_that_holds(fields: dict[str, object], reason: str):
    verdict = judge(**fields)
    assert (verdict.reason if isinstance(verdict, Refusal) else "") == reason
    if reason:
        assert verdict.url == ""  # counted, not shown: there are billions
        assert reason in REASONS


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com", ""),
        ("https://Example.COM/A/b?c=d#e", ""),
        ("http://bücher.example.de/ä", ""),
        ("http://example.com:8080/", ""),
        ("http://example.com./", ""),
        ("http://example.com/a.html?image=b.jpg", ""),
        ("http://example.com/?page=2.5", ""),
        ("http://example.com/a.b/c", ""),
        ("http://jpg.com", ""),
        ("http://example.com/a.pdf/index.html", ""),
        ("http://example.com/index.html?a=1", ""),
        ("ftp://example.com/a", "bad_url"),
        ("mailto:joe@example.com", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("example.com/a", "bad_url"),
        ("//example.com/a", "bad_url"),
        ("http:/example.com/a", "bad_url"),
        ("http://localhost/a", "bad_url"),
        ("http://router.local/", "bad_url"),
        ("http://127.0.0.1/", "bad_url"),
        ("http://2130706433/", "bad_url"),
        ("http://[::1]/", "bad_url"),
        ("http://duskgytldkxiuqc6.onion/", "bad_url"),
        ("http://exa mple.com/", "bad_url"),
        ("http://.com/", "bad_url"),
        ("http://", "bad_url"),
        ("http://example.com:port/", "bad_url"),
        ("http://example.com/?access_token=abcdef123", "secret_url"),
        ("http://en.wikipedia.org/wiki/Reddit", "wikipedia"),
        ("https://en.m.wikipedia.org/wiki/Reddit", "wikipedia"),
        ("http://notwikipedia.org/", ""),
        ("http://i.imgur.com/abc", "excluded_host"),
        ("https://www.YouTube.com/watch?v=abc", "excluded_host"),
        ("http://old.reddit.com/r/news/", "excluded_host"),
        ("/r/news/comments/abc/", "excluded_host"),
        ("http://docs.google.com/document/d/abc", "excluded_host"),
        ("http://news.google.com/a", ""),
        ("http://x.company.com/", ""),
        ("http://example.com/a.JPG", "excluded_ending"),
        ("http://example.com/a.pdf?download=1", "excluded_ending"),
        ("http://example.com/a.mp3#t=3", "excluded_ending"),
        ("http://example.com/a.tar.gz", "excluded_ending"),
        ("http://example.com/" + "a" * 2_000, "url_too_long"),
    ],
)
def test_a_link_is_refused_for_what_it_is(url: str, reason: str):
    assert reason_of(url) == reason
    if reason:
        assert reason in SHOWN_REASONS & REASONS.keys()
        assert judge(url=url).url


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://a.com/?b=1&amp;c=2", "http://a.com/?b=1&c=2"),
        ("http://a.com/?b=&lt;x&gt;", "http://a.com/?b=<x>"),
        ("http://a.com/?b=&amp;lt;", "http://a.com/?b=&lt;"),
        (" http://a.com/two words\n", "http://a.com/two%20words"),
        ("http://a.com/\0a\tb", "http://a.com/ab"),
        ("http://a.com/?copy=1&lt=2", "http://a.com/?copy=1&lt=2"),
    ],
)
def test_what_interfaces_did_to_a_link_is_undone(written: str, meant: str):
    assert clean_link(written) == meant


def test_no_credential_of_a_link_is_kept_anywhere():
    links = [
        "http://joe:CANARY@example.com/a", "http://CANARY@example.com/a", "https://example.com/a?password=CANARY",
        "https://example.com/a?x=1&amp;api_key=CANARY", "http://example.com/a;jsessionid=CANARY?b=1",
        "http://example.com/go?to=http://joe:CANARY@b.org/", "http://example.com/#access_token=CANARY",
        "http://i.imgur.com/a?token=CANARY",
    ]  # fmt: skip
    for link in links:
        assert "CANARY" not in repr(judge(url=link)), link
    assert judge(url=links[0]).url == "http://example.com/a"
    assert judge(url=links[4]).url == "http://example.com/a?b=1"  # a visit's number: the page is there without it


plain = st.from_regex(
    r"https?://(www\.)?([a-z0-9-]{1,8}\.){1,3}[a-z]{2,6}(/[A-Za-z0-9._~,:+!$*'-]{0,8}){0,4}"
    r"(/(index|Default)\.(html?|php|jsp))?/?(\?[a-z0-9_=&.-]{0,12})?",
    fullmatch=True,
)
odd = st.text(alphabet="htps:/.w@?#&=;%20()aZé\\index.php_utmw", max_size=40).map(lambda text: "http://" + text)


@settings(max_examples=300, deadline=None)
@given(plain | odd)
def test_the_fast_key_is_the_canonical_form(url: str):
    url = redact_credentials(url)
    assert page_key(url) == canonical_url(url)


def test_a_dot_before_a_question_mark_is_no_part_of_the_key():
    assert page_key("http://a.com/b/.?c=1") == canonical_url("http://a.com/b/.?c=1") == "a.com/b?c=1"


@settings(max_examples=300, deadline=None)
@given(plain.filter(lambda url: not url.partition("?")[0].endswith("/")))
def test_a_plain_url_is_judged_as_one_that_takes_the_slow_way(url: str):
    fast, slow = judge(url=url), judge(url=url + "#")
    if isinstance(fast, Link):
        assert isinstance(slow, Link)
        assert fast._replace(url=slow.url) == slow
    else:
        assert isinstance(slow, Refusal)
        assert (fast.reason, fast.detail) == (slow.reason, slow.detail)


@settings(max_examples=300, deadline=None)
@given(plain | odd | st.text(max_size=60))
def test_judging_never_raises_and_a_link_can_be_fetched_and_named(url: str):
    verdict = judge("paper", url=url)
    if isinstance(verdict, Link):
        assert verdict.key == canonical_url(verdict.url)
        assert host_of(verdict.url)
        assert verdict.url.startswith(("http://", "https://", "HTTP")) or verdict.url.lower().startswith("http")
        assert redact_credentials(verdict.url) == verdict.url
        assert make_judge(VARIANTS["paper"].urls)(submission(url=verdict.url)) == verdict
    else:
        assert verdict.reason in REASONS


def test_numbers_beyond_any_column_are_bounded():
    verdict = judge(score=10**40, created_utc=-(10**40))
    assert (verdict.score, verdict.created_utc) == (1 << 53, -(1 << 53))


def test_variants_differ_as_they_say():
    assert reason_of("https://github.com/a/b") == reason_of("http://www.google.com/a") == ""
    assert (
        reason_of("https://github.com/a/b", "code") == reason_of("http://www.google.com/a", "code") == "excluded_host"
    )
    assert reason_of("http://imgur.com/a", "paper") == ""
    assert reason_of("http://www.reddit.com/a", "paper") == "excluded_host"
    assert isinstance(judge("paper", over_18=True), Link)
    assert isinstance(judge("code", removed_by_category="moderator"), Link)
    assert isinstance(judge("summed", score=-2), Link)  # its URL may have other submissions
    for created, expected in ((END_OF_2017 - 1, Link), (END_OF_2017, Refusal), (None, Refusal)):
        assert isinstance(judge("paper", created_utc=created), expected)
    assert VARIANTS["default"].pages.quality.min_words > 0
    assert VARIANTS["code"].pages.quality.min_words == 0
    assert TARGETS.documents == 8_013_769


def test_rules_that_cannot_be_meant_are_refused():
    for wrong in ({"hosts": frozenset({"www.a.com"})}, {"endings": frozenset({"jpg"})}, {"max_url_chars": -1}):
        with pytest.raises(ValueError, match=r"are written as|negative"):
            replace(UrlRules(), **wrong)


def test_lists_hold_no_name_twice_and_none_that_another_one_covers():
    everything = [*MEDIA, *FORUMS, *ADULT, *APPS_AND_FILES]
    assert len(everything) == len(set(everything))
    for host in everything:
        labels = host.split(".")
        covering = {".".join(labels[start:]) for start in range(1, len(labels) - 1)}
        assert not covering & set(everything), host
    assert SHOPS_AND_TOOLS.isdisjoint(everything)
    assert len(ENDINGS) >= 65


# Of the domains that WebText took most from, those that our default leaves out: media, forums, files and adult pages.
# Reading this list is how a name that does not belong on ours is found.
def test_what_webtext_took_most_from_is_left_out_only_where_it_is_no_text(shared_data: Path):
    lines = (shared_data / "reddit" / "gpt2-domains" / "domains.txt").read_text().split()
    counts = {name.lower(): int(n) for n, name in zip(lines[::2], lines[1::2], strict=False) if n.isdecimal()}
    excluded = {host.rpartition(".")[0] for host in UrlRules().hosts if host.count(".") == 1}
    lost = Counter({name: n for name, n in counts.items() if name in excluded})
    assert lost.total() < 0.05 * sum(counts.values())
    assert not lost.keys() & {"google", "archive", "github", "nytimes", "ebay", "medium", "imdb", "pastebin", "go"}


def test_what_is_kept_of_2005_is_mostly_what_webtext_kept(shared_data: Path):
    lines = (shared_data / "reddit" / "gpt2-domains" / "domains.txt").read_text().split()
    known = {name.lower() for name in lines[1::2]}
    judge_one, names = make_judge(VARIANTS["default"].urls), []
    data = (shared_data / "reddit" / "pushshift-RS" / "RS_v2_2005-07.xz").read_bytes()
    for batch in read_submissions(io.BytesIO(data), name="RS.xz"):
        for record in batch.records:
            verdict = judge_one(record)
            if isinstance(verdict, Link):
                names.append(set(host_of(verdict.url).split(".")))
    assert len(names) == 749
    # The domains of WebText's top 1,000 are half of it; links of 2005 lead to the same sites, 12 years earlier.
    assert sum(bool(labels & known) for labels in names) / len(names) > 0.4


def test_every_ending_and_host_is_ascii_and_lower_case():
    for name in (*ENDINGS, *UrlRules().hosts):
        assert name == name.lower().strip()
        assert name.isascii()
        assert json.loads(json.dumps(name)) == name
