"""A mixture names its runs, their manifests and their weights; what does not agree is an error with file and key."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.manifest import VocabularyEntry
from bpe.mixture import (
    Mixture,
    MixtureSource,
    check_vocabulary,
    dump_mixture,
    is_mixture,
    load_mixture,
    open_source,
    parse_mixture,
    parse_weight,
)
from bpe.shared_vocabulary import SharedVocabulary

VOCABULARY = SharedVocabulary("3" * 64, "fairseq", 50_265)
MIXTURE = Mixture((MixtureSource("../a", "1" * 64, "1"), MixtureSource("b", "2" * 64, "0.25")), VOCABULARY)

weights = st.one_of(
    st.integers(1, 1000).map(str), st.integers(1, 10**6).map(lambda k: f"{k // 1000}.{k % 1000:03d}")
).filter(lambda text: 0 < Fraction(text) <= 1000)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
folders = st.from_regex(r"(\.\./){0,3}[a-zA-Z0-9_ é-]{1,8}(/[a-z]{1,4}){0,2}", fullmatch=True).filter(str.isprintable)
mixtures = st.builds(
    Mixture,
    st.lists(
        st.builds(MixtureSource, folders, digests, weights), min_size=1, max_size=5, unique_by=lambda one: one.run
    ).map(tuple),
    st.builds(SharedVocabulary, digests, st.sampled_from(["fairseq", "lossless"]), st.integers(1, 60_000)),
)


@given(mixtures)
def test_what_was_written_is_read_back(mixture: Mixture) -> None:
    data = dump_mixture(mixture)
    assert parse_mixture(data) == mixture
    assert dump_mixture(parse_mixture(data)) == data


def change(**changes: Any) -> bytes:
    plain = json.loads(dump_mixture(MIXTURE))
    for key, value in changes.items():
        if key in plain:
            plain[key] = value
        else:
            plain["sources"][1][key] = value
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "mixture.json: not the JSON it should be"),
        (change(format="shardmill-mixture-2"), "at format: 'shardmill-mixture-2' is none of shardmill-mixture-1"),
        (change(sources=[]), "at sources: a mixture of nothing"),
        (change(weight=0.25), "at sources[1].weight: a text was expected"),
        (change(weight="0"), "at sources[1].weight: '0' is no weight"),
        (change(weight="-1"), "at sources[1].weight: '-1' is no weight"),
        (change(weight="1/3"), "at sources[1].weight: '1/3' is no weight"),
        (change(weight="1001"), "at sources[1].weight: '1001' is no weight"),
        (change(manifest_sha256="12"), "at sources[1].manifest_sha256: '12' is not a sha256"),
        (change(run="/b"), "at sources[1].run: '/b' is not a folder relative"),
        (change(run="s3://b"), "at sources[1].run: 's3://b' is not a folder relative"),
        (change(run="pipe:b"), "at sources[1].run: 'pipe:b' is not a folder relative"),
        (change(run="../a"), "at sources: a run is named twice"),
        (change(note="x"), "at sources[1].note: unknown key"),
        (
            change(vocabulary={"fingerprint": "3" * 64, "encoding": "fairseq"}),
            "at vocabulary.size: this key is missing",
        ),
    ],
)
def test_what_does_not_agree_is_named_by_file_and_key(data: bytes, says: str) -> None:
    with pytest.raises(ShardError) as caught:
        parse_mixture(data)
    assert says in str(caught.value)


def test_a_folder_without_a_mixture_is_told_how_to_make_one(tmp_path: Path) -> None:
    assert not is_mixture(tmp_path)
    with pytest.raises(ShardError, match="prep-shards mix"):
        load_mixture(tmp_path)


def test_a_run_that_is_not_there_or_was_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mix").mkdir()
    source = MixtureSource("../run", hashlib.sha256(b"{}").hexdigest(), "1")
    with pytest.raises(ShardError, match=r"no finished run here, but .*mixture.json names it"):
        open_source(tmp_path / "mix", source)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_bytes(b"{ }")
    with pytest.raises(ShardError, match=r"was made of 44136fa3.*make the mixture again"):
        open_source(tmp_path / "mix", source)


def test_runs_of_another_vocabulary_or_encoding_are_refused() -> None:
    entry = VocabularyEntry("vocab.json", 9, "2" * 64, "3" * 64, 50_265, "fairseq")
    check_vocabulary(entry, VOCABULARY, path=Path("b"), other=Path("a"))
    for other in (entry._replace(fingerprint="4" * 64), entry._replace(encoding="lossless")):
        with pytest.raises(ShardError, match=r"b at vocabulary: .* but a holds fairseq ids .* encode both"):
            check_vocabulary(other, VOCABULARY, path=Path("b"), other=Path("a"))
    with pytest.raises(ShardError, match="prep-shards encode"):
        check_vocabulary(None, VOCABULARY, path=Path("b"), other=Path("a"))


def test_a_weight_is_the_number_that_was_written() -> None:
    assert parse_weight("0.1") == Fraction(1, 10)
    assert parse_weight("1000") == 1000
    for text in ("", "nan", "1e3", "0.0", "1000.000001", "0.1234567", "١"):
        with pytest.raises(ValueError, match="no weight"):
            parse_weight(text)
