"""The figures of a run without the documents that were taken out of it.

In: the statistics of its manifest, and what is lost with the documents. Out: the statistics that would have been
counted without them. The rule: what can be counted again is (domains), what is a sum is diminished by what it lost,
and what tells of the making of the run (duplicates, cuts, recall) stays as it was then, without the addresses.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpe.encoding import Encoder
from bpe.entries import Manifest
from bpe.shards import document_at, find_borders, open_shard
from bpe.tokenized import TokenizedDocument
from bpe.vocabulary import load_vocabulary
from corpora.documents import REJECTION_SCHEMA
from inspection.run_folder import RunFolder
from pipelines.commit import TOP_DOMAINS
from pipelines.forget_survey import Survey, read_tables
from pipelines.part_statistics import Statistics, add_statistics, part_statistics


class Lost(NamedTuple):
    """What goes with some documents."""

    text_bytes: int = 0  # UTF-8
    statistics: Statistics = Statistics()


def add_lost(many: Iterable[Lost]) -> Lost:
    """The sum of losses."""
    losses = list(many)
    return Lost(sum(one.text_bytes for one in losses), add_statistics(one.statistics for one in losses))


def lost_documents(documents: pa.Table, manifest: Manifest) -> Lost:
    """What goes with rows of documents."""
    kinds = {name.partition(" ")[0] for name in _mapping(_details(manifest.statistics).get("kinds"))}
    statistics = part_statistics(documents, REJECTION_SCHEMA.empty_table(), {}, kinds=kinds)
    return Lost(pc.sum(pc.binary_length(documents["text"])).as_py() or 0, statistics)


def lost_tokens(run: RunFolder, survey: Survey) -> Lost:
    """What goes with documents of which the run keeps tokens only: their texts as they decode.

    In the fairseq encoding that is without the white space between sentences, for which a blank is counted. Their
    language is the run's where it has one only, else nobody knows it any more.
    """
    texts = [] if not survey.forgotten else list(_decode_documents(run, survey))
    languages = _mapping(run.manifest.statistics["languages"])
    characters = Counter(length_bucket(len(text)) for text in texts)
    statistics = Statistics(
        languages=tuple((language, len(texts)) for language in languages if len(languages) == 1),
        characters=tuple(sorted(characters.items())),
    )
    return Lost(sum(len(text.encode()) for text in texts), statistics)


def length_bucket(n_chars: int) -> int:
    """The power of two at which the bucket of texts of this length starts, as in `pipelines.part_statistics`."""
    return 1 << max(n_chars.bit_length() - 1, 0)


def statistics_without(
    statistics: Mapping[str, object], lost: Lost, *, hosts: Counter[str], urls: Collection[str]
) -> dict[str, object]:
    """A manifest's statistics without what was lost; `hosts` are those of the documents that remain."""
    gone = lost.statistics
    top = sorted(hosts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP_DOMAINS]
    details = {name: _without_addresses(value, urls) for name, value in _details(statistics).items()}
    for name, counts in (("kinds", gone.kinds), ("gaps", gone.gaps)):
        if name in details:
            details[name] = _less(_mapping(details[name]), counts)
    details = {name: value for name, value in details.items() if value}
    new = {
        **statistics,
        "languages": _less(_mapping(statistics["languages"]), gone.languages),
        "domains": {"distinct": len(hosts), "top": [list(pair) for pair in top]},
        "characters": _less(_mapping(statistics["characters"]), [(str(bucket), n) for bucket, n in gone.characters]),
        "details": details,
    }
    return {name: value for name, value in new.items() if name != "details" or details}


def _decode_documents(run: RunFolder, survey: Survey) -> Iterator[str]:
    """Texts of the documents to forget, from the shards."""
    vocabulary = run.manifest.vocabulary
    assert vocabulary is not None, "a run without documents has shards, so it has a vocabulary"
    encoder = Encoder(load_vocabulary(run.path / vocabulary.name), mode=vocabulary.encoding)
    ids = pa.array(sorted(survey.ids), pa.binary(16))
    for shard in run.manifest.shards:
        places: dict[int, list[int]] = {}
        for table in read_tables(run.path, shard.lineage, ("document_id", "block", "position")):
            for row in table.filter(pc.is_in(table["document_id"], ids)).to_pylist():
                places.setdefault(row["block"], []).append(row["position"])
        if places:
            with open_shard(run.path / shard.name, shard) as opened:
                for block, positions in places.items():
                    held = opened.block(block)
                    borders = find_borders(held)
                    for position in positions:
                        yield _decode(document_at(held, position, borders=borders), encoder)


def _decode(document: TokenizedDocument, encoder: Encoder) -> str:
    if encoder.mode == "lossless":
        return encoder.decode(document.ids)
    sentences = np.split(document.ids, np.cumsum(document.sentence_lengths, dtype=np.int64)[:-1])
    return " ".join(map(encoder.decode, sentences))


def _without_addresses(value: object, urls: Collection[str]) -> object:
    """A plain value in which no text holds one of the addresses."""
    if isinstance(value, str):
        return "" if any(url in value for url in urls) else value
    if isinstance(value, Mapping):
        return {name: _without_addresses(one, urls) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_addresses(one, urls) for one in value]
    return value


def _less(counts: Mapping[str, object], lost: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts less what was lost of each; names of which nothing is left go."""
    left = {name: n for name, n in counts.items() if isinstance(n, int)}
    for name, n in lost:
        left[name] = max(left.get(name, 0) - n, 0)
    return {name: n for name, n in left.items() if n}


def _details(statistics: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(statistics.get("details"))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
