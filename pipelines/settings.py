"""What a run is asked to do: one frozen object for what shapes its bytes, one for how it is carried out.

`RunSettings` goes into the manifest and its hash decides whether two runs are the same run.
`Execution` (runner, workers, folders) never may: the same input gives the same bytes wherever it runs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass

from bpe.manifest import settings_hash
from corpora.near_duplicates import NearDuplicateRules
from corpora.warc import ReadLimits
from pipelines.decontaminate_stage import DecontaminationPlan
from pipelines.sandbox_child import load_function

DEFAULT_SHARD_BYTES = 256 << 20
DEFAULT_BLOCK_TOKENS = 524_288  # 1 MiB of uint16
TEXT_BYTES_PER_TOKEN = 4.4  # of English news in RoBERTa's vocabulary; only used to choose the number of shards


ANY_KIND = ""  # of input, where a corpus has one kind only


@dataclass(frozen=True, kw_only=True, slots=True)
class InputKind:
    """How the files of one kind become documents: who reads their records, and who judges each, in a child process.

    Functions are named "module:name", since workers and their children are other processes.
    """

    settings: object  # given to `process`; plain and frozen
    read: str = "corpora.warc:read_pages"  # (stream, *, source, start, end, limits) -> pages, rejections, others
    process: str = "corpora.processing:process_page"  # (page, settings) -> Document or Rejection
    versions: str = "corpora.processing:library_versions"  # settings -> versions; raises where something is missing
    limits: object = field(default_factory=ReadLimits)  # given to `read`
    whole_files: bool = False  # a file is one record, which cannot be split

    def describe(self) -> dict[str, object]:
        """What decides the bytes of the documents of this kind."""
        return {
            "process": self.process,
            "processing": as_plain(self.settings),
            "limits": as_plain(self.limits),
            "versions": load_function(self.versions)(self.settings),
        }


def kind_of(source: str, kinds: Mapping[str, InputKind]) -> str:
    """Which kind an input file is of: the first folder of its name, where a corpus has several kinds.

    >>> kind_of("books/novel.txt", {"books": InputKind(settings=None), "wikipedia": InputKind(settings=None)})
    'books'
    """
    folder = source.partition("/")[0]
    return folder if folder in kinds else ANY_KIND


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
class SelectionRules:
    """Which of the documents fit to keep are kept, in the order in which they are asked."""

    keep: float | None = None  # share of the documents, those of the highest score; None where a corpus does not rank
    deduplication: DeduplicationRules = field(default_factory=DeduplicationRules)
    near_duplicates: NearDuplicateRules | None = None
    against: tuple[str, ...] = ()  # fingerprints of the earlier runs whose documents are not taken again
    decontamination: Mapping[str, object] | None = None  # rules, and the fingerprint of the evaluation texts

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise ValueError(f"--keep is {self.keep}; it is a share of the documents, above 0 and at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRules:
    """How kept documents become shards."""

    encoding: str = "fairseq"  # or lossless
    held_out: float = 0.005  # share of documents kept apart to measure perplexity on, by hash of their id
    shard_bytes: int = DEFAULT_SHARD_BYTES  # size aimed at
    n_shards: int = 0  # 0: as many as shard_bytes asks for
    block_tokens: int = DEFAULT_BLOCK_TOKENS
    min_tokens: int = 0  # documents of fewer are not kept

    def __post_init__(self) -> None:
        if self.encoding not in ("fairseq", "lossless"):
            raise ValueError(f"--encoding is {self.encoding!r}; it is fairseq or lossless")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"--held-out is {self.held_out}; it is a share of the documents, from 0 to below 1")
        if self.shard_bytes < 1 << 16:
            raise ValueError(f"--shard-bytes is {self.shard_bytes}; the smallest is 65536")
        if self.n_shards < 0 or self.block_tokens < 1 or self.min_tokens < 0:
            raise ValueError("--shards, --block-tokens and --min-tokens count things: they cannot be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """All that decides the bytes of a run, besides its input."""

    corpus: str
    variant: str = "default"
    kinds: Mapping[str, InputKind]  # by the first folder of a file's name; ANY_KIND is for all others
    limit_bytes: int | None = None  # of each input file
    selection: SelectionRules = field(default_factory=SelectionRules)
    shards: ShardRules = field(default_factory=ShardRules)
    vocabulary_fingerprint: str = ""  # "" when the run writes documents only

    def extract_settings(self) -> dict[str, object]:
        """What the extract stage depends on: its work files are reused by every run that agrees on this."""
        return {kind or "all": self.kinds[kind].describe() for kind in sorted(self.kinds)}

    def extract_hash(self) -> str:
        return settings_hash(self.extract_settings())

    def all_settings(self) -> dict[str, object]:
        """Everything, as the manifest shows it."""
        return {
            "corpus": self.corpus,
            "variant": self.variant,
            "extract": self.extract_settings(),
            "limit_bytes": self.limit_bytes,
            "selection": as_plain(self.selection),
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
    dry_run: str = ""  # text or json: show the job in this form and do not run it
    against: tuple[str, ...] = ()  # folders of earlier runs
    decontamination: DecontaminationPlan | None = None  # the texts that SelectionRules.decontamination stands for
    flink_master: str = ""  # HOST:PORT of its REST interface; "" is Flink inside the job server
    worker_pool: str = ""  # HOST:PORT, as each worker machine sees it
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
