"""report.html: what a run read, kept and lost, on one page that opens offline and may be printed.

In: a manifest, and what was published about the corpus. Out: the page, a pure function of the two.
Every name in it was chosen by strangers (domains, file names), so nothing is HTML until it is escaped,
and the page's own policy forbids it to run or load anything.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bpe.manifest import Manifest
from corpora.reasons import REASONS
from inspection import report_html as html
from inspection.figures import (
    Outcome,
    Targets,
    Yield,
    bytes_per_token,
    compare_yields,
    count_splits,
    flatten_settings,
    list_outcomes,
    mean_bytes,
    read_details,
    read_statistics,
)
from inspection.plain_text import percent, size
from inspection.report_html import Markup
from inspection.report_selection import selection_sections
from inspection.report_style import STYLE

__all__ = ["Targets", "render_report"]

MAX_INPUTS = 200
MAX_SHARDS = 500
MAX_LANGUAGES = 12
SHOWN_DOMAINS = 15
NO_TARGETS: Mapping[str, Targets] = MappingProxyType({})
_LARGEST_EXPONENT = 40  # of a length bucket; no document has 2^40 characters


def render_report(
    manifest: Manifest, *, targets: Mapping[str, Targets] = NO_TARGETS, reasons: Mapping[str, str] = REASONS
) -> str:
    """The page; `targets` are those of the whole ("") and of each kind of input, `reasons` explain the books' keys."""
    sections = [
        _header(manifest),
        Markup("<main>"),
        _tiles(manifest),
        _funnel(manifest, reasons),
        html.side_by_side([_yields(compare_yields(manifest, targets), targets), _duplicates(manifest)]),
        *selection_sections(read_details(manifest)),
        html.side_by_side([_languages(manifest), _domains(manifest)]),
        _lengths(manifest),
        _shards(manifest),
        _settings(manifest),
        _inputs(manifest),
        Markup("</main>"),
        Markup(f"<footer>Made by shardmill {html.escape(manifest.code_version)}, from manifest.json alone.</footer>"),
    ]
    return html.page(f"{manifest.name}: report of a run", STYLE, html.join(sections))


def _header(manifest: Manifest) -> Markup:
    variant = manifest.settings.get("variant")
    said = f"Variant {variant} · " if isinstance(variant, str) and variant else ""
    said += f"settings {manifest.settings_hash[:12]} · {_count(len(manifest.inputs), 'input file')}"
    return Markup(f"<header>\n<h1>{html.foreign(manifest.name)}</h1>\n<p>{html.escape(said)}</p>\n</header>")


def _tiles(manifest: Manifest) -> Markup:
    counts, books = manifest.counts, manifest.books
    figures = [
        ("records read", f"{books.read:,}", f"and {counts.administrative:,} administrative"),
        ("documents kept", f"{books.kept:,}", f"{percent(books.kept, books.read)} of the records read"),
        ("text", size(counts.text_bytes), f"{mean_bytes(manifest):,.0f} bytes a document"),
    ]
    ratio = bytes_per_token(manifest)
    if manifest.vocabulary is not None:
        figures += [
            ("tokens", f"{counts.tokens:,}", f"{ratio:.2f} bytes a token" if ratio else "nothing to encode"),
            ("sentences", f"{counts.sentences:,}", f"{_ratio(counts.tokens, counts.sentences)} tokens each"),
            ("shards", f"{len(manifest.shards):,}", size(sum(shard.bytes for shard in manifest.shards))),
        ]
    return html.tiles(figures)


