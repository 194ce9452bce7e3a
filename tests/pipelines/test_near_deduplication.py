"""Near-deduplication finds planted pairs, drops nothing else, and month by month equals everything at once."""

import hashlib
import importlib.util
import json
import os
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bpe.manifest import FileEntry, load_manifest
from corpora.documents import Document
from corpora.near_duplicates import NearDuplicateRules, count_common, slow_similarity
from corpora.shingles import hash_ngrams, hash_words, shingle_sets
from pipelines.commit import CommitRun, RunIdentity
from pipelines.deduplication import LOSERS
from pipelines.duplicates import KeepTexts, RemoveDuplicates
from pipelines.near_state import fingerprints, open_earlier_runs
from pipelines.running import run_pipeline
from pipelines.select_stage import ENCODED, ReadCandidates, WriteParts
from pipelines.settings import DeduplicationRules, Execution, SelectionRules, ShardRules
from pipelines.sharding import ShardCounts
from pipelines.work_files import write_work_file

NEAR = NearDuplicateRules(expected_documents=1_000)
RULES = SelectionRules(near_duplicates=NEAR)
WORDS = [f"{a}{b}{c}" for a in "bcdfghjklm" for b in "aeiou" for c in "nprstvwxyz"]


class Text(NamedTuple):
    """A document as these tests see it."""

    number: int
    text: str
    fetched_at: str = ""
    url: str = ""

    @property
    def document_id(self) -> bytes:
        return hashlib.blake2b(b"%d" % self.number, digest_size=16).digest()


class Outcome(NamedTuple):
    """What a run did, by the numbers of documents."""

    folder: Path
    losers: dict[int, tuple[str, int, float | None]]  # reason, kept, similarity
    kept: set[int]
    report: dict[str, Any]
    state: list[FileEntry]


def run(
    folder: Path,
    texts: Sequence[Text],
    *,
    rules: SelectionRules = RULES,
    against: Sequence[Path] = (),
    texts_per_file: int = 50,
    workers: int = 1,
    altered_later: Sequence[Text] = (),
) -> Outcome:
    """A whole run of selection over work files, committed: what a later run reads is really there."""
    for name in ("work", "documents", "rejected", "state"):
        (folder / name).mkdir(parents=True)
    files = write_files(folder / "work", texts, texts_per_file)
    earlier = open_earlier_runs([str(path) for path in against], rules)
    altered = [("part-000", (text.document_id, text.text)) for text in altered_later]
    execution = Execution(output=str(folder), workers=workers)
    run_pipeline(lambda pipeline: build(pipeline, folder, files, rules, earlier, altered), execution)
    return read_outcome(folder, texts, against)


def write_files(folder: Path, texts: Sequence[Text], texts_per_file: int) -> list[Any]:
    files = []
    for number, start in enumerate(range(0, len(texts), texts_per_file)):
        documents = [as_document(text, number) for text in texts[start : start + texts_per_file]]
        path = str(folder / f"{number:03d}.parquet")
        summary = write_work_file(path, documents, n_read=len(documents), administrative=0)
        files.append((f"part-{number // 2:03d}", (number, path, summary)))
    return files


def as_document(text: Text, number: int) -> Document:
    url = text.url or f"http://a.example/{text.number}"
    return Document(
        text.document_id, url, "T", text.text, "", "en", f"file-{number}", text.number, text.fetched_at, (), "", "",
        "utf-8", "http", "x 1",
    )  # fmt: skip


