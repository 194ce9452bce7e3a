"""The same text gives the same vocabulary, of exactly the size asked for, fit for both engines."""

import gzip
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encoding import Encoder
from bpe.ranks import find_ambiguity
from bpe.training import train_vocabulary
from bpe.vocabulary import BYTE_LETTERS, SPECIAL_TOKENS, dump_vocabulary, parse_vocabulary

TEXT = [
    "The lighthouse keeper counted the ships that passed on a clear evening.",
    "She wrote each name into a ledger, and the tide-table beside it.",
    "Les bateaux passaient; Fünf Schiffe kamen an. 船は五隻だった。",
    "No ship was ever late: the keeper's clock was slow.",
] * 4

SCRIPT = """
import sys
from bpe.training import train_vocabulary
from bpe.vocabulary import dump_vocabulary
text = sys.stdin.buffer.read().decode().split("\\n")
sys.stdout.buffer.write(dump_vocabulary(train_vocabulary(text, size=380).vocabulary))
"""


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_bytes_do_not_depend_on_threads_or_processes(project_root, threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": str(threads != "1").lower()}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(TEXT).encode(),
        env=environment,
        cwd=project_root,
        capture_output=True,
        check=True,
    )
    assert done.stdout == dump_vocabulary(train_vocabulary(TEXT, size=380).vocabulary)


@given(st.permutations(TEXT))
@settings(max_examples=10, deadline=None)
def test_the_order_of_texts_does_not_matter(texts):
    assert train_vocabulary(texts, size=380).vocabulary == train_vocabulary(TEXT, size=380).vocabulary


def test_ids_are_roberta_s_and_the_size_is_exact():
    trained = train_vocabulary(TEXT, size=380)
    vocabulary = trained.vocabulary
    assert vocabulary.size == len(vocabulary.tokens) == 380
    assert vocabulary.tokens[:4] == SPECIAL_TOKENS
    assert vocabulary.tokens[-1] == "<mask>"
    assert set(BYTE_LETTERS) <= set(vocabulary.tokens)
    assert trained.n_merges == 380 - 5 - 256
    assert trained.n_filler == 0
    assert "Ġthe" in vocabulary.tokens
    assert parse_vocabulary(dump_vocabulary(vocabulary)) == vocabulary


def test_a_text_too_small_for_the_size_is_filled_up_and_said_so():
    trained = train_vocabulary(TEXT, size=2_000)
    assert trained.vocabulary.size == 2_000
    assert 0 < trained.n_merges == 2_000 - 5 - 256 - trained.n_filler
    assert trained.vocabulary.tokens[-1 - trained.n_filler] == "madeupword0000"
    encoder = Encoder(trained.vocabulary)
    assert not {"madeupword0000", "madeupword0001"} & {encoder.vocabulary.tokens[k] for k in encoder.encode(TEXT).ids}


def test_texts_are_counted():
    trained = train_vocabulary(["über", "", "a"], size=300)
    assert (trained.n_texts, trained.n_text_bytes) == (3, 6)


def test_min_frequency_holds_rare_pairs_back():
    assert train_vocabulary(["ab ab", "cd"], size=300, min_frequency=2).n_merges == 1
    assert train_vocabulary(["ab ab", "cd"], size=300, min_frequency=1).n_merges > 1


@given(st.lists(st.text(max_size=40) | st.text("ab ", max_size=40), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_any_text_trains_and_comes_back(texts):
    if not any(texts):
        return
    vocabulary = train_vocabulary(texts, size=320, min_frequency=1).vocabulary
    encoder = Encoder(vocabulary, mode="lossless")
    assert encoder.decode(encoder.encode(texts).ids) == "".join(texts)
    assert encoder.encode(texts).ids.tolist() == encoder.encode_with_tokenizers(texts).ids.tolist()


def test_lone_surrogates_train_as_the_encoder_sees_them():
    assert (
        train_vocabulary(["a\udcffb"] * 3, size=300).vocabulary
        == train_vocabulary(["a\ufffdb"] * 3, size=300).vocabulary
    )


def test_special_tokens_in_texts_do_not_become_tokens():
    vocabulary = train_vocabulary(["</s> <mask> <s> <|endoftext|>"] * 50, size=500).vocabulary
    assert vocabulary.tokens.count("</s>") == 1
    encoder = Encoder(vocabulary)
    assert encoder.decode(encoder.encode(["</s><mask>"]).ids) == "</s><mask>"
    assert encoder.encode(["</s><mask>"]).ids.size > 2


def test_books_train_a_vocabulary_that_tiktoken_can_stand_for(shared_data):
    with gzip.open(shared_data / "books" / "gutenberg" / "alice.txt.gz") as stream:
        lines = stream.read().decode("latin-1").split("\n")
    trained = train_vocabulary([line.strip() for line in lines], size=3_000)
    assert trained.n_filler == 0
    assert find_ambiguity(trained.vocabulary) is None


@pytest.mark.parametrize(
    ("settings", "found"),
    [({"size": 260}, "size is 260"), ({"size": 65_537}, "size is 65537"), ({"min_frequency": 0}, "min_frequency is 0")],
)
def test_wrong_settings_are_refused_before_a_text_is_read(settings, found):
    def texts():
        raise AssertionError("a text was read")
        yield

    with pytest.raises(ValueError, match=found):
        train_vocabulary(texts(), **settings)


def test_no_text_at_all_is_refused():
    with pytest.raises(ValueError, match="no text"):
        train_vocabulary(["", ""], size=300)


def test_an_error_of_the_source_is_the_error_that_is_raised():
    def texts():
        yield "good"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train_vocabulary(texts(), size=300)
