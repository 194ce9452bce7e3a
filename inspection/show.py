"""`show`: documents, their sentences as tokens, and rejects, for a person to read.

Text is shown as data: whatever a page contained, it cannot reach the terminal as a control sequence.
"""

import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from corpora.documents import Document, Rejection
from inspection.errors import NotFoundError
from inspection.lookup import Placed, Record
from inspection.plain_text import format_table, one_line, printable
from inspection.rows import Lineage, find_rows, iterate_rows, match_value
from inspection.run_folder import RunFolder
from inspection.tokens import Sentence, open_decoder, read_sentences

WIDTH = 100  # characters of a line of text
START_CHARS = 300  # of a text in a list
MAX_VALUE_CHARS = 2_000  # of a URL, a list of authors
LISTED_DIGITS = 16  # of an id in the table of rejects: enough to ask for it
FIRST_SENTENCES = 8  # decoded for a list, where the run keeps no texts


class Listed(NamedTuple):
    """A document as a list shows it; a run that keeps no texts knows its tokens instead of its characters."""

    document_id: str  # in hex
    title: str
    url: str
    language: str
    published: str
    source: str
    offset: int
    n_chars: int | None
    n_tokens: int | None
    text: str  # its beginning


def list_documents(run: RunFolder, *, limit: int) -> list[Listed]:
    """The first documents: of the documents folder, or decoded from the shards where there is none."""
    if run.manifest.documents:
        rows = islice(iterate_rows(run.path, run.manifest.documents, Document), limit)
        return [_list_document(document) for _, document in rows]
    if not run.manifest.shards:
        return []
    decoder = open_decoder(run)
    return [
        _list_placed(placed, read_sentences(run, placed, decoder, most=FIRST_SENTENCES))
        for placed in islice(_all_placed(run), limit)
    ]


def list_rejections(run: RunFolder, *, reason: str | None, limit: int) -> list[Rejection]:
    """The first rejects, of one reason or of all; NotFoundError for a reason that the books do not have."""
    books = run.manifest.books
    known = {**books.rejected, **books.broken}
    if reason is not None and reason not in known:
        there = f"there are {', '.join(sorted(known))}" if known else "nothing was"
        raise NotFoundError(f"{run.path}: nothing was rejected as {reason!r}; {there}")
    entries = run.manifest.rejected
    if reason is None:
        rows = iterate_rows(run.path, entries, Rejection)
    else:
        rows = find_rows(run.path, entries, Rejection, column="reason", match=match_value(reason))
    return [rejection for _, rejection in islice(rows, limit)]


def record_values(run: RunFolder, record: Record) -> dict[str, object]:
    """All of one record: its whole text, its sentences and ids, why it was rejected."""
    values: dict[str, object] = {"document_id": record.document_id.hex()}
    if record.document is not None:
        values["document"] = document_values(record.document)
    if record.rejection is not None:
        values["rejection"] = rejection_values(record.rejection)
    if record.placed is not None:
        sentences = read_sentences(run, record.placed, open_decoder(run))
        values["placed"] = lineage_values(record.placed)
        values["sentences"] = [sentence._asdict() for sentence in sentences]
    return values


def record_lines(run: RunFolder, record: Record, *, with_ids: bool, max_chars: int) -> list[str]:
    """One record as lines: what is known of it, its text, its sentences."""
    rows: list[tuple[str, str]] = [("document", record.document_id.hex())]
    body: list[str] = []
    if record.document is not None:
        rows += _named(document_values(record.document), leave_out=("document_id", "text"))
        body += _text_lines(record.document.text, max_chars=max_chars)
    if record.rejection is not None:
        rows += _named(rejection_values(record.rejection), leave_out=("document_id",))
    if record.placed is not None:
        leave_out = ("document_id",) if record.document is None else ("document_id", "url", "source", "offset")
        rows += _named(lineage_values(record.placed), leave_out=leave_out)
        body += _sentence_lines(read_sentences(run, record.placed, open_decoder(run)), with_ids=with_ids)
    return format_table(rows, align="ll", indent="") + body