def _funnel(manifest: Manifest, explain: Mapping[str, str]) -> Markup:
    """From all that was read, through what was lost for each reason, down to what was kept."""
    books = manifest.books
    rows = [html.bar(Markup("read"), books.read, books.read, kind="read")]
    left = books.read
    kept, *losses = list_outcomes(manifest)
    for loss in losses:
        left -= loss.records
        rows.append(html.bar(_reason(loss, explain), loss.records, books.read, start=left, kind=loss.kind))
    rows.append(html.bar(Markup("kept"), kept.records, books.read, kind="kept"))
    key = html.color_key(
        (kind, f"{said} ({sum(loss.records for loss in losses if loss.kind == kind):,})")
        for kind, said in (("rejected", "rejected: not wanted"), ("broken", "broken: damaged input"))
    )
    note = "Each bar takes off what was lost for one reason, the most frequent first; what is left at the end was kept."
    return html.section("From records to documents", html.join([html.bars(rows), key]), note=note)


def _reason(loss: Outcome, explain: Mapping[str, str]) -> Markup:
    said = explain.get(loss.reason, "")
    small = f"<small>{html.escape(said)}</small>" if said else ""
    return Markup(f"{html.escape(loss.reason.replace('_', ' '))}{small}")


def _yields(yields: Sequence[Yield], targets: Mapping[str, Targets]) -> Markup:
    if not targets:
        return html.EMPTY
    rows = [
        (
            f"{one.kind}: {one.quantity}" if one.kind else one.quantity,
            _quantity(one.here, one.unit), _quantity(one.published, one.unit), _share(one),
        )
        for one in yields
    ]  # fmt: skip
    table = html.table(("", "this run", "published", "share"), rows, numeric=(1, 2, 3))
    sources = "; ".join(f"{kind}: {one.source}" if kind else one.source for kind, one in sorted(targets.items()))
    return html.section("Yield beside what was published", table, note=f"Published: {sources}")


def _languages(manifest: Manifest) -> Markup:
    languages = read_statistics(manifest).languages
    shown, rest = languages[:MAX_LANGUAGES], languages[MAX_LANGUAGES:]
    if rest:
        shown = [*shown, (f"{len(rest)} others", sum(n for _, n in rest))]
    note = "Of the documents kept and of the pages rejected for their language."
    return _ranking("Languages", shown, note=note)


def _duplicates(manifest: Manifest) -> Markup:
    duplicates = read_statistics(manifest).duplicates
    found, kept = sum(n for _, n in duplicates), manifest.books.kept
    fit = found + kept
    rows = [html.bar(html.foreign(name.replace("_", " ")), n, fit) for name, n in duplicates]
    body = html.bars(rows) if found else html.empty("None found, or none looked for.")
    note = f"Documents that another one stands for, by what is the same: {percent(found, fit)} of those fit to keep."
    return html.section("Duplicates", body, note=note)


def _lengths(manifest: Manifest) -> Markup:
    counts: dict[int, int] = {}
    for bucket, n in read_statistics(manifest).lengths:
        exponent = min(max(bucket.bit_length() - 1, 0), _LARGEST_EXPONENT)
        counts[exponent] = counts.get(exponent, 0) + n
    if not counts:
        return html.section("Length of documents", html.empty("No documents."))
    total = sum(counts.values())
    values = []
    for exponent in range(min(counts), max(counts) + 1):
        n = counts.get(exponent, 0)
        said = f"{1 << exponent:,} to {(2 << exponent) - 1:,} characters: {n:,} documents ({percent(n, total)})"
        values.append((_power(exponent), n, said))
    note = "Documents kept, by characters of text. A column goes from the number below it (1k = 1,024) to twice that."
    return html.section("Length of documents", html.columns(values, label="Documents by characters of text"), note=note)


def _domains(manifest: Manifest) -> Markup:
    statistics = read_statistics(manifest)
    top, rest = statistics.domains[:SHOWN_DOMAINS], statistics.domains[SHOWN_DOMAINS:]
    note = f"{_count(statistics.distinct_domains, 'domain')} in all; the largest, by documents kept."
    shown = _ranking("Domains", top, note=note, whole=manifest.books.kept)
    if not rest:
        return shown
    table = html.table(("domain", "documents"), [(name, f"{n:,}") for name, n in rest], numeric=(1,))
    more = html.folded(f"The next {len(rest)}", table)
    return Markup(shown.removesuffix("</section>") + f"{more}\n</section>")


