"""A manifest comes back as it was written, and one that was edited is refused by file and key."""

import copy
import hashlib
import json
import time

import numpy as np
import pytest

from bpe.errors import ShardError
from bpe.layout import BlockTable, block_offsets, block_sizes, shard_bytes
from bpe.manifest import (
    FileEntry,
    Manifest,
    Removal,
    ShardEntry,
    dump_manifest,
    load_manifest,
    parse_manifest,
    settings_hash,
    verify_files,
)


def name_of_part(part: object) -> str:
    return "edit" if callable(part) else str(part)[:40]  # the same in every process


def edited(manifest, path, value):
    """The manifest's bytes with one value replaced; a value that is `...` removes the key."""
    plain = json.loads(dump_manifest(manifest))
    *way, last = path
    place = plain
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value(place[last]) if callable(value) else value
    return json.dumps(plain).encode()


def test_a_manifest_comes_back_as_it_was_written(manifest, tmp_path):
    (tmp_path / "manifest.json").write_bytes(dump_manifest(manifest))
    for path in (tmp_path, str(tmp_path), tmp_path / "manifest.json"):
        back = load_manifest(path)
        assert dump_manifest(back) == dump_manifest(manifest)
        assert back._replace(shards=()) == manifest._replace(shards=())
        assert back.shards[0]._replace(blocks=None) == manifest.shards[0]._replace(blocks=None)
        for found, said in zip(back.shards[0].blocks, manifest.shards[0].blocks, strict=True):
            assert np.array_equal(found, said)
            assert found.dtype == said.dtype


def test_the_form_is_canonical(manifest):
    data = dump_manifest(manifest)
    assert data.endswith(b"}\n")
    assert data.isascii()
    plain = json.loads(data)
    assert list(plain) == sorted(plain)
    assert list(plain["settings"]) == sorted(plain["settings"])
    shuffled = manifest._replace(settings=dict(reversed(manifest.settings.items())))
    assert dump_manifest(shuffled) == data


def test_a_name_that_is_not_utf_8_survives(manifest):
    assert parse_manifest(dump_manifest(manifest)).inputs[1].name == "b: odd\udcff.txt"


def test_a_run_without_vocabulary_has_no_shards(manifest):
    bare = manifest._replace(
        vocabulary=None, shards=(), report=None, counts=manifest.counts._replace(sentences=0, tokens=0)
    )
    assert dump_manifest(parse_manifest(dump_manifest(bare))) == dump_manifest(bare)


def test_text_without_an_address_has_a_domain_too(manifest):
    data = edited(manifest, ["statistics", "domains", "top"], [["", 7], ["example.com", 1]])
    assert parse_manifest(data).statistics["domains"] == {"distinct": 1, "top": [["", 7], ["example.com", 1]]}


def test_a_run_that_read_nothing_is_a_run(manifest):
    empty = manifest._replace(
        vocabulary=None,
        shards=(),
        documents=(),
        rejected=(),
        books=manifest.books._replace(read=0, kept=0, rejected={}, broken={}),
        counts=manifest.counts._replace(documents=0, sentences=0, tokens=0),
    )
    assert parse_manifest(dump_manifest(empty)) == empty


def test_a_manifest_that_contradicts_itself_is_never_written(manifest):
    with pytest.raises(ShardError, match="books"):
        dump_manifest(manifest._replace(books=manifest.books._replace(read=1)))


def test_the_hash_of_settings_depends_on_nothing_but_their_values():
    assert settings_hash({"b": (1, 2), "a": {"y": 1.5, "x": None}}) == settings_hash(
        {"a": {"x": None, "y": 1.5}, "b": [1, 2]}
    )
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        settings_hash({"a": object()})


REMOVAL = Removal(
    request_sha256="a" * 64,
    targets={"url": 1, "domain": 0},
    reason="",
    date="2026-01-31",
    documents=2,
    sentences=5,
    tokens=50,
    text_bytes=300,
    emptied=1,
    dependents=0,
    files=("documents/part-0.parquet", "rejected/part-0.parquet"),
    previous_manifest="b" * 64,
)