def listed_lines(documents: Iterable[Listed]) -> list[str]:
    """Documents of `list_documents`, a paragraph each."""
    lines: list[str] = []
    for one in documents:
        length = f"{one.n_tokens:,} tokens" if one.n_chars is None else f"{one.n_chars:,} characters"
        facts = [one.document_id, one.language, one.published, length]
        lines += ["", "  ".join(one_line(fact, max_chars=40) for fact in facts if fact)]
        lines += ["  " + one_line(name, max_chars=MAX_VALUE_CHARS) for name in (one.title, one.url) if name]
        start = one_line(one.text, max_chars=START_CHARS)
        if one.n_chars != len(one.text) and not start.endswith("…"):
            start += "…"
        lines += textwrap.wrap(start, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return lines[1:]


def rejection_lines(rejections: Iterable[Rejection]) -> list[str]:
    """Rejects of `list_rejections`, as a table."""
    rows = [["document", "stage", "reason", "detail", "url", "source", "offset"]]
    for one in rejections:
        names = [
            one_line(name, max_chars=most)
            for name, most in ((one.stage, 20), (one.reason, 30), (one.detail, 44), (one.url, 60), (one.source, 60))
        ]
        rows.append([one.document_id.hex()[:LISTED_DIGITS], *names, str(one.offset)])
    return format_table(rows, align="llllllr", indent="")


def document_values(document: Document) -> dict[str, object]:
    return document._asdict() | {"document_id": document.document_id.hex(), "authors": list(document.authors)}


def rejection_values(rejection: Rejection) -> dict[str, object]:
    return rejection._asdict() | {"document_id": rejection.document_id.hex()}


def lineage_values(placed: Placed) -> dict[str, object]:
    lineage = placed.lineage
    values = {"shard": placed.shard.name, "split": placed.shard.split}
    return lineage._asdict() | values | {"document_id": lineage.document_id.hex()}


def _list_document(document: Document) -> Listed:
    return Listed(
        document_id=document.document_id.hex(),
        title=document.title,
        url=document.url,
        language=document.language,
        published=document.published,
        source=document.source,
        offset=document.offset,
        n_chars=len(document.text),
        n_tokens=None,
        text=document.text[:START_CHARS],
    )


def _list_placed(placed: Placed, first: list[Sentence]) -> Listed:
    lineage = placed.lineage
    return Listed(
        document_id=lineage.document_id.hex(),
        title="",
        url=lineage.url,
        language="",
        published="",
        source=lineage.source,
        offset=lineage.offset,
        n_chars=None,
        n_tokens=lineage.n_tokens,
        text=" ".join(sentence.text.strip() for sentence in first)[:START_CHARS],
    )


def _all_placed(run: RunFolder) -> Iterator[Placed]:
    for shard in run.manifest.shards:
        for _, lineage in iterate_rows(run.path, [shard.lineage], Lineage):
            yield Placed(shard, lineage)


def _named(values: dict[str, object], *, leave_out: tuple[str, ...]) -> list[tuple[str, str]]:
    """Rows of (name, value); what is empty is left out."""
    shown = []
    for name, value in values.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if name not in leave_out and text:
            shown.append((name, one_line(text, max_chars=MAX_VALUE_CHARS)))
    return shown


def _text_lines(text: str, *, max_chars: int) -> list[str]:
    """The text, wrapped; its first `max_chars` characters (0: all)."""
    shown = text if max_chars == 0 else text[:max_chars]
    lines = ["", "text"]
    for paragraph in printable(shown, keep_newlines=True).split("\n"):
        lines += textwrap.wrap(paragraph, WIDTH, initial_indent="  ", subsequent_indent="  ") or [""]
    if len(shown) < len(text):
        lines.append(f"  … {len(text) - len(shown):,} more characters; --chars 0 shows all")
    return lines


def _sentence_lines(sentences: list[Sentence], *, with_ids: bool) -> list[str]:
    """A line a sentence: its number, its tokens, its text; below it the ids where they are asked for."""
    rows = [("sentence", "tokens", "text")]
    rows += [(str(k), f"{len(one.ids):,}", _visible(one.text)) for k, one in enumerate(sentences)]
    head, *table = format_table(rows, align="rrl")
    lines = ["", head]
    for line, sentence in zip(table, sentences, strict=True):
        lines.append(line)
        if with_ids:
            ids = " ".join(map(str, sentence.ids))
            lines += textwrap.wrap(ids, WIDTH, initial_indent=" " * 12 + "ids ", subsequent_indent=" " * 16)
    return lines


def _visible(text: str) -> str:
    """A sentence on one line, its line ends shown."""
    return printable(text.replace("\n", "⏎"))
