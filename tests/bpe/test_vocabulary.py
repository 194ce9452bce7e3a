"""Ids are RoBERTa's, the file is one that transformers loads too, and a wrong one is refused by key."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.gpt2_files import import_gpt2
from bpe.vocabulary import (
    BYTE_LETTERS,
    SPECIAL_TOKENS,
    add_special_tokens,
    dump_vocabulary,
    load_vocabulary,
    make_vocabulary,
    parse_vocabulary,
    spell,
    unspell,
)

MERGES = (("t", "h"), ("th", "e"), ("Ġ", "the"))


@pytest.fixture(scope="module")
def small():
    return make_vocabulary(add_special_tokens([*BYTE_LETTERS, "th", "the", "Ġthe"], n_filler=2), MERGES)


def edited(vocabulary, edit):
    plain = json.loads(dump_vocabulary(vocabulary))
    edit(plain)
    return json.dumps(plain).encode()


def test_roberta_has_its_50265_ids(roberta):
    assert roberta.size == len(roberta.tokens) == 50_265
    assert roberta.tokens[:4] == SPECIAL_TOKENS
    assert roberta.tokens[-1] == "<mask>"
    assert roberta.tokens[50_260] == "<|endoftext|>"
    assert roberta.tokens[50_261:50_264] == ("madeupword0000", "madeupword0001", "madeupword0002")
    assert len(roberta.merges) == 50_000
    assert roberta.fingerprint == "73898936f5c5c01160fcf50af5a02e62573818b1243c9a0f45d5afd4e59a9056"


def test_transformers_gives_the_same_ids_from_the_same_file(roberta, tmp_path):
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "vocab.json"
    path.write_bytes(dump_vocabulary(roberta))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    assert tokenizer("Hello world!").input_ids == [0, 31414, 232, 328, 2]
    assert tokenizer("Jack and jill").input_ids == [0, 20907, 8, 1236, 1873, 2]
    assert tokenizer("Hello", "world").input_ids == [0, 31414, 2, 2, 8331, 2]
    assert tokenizer("a <mask>").input_ids == [0, 102, 50_264, 2]
    assert tokenizer.decode([0, 31414, 232, 328, 2], skip_special_tokens=True) == "Hello world!"
    assert len(tokenizer) == 50_265


def test_a_vocabulary_comes_back_as_it_was_written(small, tmp_path):
    (tmp_path / "vocab.json").write_bytes(dump_vocabulary(small))
    assert load_vocabulary(tmp_path / "vocab.json") == small
    assert load_vocabulary(str(tmp_path / "vocab.json")) == small


def test_the_fingerprint_is_of_the_content_and_not_of_the_form(small):
    plain = json.loads(dump_vocabulary(small))
    plain["model"]["merges"] = [" ".join(pair) for pair in plain["model"]["merges"]]
    plain["model"]["vocab"] = dict(reversed(plain["model"]["vocab"].items()))
    other_form = json.dumps(plain, indent=3).encode()
    assert parse_vocabulary(other_form) == small
    other = make_vocabulary(small.tokens, MERGES[:2])
    assert other.fingerprint != small.fingerprint
    swapped = make_vocabulary((*small.tokens[:4], small.tokens[5], small.tokens[4], *small.tokens[6:]), MERGES)
    assert swapped.fingerprint != small.fingerprint


@given(st.binary())
def test_spelling_is_undone(data):
    assert unspell(spell(data)) == data


def test_letters_are_gpt2s():
    assert spell(b" \n\xad\xff!") == "ĠĊŃÿ!"
    assert len(set(BYTE_LETTERS)) == 256


def set_vocab(plain, token, number):
    plain["model"]["vocab"][token] = number


EDITS = [
    (lambda p: p.pop("model"), "at model: this key is missing"),
    (lambda p: p["model"].update(type="WordPiece"), "at model: a byte-level BPE"),
    (lambda p: p["model"].update(vocab=[]), "at model.vocab: an object"),
    (lambda p: p["model"]["vocab"].pop("the"), "at model.vocab: ids must be 0 to"),
    (lambda p: set_vocab(p, "the", 7), "at model.vocab: ids must be 0 to"),
    (lambda p: set_vocab(p, "the", "7"), "at model.vocab: an object"),
    (lambda p: p["model"].update(merges=[["t", "h"], ["h", "q"]]), r"at merges\[1\]: 'hq' is not a token"),
    (lambda p: p["model"].update(merges=[["th", "e"]]), r"at merges\[0\]: 'th' and 'e' are not both made"),
    (lambda p: p["model"].update(merges=[["t", "h"], ["t", "h"]]), r"at merges\[1\]: .* merged twice"),
    (lambda p: p["model"].update(merges=["t h e"]), r"at model.merges\[0\]: .* not a pair"),
    (lambda p: p["model"].update(dropout=0.1), "at model.dropout: 0.1 would change ids"),
    (lambda p: p["model"].update(ignore_merges=True), "at model.ignore_merges"),
    (lambda p: p.update(normalizer={"type": "NFC"}), "at normalizer"),
    (lambda p: p["pre_tokenizer"].update(add_prefix_space=True), "at pre_tokenizer"),
    (lambda p: p.update(pre_tokenizer=None), "at pre_tokenizer"),
    (lambda p: p.update(added_tokens=[]), "at added_tokens: <s> must be an added token"),
    (lambda p: p["added_tokens"].append({"id": 99, "content": "<x>"}), "at added_tokens: '<x>' has another id"),
]


@pytest.mark.parametrize(("edit", "found"), EDITS, ids=[found[:50] for _, found in EDITS])
def test_a_file_that_would_give_other_ids_is_refused_by_key(small, edit, found):
    with pytest.raises(ShardError, match=r"vocab\.json " + found):
        parse_vocabulary(edited(small, edit))


@pytest.mark.parametrize(
    ("tokens", "merges", "found"),
    [
        (add_special_tokens([], n_filler=300), (), "256 of the 256 bytes"),
        (add_special_tokens(list(BYTE_LETTERS)[1:], n_filler=9), (), r"1 of the 256 bytes .*0x00"),
        (add_special_tokens(["the", "the", *BYTE_LETTERS], n_filler=0), (), "two ids"),
        (("a", *add_special_tokens(list(BYTE_LETTERS), n_filler=9)), (), "RoBERTa's were expected"),
        (add_special_tokens(list(BYTE_LETTERS), n_filler=65_300), (), "at most 65536"),
        (add_special_tokens([], n_filler=0), (), "at least 261"),
        (
            add_special_tokens([*BYTE_LETTERS, "</", "</s"], n_filler=0),
            (("<", "/"), ("</", "s"), ("</s", ">")),
            "'</s>' is not a token of text",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_parts_that_do_not_fit_each_other_are_refused(tokens, merges, found):
    with pytest.raises(ShardError, match=found):
        make_vocabulary(tokens, merges)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ShardError, match=r"none\.json.*prep-shards vocabulary"):
        load_vocabulary(tmp_path / "none.json")


@pytest.fixture
def gpt2(shared_data, tmp_path):
    """A copy of GPT-2's files to damage, and their paths in the order of import_gpt2's parameters."""
    for name in ("encoder.json", "vocab.bpe", "dict.txt"):
        shutil.copy(shared_data / "bpe" / name, tmp_path / name)
        (tmp_path / name).chmod(0o644)
    return tmp_path


def change_lines(path, edit):
    lines = path.read_text(encoding="utf-8").split("\n")
    edit(lines)
    path.write_text("\n".join(lines), encoding="utf-8")


def set_line(number, text):
    return lambda lines: lines.__setitem__(number - 1, text)


def swap_lines(one, other):
    def swap(lines):
        lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]

    return swap


@pytest.mark.parametrize(
    ("name", "edit", "found"),
    [
        ("vocab.bpe", set_line(1, "hello"), r"vocab\.bpe at line 1"),
        ("vocab.bpe", set_line(7, "a b c"), r"vocab\.bpe at line 7"),
        ("vocab.bpe", swap_lines(5, 6), r"encoder\.json: .*not of one vocabulary"),
        ("vocab.bpe", lambda lines: lines.pop(9), r"encoder\.json: .*49999 merges"),
        ("dict.txt", set_line(3, "11"), r"dict\.txt at line 3"),
        ("dict.txt", set_line(3, "13 5"), r"dict\.txt: the first 50,257 lines"),
        ("dict.txt", lambda lines: lines.pop(4), r"dict\.txt at line 50257: 'madeupword0000 0'"),
        ("dict.txt", set_line(50_258, "50257 0"), r"dict\.txt at line 50258"),
        ("encoder.json", set_line(1, "{}"), r"encoder\.json: GPT-2's 50,257 tokens"),
        ("encoder.json", set_line(1, "{"), r"encoder\.json: not the JSON"),
    ],
)
def test_files_that_are_not_gpt2s_are_refused_by_line(gpt2, name, edit, found):
    change_lines(gpt2 / name, edit)
    with pytest.raises(ShardError, match=found):
        import_gpt2(gpt2 / "encoder.json", gpt2 / "vocab.bpe", gpt2 / "dict.txt")


def test_fairseqs_own_dictionary_without_padding_gives_the_same_ids(gpt2, roberta):
    change_lines(gpt2 / "dict.txt", lambda lines: lines.__delitem__(slice(50_260, None)))
    assert import_gpt2(gpt2 / "encoder.json", gpt2 / "vocab.bpe", gpt2 / "dict.txt") == roberta