@pytest.fixture
def rich(manifest):
    """A manifest with everything that is optional: state, details, a removal."""
    return manifest._replace(
        books=manifest.books._replace(read=manifest.books.read + 2, rejected={"too_short": 2, "forgotten": 2}),
        rejected=(manifest.rejected[0]._replace(rows=5),),
        statistics={**manifest.statistics, "details": {"cut": {"score": 0.5, "kept": [1, None, "x", True]}}},
        state=(FileEntry("state/keys.parquet", 3, "7" * 64, 2), FileEntry("state/rules.json", 2, "8" * 64)),
        removals=(REMOVAL,),
    )


def test_what_a_run_does_not_have_leaves_no_trace_in_its_manifest(manifest):
    plain = json.loads(dump_manifest(manifest))
    assert not {"state", "removals"} & plain.keys()
    assert "details" not in plain["statistics"]
    assert (parse_manifest(dump_manifest(manifest)).state, parse_manifest(dump_manifest(manifest)).removals) == ((), ())


def test_state_details_and_removals_come_back_as_they_were_written(rich):
    back = parse_manifest(dump_manifest(rich))
    assert (back.state, back.removals, back.statistics) == (rich.state, rich.removals, rich.statistics)
    assert dump_manifest(back) == dump_manifest(rich)


