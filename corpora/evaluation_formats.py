"""The formats that evaluation sets are published in: the bytes of one file in, the texts of its fields out.

Which fields count: everything that a model reads and that could be found in a corpus as it stands. Sentences,
premises, hypotheses, questions, contexts and articles do; answers, options, titles and labels do not: a SQuAD answer
is a part of its context, a RACE option is a phrase of a few words that stands in many innocent texts.

The rule: a file is either read whole, or `NotThisFormat` says what it lacks, or `RecordError` says where it is
damaged. Rows that lack a field are counted, never skipped in silence.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree

from corpora.errors import RecordError

__all__ = ["FIELDS", "FileTexts", "NotThisFormat", "read_file", "suffix_of"]

# Fields by task; where a task has been published under several names, the first that a file has is taken.
_PAIR = ("sentence1", "sentence2")
_PREMISE = ("premise", "hypothesis")
FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "CoLA": (("sentence",),),
    "SST-2": (("sentence",),),
    "MRPC": (_PAIR, ("#1 string", "#2 string")),
    "STS-B": (_PAIR,),
    "QQP": (("question1", "question2"),),
    "MNLI": (_PAIR, _PREMISE),
    "QNLI": (("question", "sentence"),),
    "RTE": (_PAIR, _PREMISE),
    "WNLI": (_PAIR,),
    "AX": (_PAIR, _PREMISE),
    "SQuAD": (("context", "question"),),
    "RACE": (("article", "questions"), ("article", "question")),
    "WSC": (("text",),),
    "PDP": (("text",),),
}
# Tables without a header: CoLA as published (source, label, the author's mark, sentence) and the STS benchmark
# (genre, file, year, number, score, two sentences, and in some rows their licences).
_HEADERLESS = {"CoLA": (4, (3,)), "STS-B": (7, (5, 6))}
# Where a test leaves out a word, no corpus has the gap: what stands before it and after it are texts of their own.
_WITH_GAPS = frozenset(["RACE", "WSC", "PDP"])
_GAP = re.compile(r"\[MASK\]|(?<!\w)_+(?!\w)")
# Treebank tokens, as SST-2 and some copies of MRPC have them, cut a word in two or stand for a bracket.
_TREEBANK = ((re.compile(r"(?<=\w) n't\b", re.IGNORECASE), "n't"), (re.compile(r"-[lr][rsc]b-", re.IGNORECASE), " "))


class NotThisFormat(Exception):  # noqa: N818 - it says that a file is of no concern, not that it is wrong
    """A file that is not what its name suggests; the message says what it lacks."""


class FileTexts(NamedTuple):
    """What one file holds."""

    texts: tuple[str, ...]  # in the order of the file, repetitions included
    n_incomplete: int  # rows that lack a field


def read_file(name: str, data: bytes, task: str) -> FileTexts:
    """The texts of a file of a task. Raises NotThisFormat, or RecordError where the file is damaged."""
    suffix = suffix_of(name)
    if suffix not in _READERS:
        raise NotThisFormat(f"no evaluation set is published as {suffix or 'a file without a suffix'}")
    if name.lower().endswith(".gz"):
        data = _decompress(name, data)
    rows = list(_READERS[suffix](name, data, task))
    texts = tuple(text for row in rows if row is not None for field in row for text in _split_at_gaps(field, task))
    return FileTexts(texts, sum(row is None for row in rows))


def suffix_of(name: str) -> str:
    """The suffix that says the format, compression aside.

    >>> suffix_of("RTE/dev.tsv.gz"), suffix_of("dev-v1.1.json"), suffix_of("README")
    ('.tsv', '.json', '')
    """
    bare = name.lower().rsplit("/", 1)[-1].removesuffix(".gz")
    return "." + bare.rsplit(".", 1)[1] if "." in bare.lstrip(".") else ""


Row = tuple[str, ...] | None  # the texts of a row, None where it lacks one


def _read_lines(name: str, data: bytes, task: str) -> Iterator[Row]:
    """.txt is a table, or blocks of lines (WSC, PDP), or one JSON object (RACE)."""
    if task == "RACE":
        return _read_json(name, data, task)
    return _read_blocks(name, data) if task in ("WSC", "PDP") else _read_table(name, data, task)


def _read_table(name: str, data: bytes, task: str) -> Iterator[Row]:
    """Tab-separated rows. Quotes are text: the sets have single ones, and whoever unquotes loses rows."""
    lines = _decode(name, data).split("\n")
    header = [column.strip().lower() for column in lines[0].rstrip("\r").split("\t")]
    places: tuple[int, ...]
    for fields in FIELDS[task]:
        if set(fields) <= set(header):
            places, lines = tuple(header.index(field) for field in fields), lines[1:]
            break
    else:
        n_columns, places = _HEADERLESS.get(task, (0, ()))
        if not n_columns or len(header) < n_columns:
            wanted = " or ".join(" and ".join(fields) for fields in FIELDS[task])
            raise NotThisFormat(f"its first line does not name the columns {wanted}")
    for line in lines:
        if line.strip():
            cells = line.rstrip("\r").split("\t")
            yield tuple(cells[place] for place in places) if len(cells) > max(places) else None


def _read_blocks(name: str, data: bytes) -> Iterator[Row]:
    """Blocks of a sentence with a gap, the gap's mark alone, the candidates, and the answer."""
    lines = [line.strip() for line in _decode(name, data).splitlines()]
    found = [before for before, line in pairwise(lines) if line == "[MASK]"]
    if not found:
        raise NotThisFormat("no line of it is [MASK] alone, as below each sentence of WSC and PDP")
    return iter([(line,) for line in found])


