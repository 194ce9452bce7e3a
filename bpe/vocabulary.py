"""The vocabulary: which ids there are, what bytes they stand for, and which merges make them.

In: a `tokenizers` JSON file (vocab.json), or GPT-2's files. Out: a `Vocabulary`. The rule: ids are
RoBERTa's in every vocabulary, imported or trained (`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>`
last), all 256 bytes are there so that any text can be encoded, and ids fit uint16. A file of which
this is not true is a `ShardError`. The file loads in `transformers` as it is:

    PreTrainedTokenizerFast(tokenizer_file="vocab.json")
"""

import hashlib
import json
from typing import NamedTuple

from bpe.errors import ShardError
from bpe.places import Place, parse_place
from bpe.strict_json import Node, parse_json

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3
BOS, PAD, EOS, UNK = range(4)
MASK_TOKEN = "<mask>"  # the last id
FILLER = "madeupword{:04d}"  # fairseq's name for ids that stand for nothing
DEFAULT_SIZE = 50_265
MAX_SIZE = 1 << 16  # ids are uint16

_REMEDY = "make it again with `prep-shards vocabulary`"


class Vocabulary(NamedTuple):
    """Tokens by id, and merges by rank. Both are spelled in GPT-2's letters, one letter per byte."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    size: int  # number of ids; `<mask>` is size - 1
    fingerprint: str  # sha256 in hex of tokens and merges, whatever the form of the file


def _spell_bytes() -> tuple[str, ...]:
    """GPT-2's letter of each byte: printable Latin-1 is itself, the other 68 follow at U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return tuple(chr(byte if byte in printable else 256 + others.index(byte)) for byte in range(256))


BYTE_LETTERS = _spell_bytes()
_BYTE_OF_LETTER = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


def make_vocabulary(tokens: tuple[str, ...], merges: tuple[tuple[str, str], ...], *, path: str = "") -> Vocabulary:
    """A vocabulary whose parts agree; ShardError, naming `path` and the token, where they do not."""
    root = Node(path or "vocabulary", "", None)
    _check_tokens(root, tokens)
    _check_merges(root, tokens, merges)
    content = json.dumps({"merges": merges, "tokens": tokens}, sort_keys=True, separators=(",", ":"))
    return Vocabulary(tokens, merges, len(tokens), hashlib.sha256(content.encode("ascii")).hexdigest())


def add_special_tokens(ordinary: list[str], *, n_filler: int) -> tuple[str, ...]:
    """Tokens of all ids: specials, then these, then filler, and `<mask>`."""
    filler = [FILLER.format(k) for k in range(n_filler)]
    return (*SPECIAL_TOKENS, *ordinary, *filler, MASK_TOKEN)


def load_vocabulary(path: str | Place) -> Vocabulary:
    """The vocabulary in a file; ShardError where it is not one of ours."""
    try:
        data = parse_place(path).read_bytes()
    except FileNotFoundError as error:
        raise ShardError(path, "", f"no such vocabulary; {_REMEDY}") from error
    return parse_vocabulary(data, path=str(path))


def parse_vocabulary(data: bytes, *, path: str = "vocab.json") -> Vocabulary:
    """The vocabulary in these bytes; `path` is what errors call them."""
    root = parse_json(data, path)
    model = _child(root, "model")
    _check_form(root, model)
    vocab = _child(model, "vocab")
    if not isinstance(vocab.value, dict) or not all(type(number) is int for number in vocab.value.values()):
        vocab.fail(f"an object of token and id was expected; {_REMEDY}")
    by_id = sorted(vocab.value.items(), key=lambda pair: pair[1])
    for expected, (token, number) in enumerate(by_id):
        if number != expected:
            vocab.fail(f"ids must be 0 to {len(by_id) - 1} without gaps, but {token!r} has {number}; {_REMEDY}")
    _check_added_tokens(_child(root, "added_tokens"), vocab.value)
    return make_vocabulary(tuple(token for token, _ in by_id), _read_merges(_child(model, "merges")), path=path)