def build(
    pipeline: Any, folder: Path, files: list[Any], rules: SelectionRules, earlier: Any, altered: list[Any]
) -> None:
    source = pipeline | "Files" >> beam.Create(files)
    read = source | beam.ParDo(ReadCandidates(rules.deduplication)).with_outputs(LOSERS, main="candidates")
    found = {"files": source, "candidates": read.candidates} | RemoveDuplicates(
        rules, output=str(folder), earlier=earlier
    )
    writer = WriteParts(
        folder=str(folder), rules=ShardRules(), vocabulary="", evaluation_index="", kinds=(), keep_altered=False
    )
    parts = (
        {"files": source, "losers": found.losers}
        | "Parts" >> beam.CoGroupByKey()
        | beam.ParDo(writer, counts=ShardCounts(1, 0)).with_outputs(ENCODED, main="summaries")
    )
    written = {
        "inputs": pipeline | "Inputs" >> beam.Create([(str(folder.name), 1, "f")]),
        "parts": parts.summaries,
        "shards": pipeline | "Shards" >> beam.Create([]),
        "details": found.details,
        "state": (
            found.state,
            pipeline | "Altered" >> beam.Create(altered) | KeepTexts(output=str(folder)),
        )
        | "All state" >> beam.Flatten(),
    }
    _ = written | CommitRun(
        folder=str(folder), identity=RunIdentity("test", {"folder": folder.name}), vocabulary=None, evaluation_index=""
    )
    _ = (
        {"n": found.kept | "Kept ids" >> beam.Map(lambda one: ("all", one[1].hex()))}
        | beam.CoGroupByKey()
        | beam.Map(lambda one, path: Path(path).write_text(json.dumps(sorted(one[1]["n"]))), str(folder / "kept.json"))
    )


def read_outcome(folder: Path, texts: Sequence[Text], against: Iterable[Path]) -> Outcome:
    manifest = load_manifest(folder)
    known = {text.document_id: text.number for text in texts}
    for other in against:
        known |= json.loads((other / "numbers.json").read_text(), object_hook=_from_hex)
    (folder / "numbers.json").write_text(json.dumps({one.hex(): n for one, n in known.items()}))
    losers = {}
    for entry in manifest.rejected:
        for row in pq.read_table(folder / entry.name).to_pylist():
            losers[known[row["document_id"]]] = (row["reason"], known[row["dropped_by"]], row["similarity"])
    ids = [one for entry in manifest.documents for one in pq.read_table(folder / entry.name)["document_id"].to_pylist()]
    kept = {known[one] for one in ids}
    file = folder / "kept.json"  # not there where nothing was kept
    assert {known[bytes.fromhex(one)] for one in (json.loads(file.read_text()) if file.exists() else [])} == kept
    details = manifest.statistics.get("details", {})
    return Outcome(folder, losers, kept, details.get("near_duplicates", {}), list(manifest.state))


def _from_hex(found: dict[str, int]) -> dict[bytes, int]:
    return {bytes.fromhex(name): number for name, number in found.items()}


def prose(seed: int, n_words: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=n_words)


def altered(words: Sequence[str], rate: float, seed: int) -> str:
    chosen = random.Random(seed)
    return " ".join(f"other{chosen.randrange(10**6)}" if chosen.random() < rate else word for word in words)


def similarity(one: str, other: str) -> float:
    return float(slow_similarity(one, other))


@pytest.fixture(scope="session")
def planted(project_root: Path) -> ModuleType:
    """The benchmark's maker of documents with planted pairs."""
    path = project_root / "tests" / "benchmarks" / "planted_pairs.py"
    spec = importlib.util.spec_from_file_location("planted_pairs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_planted_pairs_among_real_sentences_are_found_and_nothing_else_is(
    planted: ModuleType, shared_data: Path, tmp_path: Path
):
    made = list(planted.make_documents(planted.load_sentences(shared_data), 5_000, seed=11, mean_sentences=15))
    texts = [Text(number, one.text, one.fetched_at) for number, one in enumerate(made)]
    outcome = run(tmp_path / "out", texts, texts_per_file=700)
    sets = shingle_sets(hash_ngrams(hash_words([text.text for text in texts]), 5, short_texts=True))
    edges = pq.read_table([str(tmp_path / "out" / entry.name) for entry in outcome.state if "edges" in entry.name])
    number_of = {text.document_id: text.number for text in texts}
    found = {
        frozenset((number_of[row["earlier_id"]], number_of[row["later_id"]])): row["common"]
        for row in edges.to_pylist()
    }
    near, high = [], []
    for number, one in enumerate(made):
        if one.copy_of < 0 or "duplicate_text" in (outcome.losers.get(n, ("",))[0] for n in (number, one.copy_of)):
            continue
        common = count_common(sets[number], sets[one.copy_of])
        jaccard = common / (sets[number].size + sets[one.copy_of].size - common)
        pair = frozenset((number, one.copy_of))
        if jaccard > 0.7:
            high.append(pair in found)
        elif jaccard > 0.5:
            near.append(pair in found)
        else:
            assert pair not in found
    assert len(near) > 70
    assert all(high)
    assert sum(near) / len(near) >= 0.98
    for pair in list(found)[:100]:
        assert slow_similarity(*(texts[number].text for number in pair)) > NEAR.exact_threshold
    report = outcome.report
    assert report["precision_check"] == {"pairs": 200, "confirmed": 200}
    assert report["recall_estimate"] > 0.995
    assert report["canaries"]["found"] >= 0.9 * report["canaries"]["planted"] > 10
    assert report["pairs_found"] == len(found) == sum(report["pairs_by_similarity"].values())
    assert report["dropped"] == sum(reason == "near_duplicate" for reason, *_ in outcome.losers.values())
    assert report["unconverged"] == report["pairs_without_text"] == report["id_collisions"] == 0


