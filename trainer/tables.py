"""Tab-separated files as benchmarks distribute them: rows, and the lines that are none, named.

In: a file, plain or .gz. Out: a `Table`: cells by the names of columns. The rule: a line is a row or it is broken;
nothing is dropped in silence. Quotes are text (the files quote nothing), only "\\n" ends a line (a sentence may hold
other separators of Unicode), a byte order mark is no part of the first name.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trainer.tasks import Broken, DataError


class Row(NamedTuple):
    """One line's cells."""

    line: int  # from 1
    cells: tuple[str, ...]  # in the order that was asked for


class Table(NamedTuple):
    """A file's rows, and its lines that are none."""

    path: Path
    columns: tuple[str, ...]  # those that the file has
    rows: tuple[Row, ...]
    broken: tuple[Broken, ...]


def read_table(path: Path, *, header: Sequence[str] = ()) -> Table:
    """All columns of a file; `header` names those of a file whose first line is data already.

    DataError where the file cannot be read or has no lines.
    """
    lines = split_lines(read_bytes(path))
    if not lines:
        raise DataError(f"{path}: empty; get the file again")
    columns = tuple(header)
    rows: list[Row] = []
    broken: list[Broken] = []
    for number, data in enumerate(lines, 1):
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            broken.append(Broken(str(path), number, f"not UTF-8 at byte {error.start} of the line"))
            continue
        cells = tuple(text.split("\t"))
        if not columns:
            columns = tuple(cell.strip() for cell in cells)
        elif len(cells) != len(columns):
            broken.append(Broken(str(path), number, f"{len(cells)} columns, {len(columns)} were expected"))
        else:
            rows.append(Row(number, cells))
    if not columns:
        raise DataError(f"{path}:1: the header is not UTF-8; get the file again")
    return Table(path, columns, tuple(rows), tuple(broken))


def pick_columns(table: Table, names: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Rows of these columns only, each given by the names that it goes by in one file or another.

    DataError where the file has none of a column's names.
    """
    places = []
    for known_as in names:
        found = [table.columns.index(name) for name in known_as if name in table.columns]
        if not found:
            shown = ", ".join(map(repr, table.columns))
            raise DataError(f"{table.path}: no column {' or '.join(known_as)}, only {shown}; is it the task's file?")
        places.append(found[0])
    for row in table.rows:
        yield Row(row.line, tuple(row.cells[place].strip() for place in places))


def read_bytes(path: Path) -> bytes:
    """A file's bytes, decompressed where its name ends in .gz; DataError where that cannot be done."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {error}; get the file again") from error


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends, which are "\\n" or "\\r\\n"; a last line need not have one."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]
