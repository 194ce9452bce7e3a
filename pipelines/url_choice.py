"""Chooses the URLs: all the links of some canonical forms in, a row a URL out, and what became of the other links.

The rule: nothing depends on the order in which links arrive. Of the links of one URL the one of the highest score
stands for it, then the earliest (unknown times last), then the first by file and line.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpora.openwebtext import UrlRules
from pipelines.url_files import REJECT_SCHEMA, URL_SCHEMA

_KEEPER_ORDER = [
    *(("key", "ascending"), ("score", "descending")),
    *((name, "ascending") for name in ("known_utc", "source", "line")),
]
_UNKNOWN_TIME = np.iinfo(np.int64).max


def choose_urls(links: pa.Table, rules: UrlRules) -> tuple[pa.Table, pa.Table, Counter[tuple[str, str]]]:
    """(URLs, rejects, links lost by source and reason) of all the links of some canonical forms."""
    known = pc.if_else(pc.greater(links["created_utc"], 0), links["created_utc"], int(_UNKNOWN_TIME))
    links = links.append_column("known_utc", known).sort_by(
        [
            ("key", "ascending"),
            ("score", "descending"),
            *((name, "ascending") for name in ("known_utc", "source", "line")),
        ]
    )
    keys = links["key"].combine_chunks()
    is_first = np.ones(len(keys), bool)
    is_first[1:] = np.asarray(pc.not_equal(keys[1:], keys[:-1]))
    starts = np.flatnonzero(is_first)
    if not len(starts):
        return URL_SCHEMA.empty_table(), REJECT_SCHEMA.empty_table(), Counter()
    sizes = np.diff(starts, append=len(keys))
    scores = links["score"].to_numpy()
    totals = np.add.reduceat(scores, starts) if rules.sum_scores else scores[starts]
    first_utc = np.minimum.reduceat(links["known_utc"].to_numpy(), starts)
    is_good = totals >= rules.min_score if rules.sum_scores else np.ones(len(starts), bool)
    urls = links.take(pa.array(starts[is_good]))
    columns = {
        "score": totals[is_good],
        "n_submissions": sizes[is_good],
        "first_utc": np.where(first_utc == _UNKNOWN_TIME, 0, first_utc)[is_good],
    }
    shown = [pa.array(columns[name]) if name in columns else urls[name] for name in URL_SCHEMA.names]
    group_of = np.repeat(np.arange(len(starts)), sizes)
    doubles = np.flatnonzero(~is_first & is_good[group_of])
    low = np.flatnonzero(~is_good[group_of])
    rejects = _as_doubles(links.take(pa.array(doubles)), links.take(pa.array(starts[group_of[doubles]])))
    lost = _count_sources(links, doubles, "duplicate_url") + _count_sources(links, low, "low_score")
    return pa.Table.from_arrays(shown, schema=URL_SCHEMA), rejects, lost


def _as_doubles(rows: pa.Table, keepers: pa.Table) -> pa.Table:
    """Links as rejects, each naming the place of the one that stands for it."""
    place = pc.binary_join_element_wise(keepers["source"], pc.cast(keepers["line"], pa.string()), " line ")
    n = rows.num_rows
    made = {"reason": pa.array(["duplicate_url"] * n, pa.string()), "detail": place, "broken": pa.array([False] * n)}
    return pa.Table.from_arrays([made.get(name, rows[name]) if name in made else rows[name]
                                 for name in REJECT_SCHEMA.names], schema=REJECT_SCHEMA)  # fmt: skip


def _count_sources(links: pa.Table, rows: Any, reason: str) -> Counter[tuple[str, str]]:
    counted = pc.value_counts(links["source"].take(pa.array(rows)))
    return Counter({(one["values"], reason): one["counts"] for one in counted.to_pylist()})


def assign_parts(places: Iterable[str], n_parts: int) -> Any:
    """int64 [places]: the partition of each, by its hash."""
    digests = b"".join(hashlib.blake2b(place.encode(), digest_size=4).digest() for place in places)
    return (np.frombuffer(digests, ">u4").astype(np.int64) * n_parts) >> 32


def part_stem(part: int, n_parts: int) -> str:
    """As in "00003-of-00064"."""
    return f"{part:05d}-of-{n_parts:05d}"


def pack(table: pa.Table) -> bytes:
    """A table as bytes; one element for many rows costs a runner a hundredth of an element for each."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()
