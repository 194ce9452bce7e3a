"""`trace`: from a document or a training sample back to the byte of the crawl that it was read from.

In: a run, and a document's id, URL or place, or a sample of a training run. Out: every step between the
two. What was not kept is traced as well: to the stage that lost it, and why.
"""

from typing import NamedTuple

from bpe.places import Place, parse_place
from corpora.reasons import REASONS
from inspection.lookup import Record
from inspection.origin import Origin, Reread, origin_of, reread
from inspection.plain_text import format_table, one_line

MAX_VALUE_CHARS = 2_000


class Trace(NamedTuple):
    """A record with its origin."""

    record: Record
    origin: Origin
    reread: Reread | None  # None where the crawl file was not asked for


def trace_record(record: Record, *, warc_root: Place | None) -> Trace:
    """A record's way back; with `warc_root`, read again from the crawl file there."""
    return Trace(record, origin_of(record), reread(record, warc_root) if warc_root is not None else None)


def trace_values(trace: Trace) -> dict[str, object]:
    """A trace as plain values."""
    record = trace.record
    values: dict[str, object] = {"document_id": record.document_id.hex(), "outcome": _outcome(record)}
    values |= trace.origin._asdict()
    if record.rejection is not None:
        values |= {name: getattr(record.rejection, name) for name in ("stage", "reason", "detail", "broken")}
    if record.placed is not None:
        shard, lineage = record.placed
        values |= {"shard": shard.name, "split": shard.split}
        values |= {name: getattr(lineage, name) for name in ("block", "position", "n_tokens")}
    values["reread"] = trace.reread._asdict() if trace.reread else None
    return values


def trace_lines(trace: Trace) -> list[str]:
    """A trace as lines, from the shard to the crawl."""
    record, origin = trace.record, trace.origin
    rows = [("document", record.document_id.hex()), ("url", origin.url)]
    if record.document is not None:
        rows.append(("title", record.document.title))
    if record.rejection is not None:
        lost = record.rejection
        detail = f": {lost.detail}" if lost.detail else ""
        rows.append((_outcome(record), f"{lost.reason}, at stage {lost.stage}{detail}"))
        rows.append(("", REASONS.get(lost.reason, "")))
    elif record.placed is not None:
        shard, lineage = record.placed
        place = f"{shard.name}, block {lineage.block}, position {lineage.position}"
        rows.append(("kept in", f"{place} ({lineage.n_tokens:,} tokens, {shard.split})"))
    else:
        rows.append(("kept", "but in no shard: the run had no vocabulary"))
    rows.append(("from", f"{origin.source}, byte {origin.offset}"))
    rows += _reread_rows(trace.reread)
    shown = [(name, one_line(text, max_chars=MAX_VALUE_CHARS)) for name, text in rows if text]
    return format_table(shown, align="ll", indent="")


def _reread_rows(again: Reread | None) -> list[tuple[str, str]]:
    if again is None:
        return []
    if again.trouble:
        return [("read again", f"{again.file}: the same record, not readable: {again.trouble}")]
    found = f"the same record: status {again.status}, {again.mime or 'no type'}, {again.n_bytes:,} bytes"
    return [("read again", f"{again.file}: {found}"), ("its url", again.url), ("begins", again.start)]


def _outcome(record: Record) -> str:
    if record.rejection is None:
        return "kept"
    return "broken" if record.rejection.broken else "rejected"


def open_warc_root(place: str | None) -> Place | None:
    """The folder of the crawl files; ValueError where it is none."""
    if place is None:
        return None
    folder = parse_place(place)
    if not folder.is_dir():
        raise ValueError(f"--warc-root {place}: no such folder")
    return folder
