"""What a run is asked to do: one frozen object for what shapes its bytes, one for how it is carried out.

`RunSettings` goes into the manifest and its hash decides whether two runs are the same run.
`Execution` (runner, workers, folders) never may: the same input gives the same bytes wherever it runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass

from bpe.manifest import settings_hash
from corpora.processing import ProcessingSettings, library_versions
from corpora.warc import ReadLimits

DEFAULT_SHARD_BYTES = 256 << 20
DEFAULT_BLOCK_TOKENS = 524_288  # 1 MiB of uint16
TEXT_BYTES_PER_TOKEN = 4.4  # of English news in RoBERTa's vocabulary; only used to choose the number of shards


@dataclass(frozen=True, kw_only=True, slots=True)
class DeduplicationRules:
    """Which documents count as the same one. The keeper is the earliest fetched, longest, smallest id."""

    by_url: bool = True  # canonical URL
    by_text: bool = True  # whole text, white space collapsed
    by_prefix_chars: int = 0  # first characters of the text (Zellers et al. 2019 use 100); 0 is off

    def __post_init__(self) -> None:
        if self.by_prefix_chars < 0:
            raise ValueError(f"by_prefix_chars is {self.by_prefix_chars}; it counts characters, 0 is off")

    @property
    def enabled(self) -> bool:
        return self.by_url or self.by_text or self.by_prefix_chars > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRules:
    """How kept documents become shards."""

    encoding: str = "fairseq"  # or lossless
    held_out: float = 0.005  # share of documents kept apart to measure perplexity on, by hash of their id
    shard_bytes: int = DEFAULT_SHARD_BYTES  # size aimed at
    n_shards: int = 0  # 0: as many as shard_bytes asks for
    block_tokens: int = DEFAULT_BLOCK_TOKENS

    def __post_init__(self) -> None:
        if self.encoding not in ("fairseq", "lossless"):
            raise ValueError(f"--encoding is {self.encoding!r}; it is fairseq or lossless")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"--held-out is {self.held_out}; it is a share of the documents, from 0 to below 1")
        if self.shard_bytes < 1 << 16:
            raise ValueError(f"--shard-bytes is {self.shard_bytes}; the smallest is 65536")
        if self.n_shards < 0 or self.block_tokens < 1:
            raise ValueError("--shards and --block-tokens count things: they cannot be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """All that decides the bytes of a run, besides its input."""

    corpus: str
    variant: str = "default"
    processing: ProcessingSettings
    limits: ReadLimits = field(default_factory=ReadLimits)
    limit_bytes: int | None = None  # of each input file
    deduplication: DeduplicationRules = field(default_factory=DeduplicationRules)
    shards: ShardRules = field(default_factory=ShardRules)
    vocabulary_fingerprint: str = ""  # "" when the run writes documents only

    def extract_settings(self) -> dict[str, object]:
        """What the extract stage depends on: its work files are reused by every run that agrees on this."""
        return {
            "processing": as_plain(self.processing),
            "limits": as_plain(self.limits),
            "versions": library_versions(self.processing),
        }

    def extract_hash(self) -> str:
        return settings_hash(self.extract_settings())

    def all_settings(self) -> dict[str, object]:
        """Everything, as the manifest shows it."""
        return {
            "corpus": self.corpus,
            "variant": self.variant,
            "extract": self.extract_settings(),
            "limit_bytes": self.limit_bytes,
            "deduplication": as_plain(self.deduplication),
            "shards": as_plain(self.shards) if self.vocabulary_fingerprint else None,
            "vocabulary": self.vocabulary_fingerprint or None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a run is carried out; nothing here may change a byte of what it writes."""

    output: str
    vocabulary: str = ""  # path of vocab.json
    runner: str = "FnApiRunner"
    workers: int = 1
    strict: bool = False  # damaged input fails the run
    overwrite: bool = False
    keep_work: bool = False
    timeout_s: float = 30.0  # per page, in the extractor
    progress: bool = True
    debug: bool = False
    beam_options: tuple[str, ...] = ()  # passed on to Beam

    @property
    def is_local(self) -> bool:
        """Whether workers are processes of this machine that the driver starts itself."""
        return self.runner == "FnApiRunner"


def as_plain(value: object) -> object:
    """Settings as JSON can hold them: dataclasses and named tuples become objects, tuples become lists.

    >>> as_plain(DeduplicationRules())
    {'by_url': True, 'by_text': True, 'by_prefix_chars': 0}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {key: as_plain(item) for key, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return value