@pytest.fixture(scope="module")
def stories() -> list[Text]:
    """40 stories in four versions each, the later ones further away."""
    words = [prose(seed, 120) for seed in range(40)]
    return [
        Text(10 * k + c, altered(words[k], 0.02 * c, seed=c), f"2016-09-{1 + (k * 7 + c * 5) % 28:02d}T00:00:00Z")
        for k in range(40)
        for c in range(4)
    ]


@pytest.fixture(scope="module")
def told(stories: list[Text], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(tmp_path_factory.mktemp("told") / "same", stories)


def test_who_is_dropped_names_a_kept_document_and_its_similarity(stories: list[Text], told: Outcome):
    by_number = {text.number: text for text in stories}
    assert len(told.losers) > 60
    for lost, (reason, kept, jaccard) in told.losers.items():
        assert reason == "near_duplicate"
        assert kept in told.kept
        assert by_number[kept].fetched_at <= by_number[lost].fetched_at
        assert jaccard == similarity(by_number[kept].text, by_number[lost].text) > 0.5
    for k in range(40):  # whoever is kept has no similar document before it that is kept too
        group = sorted((by_number[10 * k + c] for c in range(4)), key=lambda one: (one.fetched_at, -len(one.text)))
        kept = [one for one in group if one.number in told.kept]
        for i, one in enumerate(kept):
            assert all(similarity(one.text, other.text) <= 0.5 for other in kept[:i])


def test_two_workers_and_other_files_give_the_same(stories: list[Text], told: Outcome, tmp_path: Path):
    two = run(tmp_path / "same", stories, workers=2)
    assert two == told._replace(folder=two.folder)
    shuffled = random.Random(3).sample(stories, len(stories))
    assert run(tmp_path / "shuffled", shuffled, texts_per_file=13).losers == told.losers


def test_a_crowd_of_copies_leaves_one(tmp_path: Path):
    words = prose(1, 200)
    texts = [
        Text(k, altered(words, 0.004, seed=k), f"2016-09-01T00:{59 - k // 60:02d}:{59 - k % 60:02d}Z")
        for k in range(1_200)
    ]
    rules = SelectionRules(deduplication=DeduplicationRules(by_text=False), near_duplicates=NEAR)
    outcome = run(tmp_path / "out", texts, rules=rules, texts_per_file=500)
    assert outcome.kept == {1_199}  # the earliest
    assert outcome.report["large_buckets"] > 0
    assert outcome.report["largest_buckets"][0]["documents"] > 1_000


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run over odd texts that have nothing to do with each other."""
    words = prose(1, 150)
    texts = [
        *(Text(1, "Stop it now"), Text(2, "stop it, now!"), Text(3, "Stop it then"), Text(4, "..."), Text(5, "--- !")),
        Text(11, " ".join(words), "2016-09-01T00:00:00Z"),
        Text(12, altered(words, 0.02, seed=1), "2016-09-02T00:00:00Z", "http://a.example/same"),
        Text(13, " ".join(prose(2, 150)), "2016-09-03T00:00:00Z", "http://a.example/same"),
    ]
    return run(tmp_path_factory.mktemp("corners") / "run", texts)


def test_short_texts_are_compared_and_empty_ones_are_not(corners: Outcome):
    assert {1, 2} & corners.losers.keys() in ({1}, {2})
    assert not {3, 4, 5} & corners.losers.keys()
    assert (corners.report["short"], corners.report["without_words"]) == (3, 2)


def test_an_exact_loser_names_who_is_kept_in_the_end(corners: Outcome):
    """13 lost to 12 by its URL, and 12 is a near-duplicate of 11: nobody may name 12."""
    assert corners.losers[12][:2] == ("near_duplicate", 11)
    assert corners.losers[13] == ("duplicate_url", 11, None)


def corpus_of(seed: int) -> list[Text]:
    """Stories that drift from month to month, exact copies by text and by URL among them; fetched in any order."""
    chosen = random.Random(seed)
    texts: list[Text] = []
    for number in range(240):
        fetched = f"2016-{chosen.randint(1, 12):02d}-{chosen.randint(1, 28):02d}T{chosen.randrange(24):02d}:00:00Z"
        earlier = chosen.choice(texts) if texts else None
        kind = chosen.random()
        if earlier is None or kind < 0.3:
            text = Text(number, " ".join(prose(seed * 1_000 + number, chosen.randint(30, 120))), fetched)
        elif kind < 0.8:
            text = Text(number, altered(earlier.text.split(), chosen.choice([0.01, 0.03, 0.06]), number), fetched)
        elif kind < 0.9:
            text = Text(number, earlier.text, fetched)
        else:
            url = earlier.url or f"http://a.example/{earlier.number}"
            text = Text(number, " ".join(prose(seed * 7_000 + number, 60)), fetched, url)
        texts.append(text)
    return texts


def test_month_by_month_equals_everything_at_once(tmp_path: Path):
    """A rebuild is one run over all input in which what an earlier run took in counts as fetched before."""
    seed = int(os.environ.get("SHARDMILL_TEST_SEED", "1"))
    texts, chosen = corpus_of(seed), random.Random(seed)
    epochs = {text.number: chosen.randrange(3) for text in texts}
    months: list[Outcome] = []
    for epoch in range(3):
        mine = [text for text in texts if epochs[text.number] == epoch]
        before = [digest_of(month.folder) for month in months]
        months.append(run(tmp_path / f"month-{epoch}", mine, against=[month.folder for month in reversed(months)]))
        assert [digest_of(month.folder) for month in months[:-1]] == before  # nothing earlier is touched
    rebuilt = run(
        tmp_path / "rebuilt",
        [text._replace(fetched_at=f"{1000 + epochs[text.number]}{text.fetched_at[4:]}") for text in texts],
    )
    losers = {lost: row for month in months for lost, row in month.losers.items()}
    assert set().union(*(month.kept for month in months)) == rebuilt.kept
    assert losers == rebuilt.losers
    assert {row[0] for row in losers.values()} == {"near_duplicate", "duplicate_text", "duplicate_url"}
    across = [lost for lost, row in losers.items() if epochs[row[1]] < epochs[lost]]
    assert len(across) > 20
    assert months[2].report["earlier_documents"] == len(months[0].kept) + len(months[1].kept)


def test_exact_duplicates_of_earlier_runs_are_found_with_near_duplicates_off(tmp_path: Path):
    rules = SelectionRules()
    first = run(tmp_path / "first", [Text(1, "one text"), Text(2, "two")], rules=rules)
    later = [Text(3, "one  text"), Text(4, "three", url="https://www.a.example/2"), Text(5, "four")]
    second = run(tmp_path / "second", later, rules=rules, against=[first.folder])
    assert second.losers == {3: ("duplicate_text", 1, None), 4: ("duplicate_url", 2, None)}
    third = run(tmp_path / "third", [Text(6, "four")], rules=rules, against=[first.folder, second.folder])
    assert third.losers == {6: ("duplicate_text", 5, None)}
    assert third.kept == set()


def test_documents_are_compared_with_earlier_texts_as_they_were_before_decontamination(tmp_path: Path):
    words = [prose(seed, 100) for seed in (1, 2, 3)]
    texts = [Text(n, " ".join(words[n])) for n in range(3)]
    first = run(tmp_path / "first", texts, altered_later=texts[:2])
    path = first.folder / "documents" / "part-000.parquet"
    table = pq.read_table(path)
    cut = ["cut short" if n < 2 else text for n, text in enumerate(table["text"].to_pylist())]
    place, field = table.schema.get_field_index("text"), table.schema.field("text")
    pq.write_table(table.set_column(place, field, pa.array(cut, field.type)).slice(1), path)  # one gone, one cut short
    later = [Text(10 + n, " ".join([*words[n][:50], "other", *words[n][50:]])) for n in range(3)]
    second = run(tmp_path / "second", later, against=[first.folder])
    assert {lost: kept for lost, (_, kept, _) in second.losers.items()} == {10: 0, 11: 1, 12: 2}
    assert second.report["pairs_without_text"] == 0
    assert second.report["precision_check"] == {"pairs": 3, "confirmed": 3}


def test_an_earlier_document_whose_text_is_gone_is_not_compared_with(tmp_path: Path):
    words = prose(1, 100)
    first = run(tmp_path / "first", [Text(1, " ".join(words)), Text(2, " ".join(prose(2, 100)))])
    path = first.folder / "documents" / "part-000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    second = run(tmp_path / "second", [Text(3, altered(words, 0.02, 1))], against=[first.folder])
    assert second.kept == {3}
    assert second.report["pairs_without_text"] == 1


def digest_of(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome = run(tmp_path_factory.mktemp("finished") / "run", [Text(1, " ".join(prose(1, 100)))])
    assert outcome.kept == {1}
    assert outcome.report["recall_estimate"] is None  # nothing was found to judge it from
    return outcome.folder


def _change(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "state" / "deduplication.json"
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (SelectionRules(), "near-duplicates were on in that run and are off here"),
        (
            SelectionRules(near_duplicates=NearDuplicateRules(threshold="0.6", expected_documents=1_000)),
            "threshold is 0.5 there and 0.6 here",
        ),
        (
            SelectionRules(near_duplicates=NEAR, deduplication=DeduplicationRules(by_prefix_chars=100)),
            "by_prefix_chars is 0 there and 100 here",
        ),
    ],
)
def test_runs_of_other_rules_are_refused(finished: Path, rules: SelectionRules, said: str):
    with pytest.raises(ValueError, match=said) as raised:
        open_earlier_runs([str(finished)], rules)
    assert str(finished) in str(raised.value)
    assert "use the same" in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["hashing"].update(unicode="3.0.0"), "unicode is 3.0.0 there and .* same Python"),
        (lambda state: state["hashing"].update(shingle_version=0), "shingle_version is 0 there and 1 here"),
        (lambda state: state["exact"].update(key_version=0), "key_version is 0 there and 1 here"),
        (lambda state: state.update(format=0), "format 0, this version reads 1"),
        (lambda state: state.update(near_duplicates=None), "near-duplicates were off in that run"),
        (lambda state: state.update(made_against=["x"]), "made against 1 run.* name all of them"),
    ],
)
def test_runs_of_other_hashes_are_refused(finished: Path, tmp_path: Path, change: Any, said: str):
    copy = tmp_path / "copy"
    for path in finished.rglob("*"):
        if path.is_file() and "work" not in path.parts:
            target = copy / path.relative_to(finished)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    _change(copy, change)
    with pytest.raises(ValueError, match=said):
        open_earlier_runs([str(copy)], RULES)


def test_what_is_no_finished_run_is_refused(finished: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="no finished run there"):
        open_earlier_runs([str(tmp_path)], RULES)
    with pytest.raises(ValueError, match="named twice"):
        open_earlier_runs([str(finished), str(finished)], RULES)


def test_fingerprints_change_with_the_run(finished: Path):
    (one,) = fingerprints([str(finished)], RULES)
    assert one == hashlib.sha256((finished / "manifest.json").read_bytes()).hexdigest()
