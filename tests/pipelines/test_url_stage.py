"""The URL stage as a run of its own: real submissions, duplicates, books, damage, the same bytes whatever happens."""

import hashlib
import json
import lzma
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpora.openwebtext import SHOWN_REASONS, VARIANTS, UrlRules
from corpora.reasons import REASONS
from corpora.submissions import SUBMISSION_ENDINGS
from corpora.urls import canonical_url
from pipelines import url_stage
from pipelines.inputs import InputFile, resolve_inputs
from pipelines.running import PipelineFailedError
from pipelines.settings import Execution
from pipelines.url_choice import assign_parts, choose_urls
from pipelines.url_files import LINK_SCHEMA, REJECT_SCHEMA, URL_SCHEMA, UrlRun, read_url_run
from pipelines.url_stage import run_url_stage

RULES = VARIANTS["default"].urls


def submissions(folder: Path) -> list[InputFile]:
    return resolve_inputs(inputs=[str(folder)], folder_endings=SUBMISSION_ENDINGS, list_endings=())


def run(output: Path, inputs: list[InputFile], rules: UrlRules = RULES, **options: Any) -> UrlRun:
    return run_url_stage(rules, Execution(output=str(output), progress=False, **options), inputs)


def digests(output: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((output / "urls").iterdir())}