def dump_vocabulary(vocabulary: Vocabulary) -> bytes:
    """The file of a vocabulary, in the one form that we write."""
    numbers = {token: number for number, token in enumerate(vocabulary.tokens)}
    plain = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(token, numbers[token]) for token in (*SPECIAL_TOKENS, MASK_TOKEN)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [SPECIAL_TOKENS[EOS], EOS],
            "cls": [SPECIAL_TOKENS[BOS], BOS],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": numbers,
            "merges": vocabulary.merges,
        },
    }
    return (json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def spell(data: bytes) -> str:
    """Bytes in GPT-2's letters.

    >>> spell(" é".encode())
    'ĠÃ©'
    """
    return "".join(BYTE_LETTERS[byte] for byte in data)


def unspell(token: str) -> bytes:
    """The bytes that a token stands for; KeyError where it is not spelled in GPT-2's letters."""
    return bytes(_BYTE_OF_LETTER[letter] for letter in token)


def _check_tokens(root: Node, tokens: tuple[str, ...]) -> None:
    if not len(SPECIAL_TOKENS) + 256 < len(tokens) <= MAX_SIZE:
        root.fail(f"{len(tokens)} ids; there are at least 261 (bytes and specials) and at most {MAX_SIZE}: {_REMEDY}")
    if tokens[:4] != SPECIAL_TOKENS or tokens[-1] != MASK_TOKEN:
        root.fail(f"the first ids are {tokens[:4]} and the last is {tokens[-1]!r}, RoBERTa's were expected; {_REMEDY}")
    if len(set(tokens)) != len(tokens):
        root.fail(f"a token has two ids; {_REMEDY}")
    missing = set(BYTE_LETTERS) - set(tokens)
    if missing:
        bytes_missing = ", ".join(f"{_BYTE_OF_LETTER[letter]:#04x}" for letter in sorted(missing)[:5])
        root.fail(f"{len(missing)} of the 256 bytes are not in the vocabulary ({bytes_missing}, …); {_REMEDY}")


def _check_merges(root: Node, tokens: tuple[str, ...], merges: tuple[tuple[str, str], ...]) -> None:
    """Each merge joins what bytes and earlier merges made into a token that has an id."""
    made, seen, known = set(BYTE_LETTERS), set(), set(tokens) - {*SPECIAL_TOKENS, MASK_TOKEN}
    for rank, (left, right) in enumerate(merges):
        place = root.child(f"merges[{rank}]", None)
        if left not in made or right not in made:
            place.fail(f"{left!r} and {right!r} are not both made by earlier merges; {_REMEDY}")
        if left + right not in known:
            place.fail(f"{left + right!r} is not a token of text with an id; {_REMEDY}")
        if (left, right) in seen:
            place.fail(f"{left!r} and {right!r} are merged twice; {_REMEDY}")
        seen.add((left, right))
        made.add(left + right)


def _check_form(root: Node, model: Node) -> None:
    """The file must say byte-level BPE as GPT-2 does it, and nothing that would change an id."""
    if _child(model, "type").value != "BPE":
        model.fail(f"a byte-level BPE was expected; {_REMEDY}")
    for name in (
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "ignore_merges",
    ):
        value = model.value.get(name) if isinstance(model.value, dict) else None
        if value and not (name == "unk_token" and value == SPECIAL_TOKENS[UNK]):
            model.child(name, None).fail(f"{value!r} would change ids; {_REMEDY}")
    splitter = _child(root, "pre_tokenizer")
    rules = splitter.value if isinstance(splitter.value, dict) else {}
    if (rules.get("type"), rules.get("add_prefix_space"), rules.get("use_regex", True)) != ("ByteLevel", False, True):
        splitter.fail(f"GPT-2's ByteLevel without a prefix space was expected; {_REMEDY}")
    if _child(root, "normalizer").value is not None:
        root.child("normalizer", None).fail(f"text is encoded as it is, without a normalizer; {_REMEDY}")


def _check_added_tokens(node: Node, vocab: dict[str, int]) -> None:
    added = node.value if isinstance(node.value, list) else []
    numbers = {item.get("content"): item.get("id") for item in added if isinstance(item, dict)}
    for special in (*SPECIAL_TOKENS, MASK_TOKEN):
        if special not in numbers:
            node.fail(f"{special} must be an added token; {_REMEDY}")
    for token, number in numbers.items():
        if vocab.get(str(token)) != number:
            node.fail(f"{token!r} has another id in the vocabulary than among the added tokens; {_REMEDY}")


def _read_merges(node: Node) -> tuple[tuple[str, str], ...]:
    """Merges as pairs; older files write each as one text with a blank between."""
    merges = []
    for rank, merge in enumerate(node.value if isinstance(node.value, list) else []):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
            Node(node.path, f"{node.key}[{rank}]", None).fail(f"{merge!r} is not a pair of tokens; {_REMEDY}")
        merges.append((pair[0], pair[1]))
    return tuple(merges)


def _added_token(token: str, number: int) -> dict[str, object]:
    """`<mask>` takes the blank before it, as RoBERTa's does: "a <mask>" predicts " word"."""
    flags = {"single_word": False, "lstrip": token == MASK_TOKEN, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": token} | flags


def _child(node: Node, name: str) -> Node:
    value = node.value.get(name) if isinstance(node.value, dict) else None
    if value is None and not (isinstance(node.value, dict) and name in node.value):
        node.child(name, None).fail(f"this key is missing: not a tokenizers file of ours; {_REMEDY}")
    return node.child(name, value)