def _read_xml(name: str, data: bytes, task: str) -> Iterator[Row]:
    """Schemas: the text before the pronoun, the pronoun, the text behind it."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise RecordError(name, 0, f"not XML: {error}", remedy="fetch the file again") from error
    schemas = [schema.find("text") for schema in root.iter("schema")]
    if not schemas:
        raise NotThisFormat("it has no element `schema`")
    for text in schemas:
        parts = [] if text is None else [text.findtext(part, "").strip() for part in ("txt1", "pron", "txt2")]
        yield (" ".join(parts),) if any(parts) else None


def _read_json(name: str, data: bytes, task: str) -> Iterator[Row]:
    """SQuAD's tree of articles and paragraphs, RACE's object, or a list of rows."""
    try:
        tree = json.loads(_decode(name, data))
    except ValueError as error:
        raise RecordError(
            name, getattr(error, "pos", 0), f"not JSON: {error}", remedy="fetch the file again"
        ) from error
    if task == "SQuAD" and isinstance(tree, dict) and isinstance(tree.get("data"), list):
        return _read_squad(tree["data"])
    rows = tree if isinstance(tree, list) else [tree]
    return _read_rows(rows, task)


def _read_squad(articles: list[Any]) -> Iterator[Row]:
    for article in articles:
        for paragraph in _objects(article, "paragraphs"):
            questions = [one.get("question") for one in _objects(paragraph, "qas")]
            for text in (paragraph.get("context"), *questions):
                yield (text,) if isinstance(text, str) else None


def _objects(parent: Any, field: str) -> list[dict[str, Any]]:
    """The objects of a list in a field; whatever is none counts as an empty one, so that what it lacks is counted."""
    children = parent.get(field) if isinstance(parent, dict) else None
    return [one if isinstance(one, dict) else {} for one in children] if isinstance(children, list) else [{}]


def _read_json_lines(name: str, data: bytes, task: str) -> Iterator[Row]:
    rows, offset = [], 0
    for line in _decode(name, data).split("\n"):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            remedy = "fetch the file again, or remove the line"
            raise RecordError(name, offset, f"a line that is not JSON: {error}", remedy=remedy) from error
        offset += len(line.encode()) + 1
    return _read_rows(rows, task)


def _read_parquet(name: str, data: bytes, task: str) -> Iterator[Row]:
    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordError(name, 0, f"not Parquet: {error}", remedy="fetch the file again") from error
    return _read_rows(rows, task)


def _read_rows(rows: Iterable[Any], task: str) -> Iterator[Row]:
    """Objects with a task's fields; a field may be a list of texts, as RACE's questions are."""
    rows = [{str(key).lower(): value for key, value in row.items()} if isinstance(row, dict) else {} for row in rows]
    chosen = next((fields for fields in FIELDS[task] if any(set(fields) <= row.keys() for row in rows)), None)
    if chosen is None:
        wanted = " or ".join(" and ".join(fields) for fields in FIELDS[task])
        raise NotThisFormat(f"none of its rows has the fields {wanted}")
    for row in rows:
        values = [row.get(field) for field in chosen]
        texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
        yield tuple(texts) if all(isinstance(text, str) for text in texts) else None


def _split_at_gaps(field: str, task: str) -> list[str]:
    for pattern, replacement in _TREEBANK:
        field = pattern.sub(replacement, field)
    pieces = _GAP.split(field) if task in _WITH_GAPS else [field]
    return [piece.strip() for piece in pieces if piece.strip()]


def _decode(name: str, data: bytes) -> str:
    """UTF-8, its byte order mark aside (MRPC as published begins with one)."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = "convert the file to UTF-8, or fetch it again"
        raise RecordError(name, error.start, f"not UTF-8: {error.reason}", remedy=remedy) from error


def _decompress(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(name, 0, f"damaged gzip: {error}", remedy="fetch the file again") from error


_READERS: dict[str, Callable[[str, bytes, str], Iterator[Row]]] = {
    ".tsv": _read_table,
    ".txt": _read_lines,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
    ".xml": _read_xml,
}