def rows(output: Path, entries: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [row for entry in entries for row in pq.read_table(output / entry.name).to_pylist()]


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real files, two of which share four submissions."""
    folder = tmp_path_factory.mktemp("reddit")
    for name in ("pushshift-RS/RS_v2_2005-06.xz", "pushshift-RS/RS_v2_2005-07.xz",
                 "pushshift-importer/test_submissions.json"):  # fmt: skip
        shutil.copy(shared_data / "reddit" / name, folder)
    return folder


@pytest.fixture(scope="module")
def finished(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("urls") / "out"
    run(output, submissions(real))
    return output


def test_the_books_balance_over_every_file_and_every_shown_reject_has_its_row(finished: Path):
    stage = read_url_run(str(finished))
    assert stage is not None
    assert (stage.books["read"], stage.books["kept"], stage.n_urls) == (1_213, 828, 828)
    total: Counter[str] = Counter()
    for one in stage.inputs.values():
        books = one["books"]
        assert books["read"] == books["kept"] + sum(books["rejected"].values()) + sum(books["broken"].values())
        total.update(books["rejected"])
    assert total == stage.books["rejected"]
    assert total.keys() <= REASONS.keys()
    shown = Counter(row["reason"] for row in rows(finished, stage.rejected))
    assert shown == {reason: n for reason, n in total.items() if reason in SHOWN_REASONS}


def test_urls_are_sorted_each_page_is_there_once_and_leads_back_to_its_line(finished: Path, real: Path):
    stage = read_url_run(str(finished))
    assert stage is not None
    found = rows(finished, stage.parts)
    keys = [row["key"] for row in found]
    assert keys == sorted(set(keys))
    lines = {
        path.name: (lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()).split(b"\n")
        for path in real.iterdir()
    }
    for row in found:
        line = json.loads(lines[row["source"]][row["line"] - 1])
        assert (line["id"], line["score"]) == (row["id"], row["score"])
        assert canonical_url(row["url"]) == canonical_url(line["url"].replace("&amp;", "&")) == row["key"]
        assert row["score"] >= 3
        assert row["first_utc"] <= row["created_utc"]


def test_duplicates_lose_to_the_highest_score_then_the_earliest_and_name_it(finished: Path):
    stage = read_url_run(str(finished))
    assert stage is not None
    kept = {(row["source"], row["line"]): row for row in rows(finished, stage.parts)}
    doubles = [row for row in rows(finished, stage.rejected) if row["reason"] == "duplicate_url"]
    assert len(doubles) == 7
    for row in doubles:
        source, _, line = row["detail"].rpartition(" line ")
        keeper = kept[source, int(line)]
        assert keeper["n_submissions"] > 1
        assert (-keeper["score"], keeper["created_utc"], keeper["source"]) <= (
            -row["score"], row["created_utc"], row["source"],
        )  # fmt: skip


def test_another_order_of_files_writes_the_same_bytes(finished: Path, real: Path, tmp_path: Path):
    run(tmp_path / "out", submissions(real)[::-1])
    assert digests(tmp_path / "out") == digests(finished)


def test_replayed_bundles_write_the_same_bytes(finished: Path, real: Path, tmp_path: Path):
    run(tmp_path / "out", submissions(real), beam_options=("--direct_runner_bundle_repeat=2",))
    assert digests(tmp_path / "out") == digests(finished)


def test_many_parts_hold_the_same_urls_as_one(finished: Path, real: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(url_stage, "BYTES_PER_PART", 20_000)
    many = run(tmp_path / "out", submissions(real))
    one = read_url_run(str(finished))
    assert one is not None
    assert len(many.parts) == 11
    assert all(entry.name.endswith("-of-00011.parquet") for entry in many.parts)
    assert sorted(rows(tmp_path / "out", many.parts), key=lambda row: row["key"]) == rows(finished, one.parts)
    assert many.books == one.books


def test_a_finished_stage_is_not_done_again_and_one_of_other_rules_is_refused(
    finished: Path, real: Path, tmp_path: Path, capsys
):
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    before = {path: path.stat().st_mtime_ns for path in (output / "urls").iterdir()}
    run(output, submissions(real))
    assert "already finished" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (output / "urls").iterdir()} == before
    with pytest.raises(ValueError, match=r"other rules.*--overwrite"):
        run(output, submissions(real), VARIANTS["summed"].urls)
    with pytest.raises(ValueError, match=r"other submissions.*--overwrite"):
        run(output, submissions(real)[:2])
    run(output, submissions(real)[:2], overwrite=True)
    assert read_url_run(str(output)).books["read"] == 1_182  # type: ignore[union-attr]


def test_a_stopped_stage_goes_on_from_the_files_that_are_done(finished: Path, real: Path, tmp_path: Path):
    output = tmp_path / "out"
    inputs = submissions(real)
    gone = [*inputs, InputFile("zz.xz", str(tmp_path / "gone.xz"), 10)]
    with pytest.raises(PipelineFailedError, match=r"gone\.xz"):
        run(output, gone)
    assert not (output / "urls" / "urls.json").exists()
    # Work files belong to rules and parts, not to a list of files: what was judged serves the next try.
    work = next((output / "work").glob("urls-*"))
    made = {path.name: path.stat().st_mtime_ns for path in work.glob("*.parquet")}
    run(output, inputs, keep_work=True)
    assert made
    assert {path.name: path.stat().st_mtime_ns for path in work.glob("*.parquet")}.items() >= made.items()
    assert digests(output) == digests(finished)


def test_damage_is_counted_with_its_place_and_strict_stops(real: Path, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    data = (real / "RS_v2_2005-07.xz").read_bytes()
    (folder / "RS_cut.xz").write_bytes(data[: len(data) // 2])
    good = b'{"url": "http://example.com/%d", "score": 9, "is_self": false}'
    (folder / "RS_lines.ndjson").write_bytes(b"\n".join([good % 1, b"{", b"[1]", b"", good % 2]))
    stage = run(tmp_path / "out", submissions(folder))
    assert stage.books["broken"] == {"truncated": 1, "bad_json": 1, "not_a_submission": 1}
    broken = [row for row in rows(tmp_path / "out", stage.rejected) if row["broken"]]
    assert [(row["source"], row["reason"]) for row in broken] == [
        ("RS_cut.xz", "truncated"), ("RS_lines.ndjson", "bad_json"), ("RS_lines.ndjson", "not_a_submission"),
    ]  # fmt: skip
    assert [row["line"] for row in broken][1:] == [2, 3]
    assert stage.inputs["RS_lines.ndjson"]["books"]["read"] == 4
    with pytest.raises(PipelineFailedError, match=r"RS_\w+.*without --strict"):
        run(tmp_path / "strict", submissions(folder), strict=True)


def test_a_list_without_any_link_is_a_finished_stage(tmp_path: Path):
    (tmp_path / "RS.json").write_text('{"url": "http://example.com/", "score": 1, "is_self": false}\n')
    stage = run(tmp_path / "out", submissions(tmp_path / "RS.json"))
    assert (stage.n_urls, stage.parts) == (0, ())
    assert stage.books["rejected"] == {"low_score": 1}


def test_credentials_are_in_no_file_and_no_line(tmp_path: Path, capfd):
    urls = ["http://joe:CANARY@example.com/a", "http://example.com/?token=CANARY", "http://imgur.com/?sig=CANARY"]
    lines = [json.dumps({"url": url, "score": 5, "is_self": False}) for url in urls]
    (tmp_path / "RS.json").write_text("\n".join(lines) + "\n")
    stage = run(tmp_path / "out", submissions(tmp_path / "RS.json"), keep_work=True)
    assert [row["url"] for row in rows(tmp_path / "out", stage.parts)] == ["http://example.com/a"]
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            shown = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_bytes().decode()
            assert "CANARY" not in shown, path
    assert "CANARY" not in "".join(capfd.readouterr())


link = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.integers(-3, 6), st.integers(0, 2), st.sampled_from(["x", "y"]),
    st.integers(1, 3),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(link, max_size=12), st.booleans(), st.randoms())
def test_choosing_is_what_a_plain_loop_does_in_any_order(links: list[Any], summed: bool, random: Any):
    links = list({(source, line): one for one in links for source, line in [one[3:]]}.values())
    rules = UrlRules(sum_scores=summed, min_score=3)
    groups = defaultdict(list)
    for key, score, created, source, line in links:
        groups[key].append((-score, created or 1 << 60, source, line))
    expected, lost = {}, Counter[tuple[str, str]]()
    for key, members in groups.items():
        total = -sum(one[0] for one in members) if summed else -min(members)[0]
        good = total >= 3 or not summed
        for one in sorted(members)[1 if good else 0 :]:
            lost[one[2], "duplicate_url" if good else "low_score"] += 1
        if good:
            first = min(one[1] for one in members)
            expected[key] = (total, len(members), 0 if first == 1 << 60 else first, *min(members)[2:])
    random.shuffle(links)
    schema = LINK_SCHEMA.append(pa.field("source", pa.string(), nullable=False))
    table = pa.Table.from_pylist(
        [
            {"key": key, "url": "u", "score": score, "created_utc": created, "subreddit": "", "id": "", "line": line,
             "reason": "", "detail": "", "broken": False, "source": source}
            for key, score, created, source, line in links
        ],
        schema,
    )  # fmt: skip
    urls, rejects, counted = choose_urls(table, rules)
    columns = ["score", "n_submissions", "first_utc", "source", "line"]
    assert {row["key"]: tuple(row[name] for name in columns) for row in urls.to_pylist()} == expected
    assert urls.schema == URL_SCHEMA
    assert rejects.schema == REJECT_SCHEMA
    assert counted == lost
    assert rejects.num_rows == sum(n for (_, reason), n in lost.items() if reason == "duplicate_url")


@settings(deadline=None)
@given(st.lists(st.text(), max_size=50), st.integers(1, 4_096))
def test_partitions_are_within_their_number_and_a_function_of_the_place(places: list[str], n_parts: int):
    places = [place.encode("utf-8", "replace").decode() for place in places]
    parts = assign_parts(places, n_parts).tolist()
    assert all(0 <= part < n_parts for part in parts)
    assert parts == [assign_parts([place], n_parts)[0] for place in places]