RICH_EDITS = [
    (["state"], [], r"at state: an empty list; leave the key out"),
    (["state"], {}, r"at state: a list was expected, found an object"),
    (["state", 0, "name"], "documents/keys.parquet", r"at state\[0\].name: 'documents/keys.parquet' is not"),
    (["state", 0, "name"], "state/../x", r"at state\[0\].name: .*leaves its folder"),
    (["state", 0, "sha256"], ..., r"at state\[0\].sha256: this key is missing"),
    (["state", 0, "rows"], -1, r"at state\[0\].rows: a whole number"),
    (["state", 0, "mode"], 5, r"at state\[0\].mode: unknown key"),
    (["state"], lambda state: [*state, state[0]], r"'state/keys.parquet' is listed twice"),
    (["removals"], [], r"at removals: an empty list"),
    (["removals"], ..., r"at removals: 0, but 2 records are forgotten"),
    (["removals", 0, "documents"], 3, r"at removals: 3, but 2 records are forgotten"),
    (["removals", 0, "urls"], ["https://example.com/"], r"at removals\[0\].urls: unknown key"),
    (["removals", 0, "tokens"], ..., r"at removals\[0\].tokens: this key is missing"),
    (["removals", 0, "tokens"], "5", r"at removals\[0\].tokens: a whole number"),
    (["removals", 0, "targets"], [], r"at removals\[0\].targets: an object was expected"),
    (["removals", 0, "reason"], None, r"at removals\[0\].reason: a text was expected"),
    (["removals", 0, "date"], "yesterday", r"at removals\[0\].date: 'yesterday' is no day"),
    (["removals", 0, "date"], "20260131", r"at removals\[0\].date: '20260131' is no day"),
    (["removals", 0, "request_sha256"], "", r"at removals\[0\].request_sha256: a text"),
    (["removals", 0, "previous_manifest"], "B" * 64, r"at removals\[0\].previous_manifest"),
    (["removals", 0, "files", 0], "/etc/passwd", r"at removals\[0\].files\[0\]: '/etc/passwd' is not a relative name"),
    (["removals", 0, "files"], lambda names: names[::-1], r"at removals\[0\].files: the names are not in order"),
    (["statistics", "details"], {}, r"at statistics.details: an object with at least one member"),
    (["statistics", "details"], [1], r"at statistics.details: an object"),
    (["statistics", "details", "cut"], json.loads("[" * 9 + "]" * 9), r"at statistics.details.cut[.0]*: .*too deeply"),
    (["statistics", "examples"], {}, r"at statistics.examples: unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "found"), RICH_EDITS, ids=name_of_part)
def test_edited_state_details_and_removals_are_refused_by_key(rich, path, value, found):
    with pytest.raises(ShardError, match=found):
        parse_manifest(edited(rich, path, value))


def test_a_number_that_no_manifest_could_hold_is_refused(rich):
    with pytest.raises(ShardError, match=r"statistics.details.cut.score: the number is too large"):
        parse_manifest(dump_manifest(rich).replace(b'"score":0.5', b'"score":1e999'))


NAME = ["shards", 0, "name"]
LISTED = (NAME, ["shards", 0, "lineage", "name"], ["documents", 0, "name"], ["rejected", 0, "name"])
EDITS = [
    (["format"], "shardmill-manifest-2", r"at format: found 'shardmill-manifest-2'"),
    (["format"], ..., r"at format: found None"),
    (["format"], "shardmill-removal-1", r"at format: documents are being removed from this run.*prep-shards forget"),
    (["books"], ..., r"at books: this key is missing"),
    (["extra"], 1, r"at extra: unknown key"),
    (["shards", 0, "lineage"], ..., r"at shards\[0\].lineage: this key is missing"),
    (["shards", 0, "blocks", "extra"], [], r"at shards\[0\].blocks.extra: unknown key"),
    (["counts", "tokens"], lambda n: n + 1, r"at counts.tokens"),
    (["counts", "sentences"], lambda n: n - 1, r"at counts.sentences"),
    (["counts", "documents"], lambda n: n + 1, r"at counts.documents"),
    (["counts", "tokens"], "many", r"at counts.tokens: a whole number from 0 was expected, found 'many'"),
    (["counts", "administrative"], -1, r"at counts.administrative: a whole number from 0"),
    (["counts", "administrative"], 1.5, r"at counts.administrative: a whole number from 0"),
    (["counts", "administrative"], True, r"at counts.administrative: a whole number from 0"),
    (["counts", "administrative"], 1 << 70, r"at counts.administrative: a whole number from 0"),
    (["books", "read"], lambda n: n + 1, r"at books: \d+ read, but"),
    (["books", "rejected", "too_short"], 1, r"at books"),
    (["books", "broken"], [], r"at books.broken: an object was expected, found a list"),
    (["rejected", 0, "rows"], 2, r"at rejected: 2, but 3 records rejected or broken"),
    (["documents", 0, "rows"], lambda n: n + 1, r"at counts.documents: \d+, but \d+ rows of documents"),
    (["documents", 0, "rows"], None, r"at documents\[0\].rows: a whole number"),
    (["settings", "corpus"], "other", r"at settings_hash"),
    (["settings"], [], r"at settings: an object was expected"),
    (["vocabulary"], None, r"at vocabulary: there are shards"),
    (["vocabulary", "encoding"], "utf-7", r"at vocabulary.encoding: 'utf-7' is none of fairseq, lossless"),
    (["shards", 0, "split"], "test", r"at shards\[0\].split: 'test' is none of train, held-out"),
    (["shards", 0, "sha256"], "ABC", r"at shards\[0\].sha256"),
    (["shards", 0, "sha256"], "A" * 64, r"at shards\[0\].sha256"),
    (["shards", 0, "bytes"], lambda n: n + 512, r"at shards\[0\]: bytes is"),
    (["shards", 0, "n_tokens"], lambda n: n + 1, r"at shards\[0\]: n_tokens is"),
    (["shards", 0, "n_documents"], lambda n: n + 1, r"at shards\[0\].lineage: \d+ rows for"),
    (["shards", 0, "blocks", "n_tokens", 1], lambda n: n + 1, r"at shards\[0\]: n_tokens"),
    (["shards", 0, "blocks", "offset", 1], lambda n: n + 512, r"at shards\[0\]: the offsets"),
    (["shards", 0, "blocks", "offset", 0], -512, r"at shards\[0\].blocks.offset: a number is negative"),
    (["shards", 0, "blocks", "crc32c", 0], 1 << 32, r"at shards\[0\].blocks.crc32c"),
    (["shards", 0, "blocks", "crc32c", 0], 1 << 80, r"at shards\[0\].blocks.crc32c: a number is too large"),
    (["shards", 0, "blocks", "crc32c", 0], ..., r"at shards\[0\].blocks: the columns are not of one length"),
    (["shards", 0, "blocks", "n_tokens", 0], True, r"at shards\[0\].blocks.n_tokens: whole numbers"),
    (["shards", 0, "blocks", "n_tokens"], "x", r"at shards\[0\].blocks.n_tokens: a list"),
    (["shards", 0, "blocks", "n_tokens"], lambda n: [sum(n), *[0 for _ in n[1:]]], r"at shards\[0\]: a block whose"),
    (["shards"], lambda shards: [*shards, shards[0]], r"at counts|listed twice"),
    (["inputs"], lambda inputs: [inputs[0], inputs[0]], r"at inputs: 'crawl/a.warc.gz' is listed twice"),
    (["inputs", 0, "name"], "/etc/passwd", r"at inputs\[0\].name"),
    (["inputs", 0, "name"], "../a", r"at inputs\[0\].name"),
    (["inputs", 0, "name"], "https://example.com/a", r"at inputs\[0\].name"),
    (["statistics", "domains", "top", 0], ["example.com"], r"at statistics.domains.top\[0\]: a pair"),
    (["statistics", "domains", "top", 0], [None, 1], r"at statistics.domains.top\[0\]\[0\]: a domain"),
    (["statistics", "languages", "en"], "x", r"at statistics.languages.en"),
    (["report", "sha256"], 5, r"at report.sha256: a text was expected"),
    (["name"], "", r"at name: a text was expected"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "found"), EDITS, ids=name_of_part)
def test_an_edited_manifest_is_refused_by_key(manifest, tmp_path, path, value, found):
    (tmp_path / "manifest.json").write_bytes(edited(manifest, path, value))
    with pytest.raises(ShardError, match=r"manifest\.json.*" + found):
        load_manifest(tmp_path)


@pytest.mark.parametrize("place", LISTED, ids=lambda place: place[0] + place[-2 if len(place) > 3 else -1])
@pytest.mark.parametrize(
    "name",
    [
        "../x.tar",
        "shards/../../x.tar",
        "/etc/passwd",
        "http://example.com/x.tar",
        "pipe:touch marker",
        "gs:x",
        "C:x.tar",
        "shards//x.tar",
        "shards/./x.tar",
        "shards\\x.tar",
        "shards/x\n.tar",
        "shards/x\0.tar",
        "shards/",
        "",
    ],
)
def test_only_files_beside_the_manifest_can_be_listed(manifest, place, name):
    with pytest.raises(ShardError, match=r"\.name: "):
        parse_manifest(edited(manifest, place, name))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "not the JSON"),
        (b"{", "not the JSON"),
        (b"\xff\xfe{}", "not the JSON"),
        (b"[" * 100_000, "not the JSON"),
        (b'{"format": NaN}', "NaN is not a JSON number"),
        (b'{"format": 1, "format": 2}', "'format' is given twice"),
        (b'{"n": ' + b"9" * 5_000 + b"}", "not the JSON"),
        (b"[]", "at format"),
        (b"null", "at format"),
    ],
)
def test_what_is_no_manifest_is_refused(data, found):
    with pytest.raises(ShardError, match=found):
        parse_manifest(data)


