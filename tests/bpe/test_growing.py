"""A generation lists the windows of a growing corpus in order; what does not agree is an error with file and key."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.growing import (
    FILE_NAME,
    Growing,
    Window,
    dump_growing,
    generation_name,
    is_growing,
    is_growing_manifest,
    load_generation,
    load_growing,
    parse_growing,
    window_folder,
)
from bpe.manifest import load_manifest
from bpe.mixture import is_mixture, load_mixture
from bpe.shared_vocabulary import SharedVocabulary

VOCABULARY = SharedVocabulary("3" * 64, "fairseq", 50_265)
WINDOWS = (
    Window(1, 4, window_folder(1, 4), "1" * 64, files=9, read=10, kept=5, rejected=4, broken=1, tokens=800),
    Window(5, 5, window_folder(5, 5), "2" * 64, files=1, read=0, kept=0, rejected=0, broken=0, tokens=0),
)
GROWING = Growing("ccnews", 6, "4" * 64, "5" * 64, VOCABULARY, WINDOWS)

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
counts = st.integers(0, 10**9)


@st.composite
def generations(draw: Any) -> Growing:
    windows: list[Window] = []
    for length in draw(st.lists(st.integers(1, 50), min_size=1, max_size=6)):
        first = windows[-1].last + 1 if windows else 1
        kept, rejected, broken = (draw(counts) for _ in range(3))
        run = window_folder(first, first + length - 1)
        books = (kept + rejected + broken, kept, rejected, broken, draw(counts))
        windows.append(Window(first, first + length - 1, run, draw(digests), draw(counts), *books))
    generation = draw(st.integers(1, 10**6))
    previous = draw(digests) if generation > 1 else ""
    vocabulary = draw(st.none() | st.just(VOCABULARY))
    return Growing(draw(st.text(min_size=1)), generation, previous, draw(digests), vocabulary, tuple(windows))


@given(generations())
def test_what_is_written_is_read_again_and_has_one_form(growing: Growing) -> None:
    data = dump_growing(growing)
    assert parse_growing(data) == growing
    assert dump_growing(parse_growing(data)) == data
    assert is_growing_manifest(data[:64])


def change(**changed: Any) -> bytes:
    return json.dumps({**json.loads(dump_growing(GROWING)), **changed}, sort_keys=True).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (change(windows=[]), "windows"),
        (change(windows=[WINDOWS[1]._asdict()]), "from 1 on"),
        (change(windows=[WINDOWS[0]._asdict(), WINDOWS[1]._replace(first=6, last=6)._asdict()]), "from 5 on"),
        (change(windows=[WINDOWS[0]._replace(kept=6)._asdict()]), "10 read is not 6 kept"),
        (change(windows=[WINDOWS[0]._replace(run="../other")._asdict()]), "leaves its folder"),
        (change(windows=[WINDOWS[0]._replace(run="s3://b/o")._asdict()]), "not a relative name"),
        (change(generation=0, previous=""), "counted from 1"),
        (change(generation=1), "generation 1 of"),
        (change(previous=""), "generation 6 of ''"),
        (change(format="shardmill-growing-2"), "none of shardmill-growing-1"),
        (change(extra=1), "extra"),
        (b"{", "manifest.json"),
    ],
    ids=["none", "late", "gap", "books", "outside", "url", "zeroth", "first", "no-previous", "format", "extra", "torn"],
)
def test_a_generation_that_cannot_be_trusted_is_named(data: bytes, says: str) -> None:
    with pytest.raises(ShardError, match=FILE_NAME) as caught:
        parse_growing(data)
    assert says in str(caught.value)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of two generations; its windows are not there."""
    first = Growing("ccnews", 1, "", "5" * 64, VOCABULARY, (WINDOWS[0]._replace(last=1, run=window_folder(1, 1)),))
    data = dump_growing(first)
    second = Growing("ccnews", 2, hashlib.sha256(data).hexdigest(), "5" * 64, VOCABULARY, (
        *first.windows, WINDOWS[1]._replace(first=2, last=2, run=window_folder(2, 2))))  # fmt: skip
    (tmp_path / "generations").mkdir()
    for growing in (first, second):
        (tmp_path / generation_name(growing.generation)).write_bytes(dump_growing(growing))
    (tmp_path / FILE_NAME).write_bytes(dump_growing(second))
    return tmp_path


def test_every_generation_stays_readable_and_names_the_one_before(corpus: Path) -> None:
    newest, digest = load_generation(corpus)
    assert newest == load_growing(corpus, generation=2)
    assert hashlib.sha256((corpus / FILE_NAME).read_bytes()).hexdigest() == digest
    first, first_digest = load_generation(corpus, 1)
    assert newest.previous == first_digest
    assert newest.windows[:1] == first.windows
    with pytest.raises(ShardError, match=r"00000003.json.*no such generation"):
        load_growing(corpus, generation=3)
    (corpus / generation_name(3)).write_bytes(dump_growing(newest))
    with pytest.raises(ShardError, match="the file is named 3"):
        load_growing(corpus, generation=3)


def test_a_growing_corpus_is_read_as_the_mixture_of_its_windows(corpus: Path) -> None:
    assert is_growing(corpus)
    assert is_mixture(corpus)
    assert [source.run for source in load_mixture(corpus).sources] == [window_folder(1, 1), window_folder(2, 2)]
    assert [source.weight for source in load_mixture(corpus, generation=1).sources] == ["1"]
    with pytest.raises(ShardError, match="name one of its runs, below windows/"):
        load_manifest(corpus)


def test_documents_without_shards_are_no_training_set(corpus: Path) -> None:
    (corpus / FILE_NAME).write_bytes(dump_growing(load_growing(corpus)._replace(vocabulary=None)))
    with pytest.raises(ShardError, match="documents but no shards"):
        load_mixture(corpus)


def test_another_manifest_or_none_is_not_a_growing_corpus(tmp_path: Path) -> None:
    assert not is_growing(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b'{\n"books": {}, "format": "shardmill-manifest-1"}')
    assert not is_growing(tmp_path)
    assert not is_growing(tmp_path / FILE_NAME)
