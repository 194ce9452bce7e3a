"""`summary`: what is in a run, from its manifest alone.

The figures are those of report.html (inspection.figures); this module only sets them as text or JSON.
"""

from bpe.manifest import Manifest
from inspection.figures import bytes_per_token, count_splits, list_outcomes, mean_bytes, read_statistics
from inspection.plain_text import format_table, heading, one_line, percent, size
from inspection.run_folder import RunFolder

TOP = 10  # lines of languages and of domains


def summary_lines(run: RunFolder) -> list[str]:
    """The summary as lines of plain text."""
    manifest = run.manifest
    statistics = read_statistics(manifest)
    variant = manifest.settings.get("variant")
    title = f"{manifest.name}{f', variant {variant}' if variant else ''}: {run.path}"
    return [
        *heading(one_line(title, max_chars=200))[1:],
        *_content_lines(manifest),
        *heading("records"),
        *_funnel_lines(manifest),
        *_shard_lines(manifest),
        *_removal_lines(manifest),
        *_ranking_lines("languages", statistics.languages),
        *_ranking_lines("domains", statistics.domains, distinct=statistics.distinct_domains),
    ]


def summary_values(run: RunFolder) -> dict[str, object]:
    """The summary as plain values."""
    manifest = run.manifest
    statistics = read_statistics(manifest)
    return {
        "path": str(run.path),
        "name": manifest.name,
        "code_version": manifest.code_version,
        "settings": dict(manifest.settings),
        "settings_hash": manifest.settings_hash,
        "inputs": {"files": len(manifest.inputs), "bytes": sum(entry.bytes for entry in manifest.inputs)},
        "books": manifest.books._asdict(),
        "outcomes": [outcome._asdict() for outcome in list_outcomes(manifest)],
        "counts": manifest.counts._asdict(),
        "bytes_per_document": mean_bytes(manifest),
        "bytes_per_token": bytes_per_token(manifest),
        "vocabulary": manifest.vocabulary._asdict() if manifest.vocabulary else None,
        "shards": len(manifest.shards),
        "blocks": sum(len(shard.blocks.offset) for shard in manifest.shards),
        "splits": {one.split: one._asdict() for one in count_splits(manifest)},
        "languages": dict(statistics.languages),
        "domains": {"distinct": statistics.distinct_domains, "top": [list(pair) for pair in statistics.domains]},
        "characters": {str(bucket): n for bucket, n in statistics.lengths},
        "duplicates": dict(statistics.duplicates),
        "removals": [removal._asdict() for removal in manifest.removals],
    }


def _content_lines(manifest: Manifest) -> list[str]:
    counts, vocabulary = manifest.counts, manifest.vocabulary
    files, total = len(manifest.inputs), size(sum(entry.bytes for entry in manifest.inputs))
    rows = [
        ("input", f"{files:,} file{'' if files == 1 else 's'}, {total}"),
        ("documents", f"{counts.documents:,}"),
        ("text", f"{size(counts.text_bytes)}, {mean_bytes(manifest):,.0f} bytes a document"),
    ]
    if vocabulary is not None:
        ratio = bytes_per_token(manifest)
        rows += [
            ("sentences", f"{counts.sentences:,}"),
            ("tokens", f"{counts.tokens:,}" + (f", {ratio:.2f} bytes a token" if ratio else "")),
            ("vocabulary", f"{vocabulary.size:,} ids, {vocabulary.encoding} encoding"),
            ("  fingerprint", vocabulary.fingerprint),
        ]
    else:
        rows.append(("vocabulary", "none: documents only"))
    rows += [("settings", manifest.settings_hash), ("made by", f"shardmill {manifest.code_version}")]
    return format_table(((name, one_line(text, max_chars=300)) for name, text in rows), align="ll")


def _funnel_lines(manifest: Manifest) -> list[str]:
    """Read, kept, and each reason under the sum of its kind."""
    books = manifest.books
    outcomes = list_outcomes(manifest)
    rows = [("read", f"{books.read:,}", "")]
    rows.append(("kept", f"{books.kept:,}", percent(books.kept, books.read)))
    for kind in ("rejected", "broken"):
        these = [outcome for outcome in outcomes if outcome.kind == kind]
        n = sum(outcome.records for outcome in these)
        rows.append((kind, f"{n:,}", percent(n, books.read)))
        for outcome in these:
            name = one_line(outcome.reason, max_chars=60)
            rows.append((f"  {name}", f"{outcome.records:,}", percent(outcome.records, books.read)))
    rows.append(("administrative, not counted above", f"{manifest.counts.administrative:,}", ""))
    return format_table(rows, align="lrr")


def _shard_lines(manifest: Manifest) -> list[str]:
    if not manifest.shards:
        return []
    rows = [["split", "shards", "blocks", "documents", "sentences", "tokens", "size"]]
    for one in count_splits(manifest):
        counts = (one.shards, one.blocks, one.documents, one.sentences, one.tokens)
        rows.append([one.split, *(f"{n:,}" for n in counts), size(one.file_bytes)])
    return [*heading("shards"), *format_table(rows, align="lrrrrrr")]


def _removal_lines(manifest: Manifest) -> list[str]:
    """What was forgotten, request by request; what it was is known to nobody."""
    if not manifest.removals:
        return []
    rows = [["removal", "documents", "tokens", "text", "duplicates of them", "request", "on", "for"]]
    for number, one in enumerate(manifest.removals, 1):
        said = (one.request_sha256[:16], one.date or "–", one_line(one.reason, max_chars=60) or "–")
        rows.append(
            [f"{number}", f"{one.documents:,}", f"{one.tokens:,}", size(one.text_bytes), f"{one.dependents:,}", *said]
        )
    return [*heading("forgotten"), *format_table(rows, align="lrrrrlll")]


def _ranking_lines(title: str, counts: list[tuple[str, int]], *, distinct: int | None = None) -> list[str]:
    """The most frequent names, and how many documents or pages each has."""
    if not counts:
        return []
    whole = sum(n for _, n in counts)
    rest = (len(counts) if distinct is None else distinct) - TOP
    rows = [(one_line(name, max_chars=60) or "(none)", f"{n:,}", percent(n, whole)) for name, n in counts[:TOP]]
    if distinct is not None:
        rows = [(name, n, "") for name, n, _ in rows]  # only the largest are listed, so the whole is not known here
    more = [f"  and {rest:,} more"] if rest > 0 else []
    return [*heading(title), *format_table(rows, align="lrr"), *more]