def test_a_folder_without_a_manifest_is_no_finished_run(tmp_path):
    with pytest.raises(ShardError, match=r"manifest\.json.*no finished run"):
        load_manifest(tmp_path)


@pytest.fixture
def run(tmp_path, shard, manifest) -> tuple:
    """A folder in which every listed file has its right content, and its manifest."""

    def put(entry):
        path = tmp_path / entry.name
        path.parent.mkdir(exist_ok=True)
        data = entry.name.encode() * 3
        path.write_bytes(data)
        return entry._replace(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    row = shard[1]._replace(lineage=put(shard[1].lineage))
    return tmp_path, manifest._replace(
        shards=(row,),
        vocabulary=put(manifest.vocabulary),
        report=put(manifest.report),
        documents=tuple(map(put, manifest.documents)),
        rejected=tuple(map(put, manifest.rejected)),
        state=(put(FileEntry("state/keys.parquet", 0, "")),),
    )


def test_a_run_whose_files_are_all_there_has_no_faults(run):
    root, manifest = run
    (root / "work").mkdir()
    (root / "work" / "anything").write_bytes(b"not our business")
    assert verify_files(manifest, root, full=True) == []


def test_missing_extra_and_changed_files_are_named(run):
    root, manifest = run
    (root / "report.html").unlink()
    (root / "documents" / "part-0.parquet").write_bytes(b"longer than it was by a good deal, certainly so")
    (root / "shards" / "x.parquet").write_bytes(b"X" + (root / "shards" / "x.parquet").read_bytes()[1:])
    (root / "shards" / "extra.tar").write_bytes(b"")
    (root / "state" / "keys.parquet").unlink()
    (root / "state" / "extra.json").write_bytes(b"{}")
    faults = [str(fault) for fault in verify_files(manifest, root, full=True)]
    assert len(faults) == 6
    for fault, (name, found) in zip(
        faults,
        [
            ("documents/part-0.parquet", "bytes, but the manifest says"),
            ("report.html", "missing"),
            ("shards/extra.tar", "not listed"),
            ("shards/x.parquet", "sha256"),
            ("state/extra.json", "not listed"),
            ("state/keys.parquet", "missing"),
        ],
        strict=True,
    ):
        assert name in fault
        assert found in fault
    assert len(verify_files(manifest, root, full=False)) == 5


def test_a_large_manifest_loads_at_two_thousand_shards_a_second(manifest):
    big = make_big_manifest(manifest, n_shards=2_000, n_blocks=250)
    data = dump_manifest(big)
    seconds = []
    for _ in range(3):  # what else the machine does only adds
        started = time.process_time()
        back = parse_manifest(data)
        seconds.append(time.process_time() - started)
        assert len(back.shards) == 2_000
    assert min(seconds) < 1.2  # 10,000 shards of 256 MiB in 6 s


def make_big_manifest(manifest: Manifest, *, n_shards: int, n_blocks: int) -> Manifest:
    rng = np.random.default_rng(1)
    tokens, sentences = rng.integers(524_288, 526_000, n_blocks), rng.integers(20_000, 30_000, n_blocks)
    documents = rng.integers(500, 900, n_blocks)
    sizes = block_sizes(tokens, sentences, documents)
    blocks = BlockTable(
        block_offsets(sizes), tokens, sentences, documents, rng.integers(0, 1 << 32, n_blocks, np.uint32)
    )
    n = int(documents.sum())
    shards = tuple(
        ShardEntry(
            f"shards/x-{k}.tar", shard_bytes(sizes), "0" * 64, "train", n, int(sentences.sum()), int(tokens.sum()),
            FileEntry(f"shards/x-{k}.parquet", 5, "1" * 64, n), copy.copy(blocks),
        )
        for k in range(n_shards)
    )  # fmt: skip
    total = n * n_shards
    return manifest._replace(
        shards=shards,
        documents=(manifest.documents[0]._replace(rows=total),),
        books=manifest.books._replace(read=total + 3, kept=total),
        counts=manifest.counts._replace(
            documents=total, sentences=int(sentences.sum()) * n_shards, tokens=int(tokens.sum()) * n_shards
        ),
    )
