"""GPT-2's vocabulary with RoBERTa's ids, from the three files that fairseq reads.

In: encoder.json (token to GPT-2 id), vocab.bpe (merges by rank), dict.txt (GPT-2 ids in the order of
RoBERTa's, each with a count). Out: the 50,265 ids of RoBERTa. The rule: the files must fit each other
to the last token; ids that are off by one would train without an error.
"""

from pathlib import Path

from bpe.errors import ShardError
from bpe.strict_json import parse_json
from bpe.vocabulary import FILLER, Vocabulary, add_special_tokens, make_vocabulary

GPT2_SIZE = 50_257  # 256 bytes, 50,000 merges, <|endoftext|>
END_OF_TEXT = "<|endoftext|>"
N_FILLER = 3  # up to a multiple of eight, less one for <mask>


def import_gpt2(encoder: Path, merges: Path, dictionary: Path) -> Vocabulary:
    """RoBERTa's vocabulary; raises ShardError, naming file and line, or OSError."""
    numbers = _read_encoder(encoder)
    ranked = _read_merges(merges)
    _check_order(encoder, numbers, ranked)
    by_number = {number: token for token, number in numbers.items()}
    ordinary = [by_number[number] for number in _read_dictionary(dictionary)]
    return make_vocabulary(add_special_tokens(ordinary, n_filler=N_FILLER), ranked, path=str(encoder))


def _read_encoder(path: Path) -> dict[str, int]:
    node = parse_json(path.read_bytes(), str(path))
    numbers = node.value
    if not isinstance(numbers, dict) or sorted(map(repr, numbers.values())) != sorted(map(repr, range(GPT2_SIZE))):
        node.fail(f"GPT-2's {GPT2_SIZE:,} tokens were expected, each with its own id from 0; get encoder.json again")
    return numbers


def _read_merges(path: Path) -> tuple[tuple[str, str], ...]:
    lines = _read_lines(path)
    if not lines or not lines[0].startswith("#version"):
        raise ShardError(path, "line 1", "the line #version was expected; get vocab.bpe again")
    merges = []
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise ShardError(path, f"line {number}", f"{line[:80]!r} is not two tokens; get vocab.bpe again")
        merges.append((parts[0], parts[1]))
    return tuple(merges)


def _check_order(path: Path, numbers: dict[str, int], merges: tuple[tuple[str, str], ...]) -> None:
    """GPT-2's ids are the bytes, then the merges in order, then <|endoftext|>: so the two files are a pair."""
    if numbers.get(END_OF_TEXT) != GPT2_SIZE - 1 or len(merges) != GPT2_SIZE - 257:
        found = f"{END_OF_TEXT} has id {numbers.get(END_OF_TEXT)} and there are {len(merges)} merges"
        raise ShardError(path, "", f"{found}, not {GPT2_SIZE - 1} and {GPT2_SIZE - 257}; get GPT-2's files again")
    for rank, (left, right) in enumerate(merges):
        if numbers.get(left + right) != 256 + rank:
            found = f"{left + right!r} has id {numbers.get(left + right)}, its merge is number {rank}"
            raise ShardError(path, "", f"{found}; encoder.json and vocab.bpe are not of one vocabulary")


def _read_dictionary(path: Path) -> list[int]:
    """GPT-2 ids in RoBERTa's order: the first 50,257 lines; filler words may follow, in any number."""
    lines = _read_lines(path)
    numbers = []
    for place, line in enumerate(lines[:GPT2_SIZE], start=1):
        word, _, count = line.partition(" ")
        if not (word.isascii() and word.isdecimal() and count.isascii() and count.isdecimal()):
            raise ShardError(path, f"line {place}", f"{line[:80]!r} is not a GPT-2 id and a count; get dict.txt again")
        numbers.append(int(word))
    if sorted(numbers) != list(range(GPT2_SIZE)):
        found = f"the first {GPT2_SIZE:,} lines do not name each GPT-2 id once ({len(set(numbers)):,} different ones)"
        raise ShardError(path, "", f"{found}; get dict.txt again")
    for place, line in enumerate(lines[GPT2_SIZE:], start=GPT2_SIZE + 1):
        if not line.startswith(FILLER.format(place - GPT2_SIZE - 1) + " "):
            raise ShardError(
                path, f"line {place}", f"{line[:80]!r} where only filler words may follow; get dict.txt again"
            )
    return numbers


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ShardError(path, f"byte {error.start}", "not UTF-8; get the file again") from error
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")
