"""Reddit submissions as pushshift published them: a file in, one `Submission` or one `BadLine` a line out.

The rule: each line that is not blank is one record, and nothing about a record is guessed. Old and new forms differ in
what they hold and how they write it (`created_utc` is a number, a number with a fraction, or a string; scores may be
missing; URLs are escaped for HTML or not); what a form does not say is None.

Lines are decoded into a struct of the few fields that are looked at, all others being skipped without making a value of
them: 5 to 10 times as fast as json. Many lines are decoded in one call; only where the decoder refuses one (a lone
surrogate, NaN, a field of another type) are they read again one by one, and that one leniently.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import msgspec

from corpora.compressed_lines import (
    DAMAGED,
    DEFAULT_LINE_BYTES,
    LINE_TOO_LONG,
    TRUNCATED,
    LineBlock,
    LineDamage,
    read_blocks,
)

__all__ = [
    "BROKEN_REASONS",
    "SUBMISSION_ENDINGS",
    "BadLine",
    "RecordBatch",
    "Submission",
    "parse_submission",
    "read_submissions",
]

BROKEN_REASONS = frozenset({"empty_file", TRUNCATED, DAMAGED, LINE_TOO_LONG, "bad_json", "not_a_submission"})
SUBMISSION_ENDINGS = tuple(f"{kind}{packed}" for kind in ("", ".json", ".ndjson", ".jsonl")
                           for packed in (".xz", ".bz2", ".zst", ".gz")) + (".json", ".ndjson", ".jsonl")  # fmt: skip
_SHOWN_CHARS = 80


class Submission(msgspec.Struct, gc=False):
    """What the selection of URLs asks of a submission; None where the line does not say, or says null.

    A struct and not a NamedTuple because that is what the decoder fills without a dict between.
    """

    url: str | msgspec.UnsetType | None = msgspec.UNSET  # as written, often escaped for HTML
    is_self: bool | None = None
    score: int | None = None
    over_18: bool | None = None
    created_utc: int | None = None  # seconds since 1970
    subreddit: str | None = None
    id: str | None = None
    removed_by_category: str | None = None  # newer forms: who took it away
    domain: str | None = None  # "self.NAME" for text posts


class BadLine(NamedTuple):
    """A line that is no submission: one of BROKEN_REASONS, and what was found."""

    reason: str
    detail: str


class RecordBatch(NamedTuple):
    """What some lines that follow each other hold; None for a blank one."""

    first: int  # number of the first line in the unpacked file, from 1
    records: list[Submission | BadLine | None]


_decoder = msgspec.json.Decoder(Submission, strict=False)  # not strict: "1409529600" is a number
_REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_submissions(stream: BinaryIO, *, name: str, max_line_bytes: int = DEFAULT_LINE_BYTES) -> Iterator[RecordBatch]:
    """The records of a file in its order; a file without any is one `BadLine` of its own."""
    is_empty = True
    for item in read_blocks(stream, name=name, max_line_bytes=max_line_bytes):
        if isinstance(item, LineDamage):
            batch = RecordBatch(item.line, [BadLine(item.reason, item.detail)])
        else:
            batch = _read_block(item)
        is_empty = is_empty and all(record is None for record in batch.records)
        yield batch
    if is_empty:
        yield RecordBatch(1, [BadLine("empty_file", "no line of the file holds anything")])


def parse_submission(line: bytes) -> Submission | BadLine | None:
    """What a line holds, None for a blank one; never raises.

    >>> parse_submission(b'{"url": "http://example.com/", "score": "3", "created_utc": 1409529600.0}').score
    3
    >>> parse_submission(b'{"url": "http://exa')
    BadLine(reason='bad_json', detail='Unterminated string starting at: line 1 column 9 (char 8)')
    """
    try:
        submission = _decoder.decode(line)
    except _REFUSED:
        return _parse_leniently(line)
    if submission.url is msgspec.UNSET and submission.is_self is None:
        return BadLine("not_a_submission", "an object without a URL; comments are in files of their own")
    return submission


def _read_block(block: LineBlock) -> RecordBatch:
    records: list[Submission | BadLine | None] | None = _decode_block(block)  # type: ignore[assignment]
    if records is None:
        records = list(map(parse_submission, block.data.split(b"\n")))
    last = records[-1]
    if not block.is_ended and isinstance(last, BadLine) and last.reason == "bad_json":
        records[-1] = BadLine(TRUNCATED, "the file ends inside the line")
    return RecordBatch(block.first, records)


def _decode_block(block: LineBlock) -> list[Submission] | None:
    """The submissions of a block in one call, a third faster than line by line; None where any line asks for a look.

    The decoder takes all white space alike, so a value might end on another line than it began. Not here: within a
    value no `{` follows a `}` with nothing but white space between, and no string holds a line end. So each line end
    of a braced block lies between two values; and with as many values as lines, each line holds one.
    """
    if not block.is_braced:
        return None
    try:
        submissions = _decoder.decode_lines(block.data)
    except _REFUSED:
        return None
    if len(submissions) != block.n_lines:
        return None
    for submission in submissions:
        if submission.url is msgspec.UNSET and submission.is_self is None:
            return None
    return submissions


def _parse_leniently(line: bytes) -> Submission | BadLine | None:
    line = line.strip(b" \t\r\n\v\f\0")  # NULs: disks that filled up while a file was written
    if not line:
        return None
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        return BadLine("bad_json", str(error)[:_SHOWN_CHARS])
    if not isinstance(value, dict) or ("url" not in value and value.get("is_self") is None):
        return BadLine("not_a_submission", f"{type(value).__name__} where an object with a URL should be")
    return Submission(
        url=_text(value.get("url")),
        is_self=_flag(value.get("is_self")),
        score=_number(value.get("score")),
        over_18=_flag(value.get("over_18")),
        created_utc=_number(value.get("created_utc")),
        subreddit=_text(value.get("subreddit")),
        id=_text(value.get("id")),
        removed_by_category=_text(value.get("removed_by_category")),
        domain=_text(value.get("domain")),
    )


def _text(value: Any) -> str | None:
    """A string without what cannot be written down as UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
