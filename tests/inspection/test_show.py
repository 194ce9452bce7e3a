"""show: documents, tokens and rejects as they are, harmless on a terminal."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.documents import DOCUMENT_SCHEMA
from inspection.errors import NotFoundError
from inspection.lookup import find_record
from inspection.rows import IdPrefix, match_id
from inspection.run_folder import open_run


def test_a_list_has_title_url_and_the_beginning_of_the_text(inspect_shards, little_run):
    outcome = inspect_shards("show", little_run.folder, "--limit", "3")
    for document in little_run.documents[:3]:
        for part in (document.document_id.hex(), document.title, document.url, document.text[:40].split("\n")[0]):
            assert part in outcome.out
    assert little_run.documents[3].document_id.hex() not in outcome.out


def test_a_document_is_found_by_the_first_digits_of_its_id(inspect_shards, little_run):
    document = little_run.documents[7]
    for digits in (5, 8, 31, 32):
        outcome = inspect_shards("show", little_run.folder, "--document", document.document_id.hex()[:digits])
        assert outcome.status == 0
        assert document.title in outcome.out


def test_sentences_decode_to_the_text_and_ids_are_shown_on_demand(inspect_shards, little_run):
    document = little_run.documents[2]
    asked = ("show", little_run.folder, "--document", document.document_id.hex())
    values = json.loads(inspect_shards(*asked, "--json").out)
    assert "".join(one["text"] for one in values["sentences"]) == document.text == values["document"]["text"]
    assert len(values["sentences"]) == 4
    plain, with_ids = inspect_shards(*asked).out, inspect_shards(*asked, "--ids").out
    ids = " ".join(map(str, values["sentences"][0]["ids"][:5]))
    assert f"ids {ids}" in with_ids
    assert "ids " not in plain
    assert "The river rose for the" in plain


def test_a_place_in_a_shard_shows_the_document_that_stands_there(inspect_shards, little_run):
    shard = little_run.manifest.shards[1]
    asked = ("show", little_run.folder, "--shard", shard.name, "--block", "2", "--position", "1", "--json")
    values = json.loads(inspect_shards(*asked).out)
    assert (values["placed"]["shard"], values["placed"]["block"], values["placed"]["position"]) == (shard.name, 2, 1)
    assert "".join(one["text"] for one in values["sentences"]) == values["document"]["text"]


def test_a_run_that_keeps_no_texts_shows_them_from_its_tokens(inspect_shards, make_run):
    run = make_run(with_documents=False)
    outcome = inspect_shards("show", run.folder, "--limit", "2")
    assert outcome.status == 0
    assert outcome.out.count("The river rose for the") >= 2
    document = run.documents[0]
    asked = inspect_shards("show", run.folder, "--document", document.document_id.hex())
    assert document.url in asked.out
    assert "The river rose for the 0th day." in asked.out


def test_a_run_without_shards_shows_its_documents(inspect_shards, make_run):
    run = make_run(with_shards=False)
    outcome = inspect_shards("show", run.folder, "--document", run.documents[0].document_id.hex())
    assert (outcome.status, "sentence" in outcome.out) == (0, False)


def test_rejects_are_listed_with_reason_and_place_and_can_be_asked_for_by_reason(inspect_shards, little_run):
    everything = json.loads(inspect_shards("show", little_run.folder, "--rejected", "--limit", "99", "--json").out)
    assert len(everything["rejected"]) == len(little_run.rejections)
    outcome = inspect_shards("show", little_run.folder, "--rejected", "--reason", "duplicate_url")
    assert outcome.out.count("duplicate_url") == 5
    assert "language" not in outcome.out
    wrong = inspect_shards("show", little_run.folder, "--rejected", "--reason", "ugly")
    assert wrong.status == 1
    assert "too_few_words" in wrong.err


def test_a_rejected_id_says_where_and_why_it_was_lost(inspect_shards, little_run):
    lost = little_run.rejections[1]
    outcome = inspect_shards("show", little_run.folder, "--document", lost.document_id.hex())
    assert outcome.status == 0
    for part in (lost.stage, lost.reason, lost.detail, lost.url):
        assert part in outcome.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--document", "0" * 32), "no record"),
        (("--shard", "nonsense", "--block", "0", "--position", "0"), "no shard"),
        (("--shard", "little-00000-of-00002", "--block", "999", "--position", "0"), "no block"),
        (("--shard", "little-00000-of-00002", "--block", "0", "--position", "-1"), "no document"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_1(inspect_shards, little_run, asked, said):
    outcome = inspect_shards("show", little_run.folder, *asked)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert said in outcome.err


def test_an_ambiguous_id_names_some_of_those_it_may_mean(little_run):
    run = open_run(str(little_run.folder))
    ids = [one.document_id.hex() for one in (*little_run.documents, *little_run.rejections)]
    digit = max("0123456789abcdef", key=lambda digit: sum(one.startswith(digit) for one in ids))
    meant = sorted(one for one in ids if one.startswith(digit))
    with pytest.raises(NotFoundError, match="give more digits") as error:
        find_record(run, IdPrefix(digit))
    assert f"{len(meant)} ids begin with {digit} ({meant[0]}" in str(error.value)


@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.integers(1, 32), st.binary(min_size=16, max_size=16)
)
def test_ids_match_by_their_digits_and_by_nothing_else(ids, n_digits, wanted):
    wanted = ids[0] if ids else wanted
    column = pa.chunked_array([pa.array(ids[:7], pa.binary(16)), pa.array(ids[7:], pa.binary(16))])
    found = match_id(IdPrefix(wanted.hex()[:n_digits]))(column)
    assert found.tolist() == [one.hex().startswith(wanted.hex()[:n_digits]) for one in ids]


@pytest.mark.parametrize("damage", ["cut", "flipped", "not UTF-8"])
def test_a_damaged_table_is_one_line_that_names_it(inspect_shards, make_run, damage):
    run = make_run(with_shards=False)
    path = run.folder / "documents" / "part-0.parquet"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-20])
    elif damage == "flipped":
        data[len(data) // 4] ^= 255
        path.write_bytes(data)
    else:
        rows = pq.read_table(path).drop_columns("title")
        wrong = pa.array([b"\xff\xfe"] * rows.num_rows).cast(pa.string(), safe=False)
        pq.write_table(rows.append_column("title", wrong), path)
    for asked in ((), ("--document", run.documents[0].document_id.hex())):
        outcome = inspect_shards("show", run.folder, *asked)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert str(path) in outcome.err


def test_hostile_text_reaches_the_terminal_as_data(inspect_shards, make_run):
    run = make_run(with_shards=False)
    path = run.folder / "documents" / "part-0.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0] |= {
        "title": "\x1b]0;owned\x07\u202eevil",
        "text": "\x1b[2J\x00bell\x07" + "x" * 5_000,
        "url": "http://a/\x1b[31m",
    }
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), path)
    for asked in (
        (),
        ("--document", rows[0]["document_id"].hex()),
        ("--document", rows[0]["document_id"].hex(), "--chars", "0"),
    ):
        out = inspect_shards("show", run.folder, *asked).out
        assert "\\x1b" in out
        assert not {"\x1b", "\x00", "\x07", "\u202e"} & set(out)