def _ranking(title: str, counts: Sequence[tuple[str, int]], *, note: str, whole: int | None = None) -> Markup:
    """Bars as long as their share of the largest, with percentages of the whole."""
    if not counts:
        return html.section(title, html.empty("None."), note=note)
    whole = sum(n for _, n in counts) if whole is None else whole
    scale = max(n for _, n in counts)
    rows = [html.bar(html.foreign(name or "(none)"), n, whole, scale=scale) for name, n in counts]
    return html.section(title, html.bars(rows), note=note)


def _shards(manifest: Manifest) -> Markup:
    vocabulary = manifest.vocabulary
    if vocabulary is None:
        return html.section("Shards", html.empty("None: the run had no vocabulary, so it ends with documents."))
    splits = [
        (
            one.split, f"{one.shards:,}", f"{one.blocks:,}", f"{one.documents:,}", f"{one.sentences:,}",
            f"{one.tokens:,}", size(one.file_bytes),
        )
        for one in count_splits(manifest)
    ]  # fmt: skip
    head = ("", "shards", "blocks", "documents", "sentences", "tokens", "size")
    note = f"{vocabulary.encoding} encoding, vocabulary of {vocabulary.size:,} (fingerprint {vocabulary.fingerprint})."
    body = [html.table(head, splits, numeric=range(1, 7)), html.folded("Each shard", _each_shard(manifest))]
    return html.section("Shards", html.join(body), note=note)


def _each_shard(manifest: Manifest) -> Markup:
    rows = [
        (
            one.name, one.split, f"{len(one.blocks.offset):,}", f"{one.n_documents:,}", f"{one.n_sentences:,}",
            f"{one.n_tokens:,}", f"{one.bytes:,}", one.sha256[:16],
        )
        for one in manifest.shards[:MAX_SHARDS]
    ]  # fmt: skip
    head = ("shard", "split", "blocks", "documents", "sentences", "tokens", "bytes", "sha256")
    table = html.table(head, rows, numeric=(2, 3, 4, 5, 6), mono=(0, 7))
    return html.join([table, _more(len(manifest.shards) - MAX_SHARDS)])


def _settings(manifest: Manifest) -> Markup:
    table = html.table(("setting", "value"), flatten_settings(manifest.settings), mono=(0,))
    note = f"All that decides the bytes of this run besides its input. Hash {manifest.settings_hash}."
    return html.section("Settings", html.folded("All settings", table, printed=True), note=note)


def _inputs(manifest: Manifest) -> Markup:
    rows = [(one.name, f"{one.bytes:,}", one.fingerprint[:24]) for one in manifest.inputs[:MAX_INPUTS]]
    table = html.table(("file", "bytes", "fingerprint"), rows, numeric=(1,), mono=(0, 2))
    body = html.join([table, _more(len(manifest.inputs) - MAX_INPUTS)])
    note = f"{_count(len(manifest.inputs), 'file')}, {size(sum(entry.bytes for entry in manifest.inputs))}."
    return html.section("Input", html.folded("Each file", body), note=note)


def _more(n: int) -> Markup:
    """Says how many rows a table has been spared."""
    return html.empty(f"and {n:,} more, in manifest.json") if n > 0 else html.EMPTY


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return "not published"
    if unit != "GiB":
        return f"{value:,.0f} {unit}".strip()
    return f"{value:,.1f} GiB" if value >= 1 else size(value * 2**30)


def _share(one: Yield) -> str:
    return percent(one.here, one.published) if one.published else "–"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.1f}" if whole else "0"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _power(exponent: int) -> str:
    """A power of two in three or four characters.

    >>> _power(9), _power(10), _power(16)
    ('512', '1k', '64k')
    """
    return f"{1 << exponent % 10}{('', 'k', 'M', 'G', 'T')[exponent // 10]}"
