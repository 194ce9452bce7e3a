"""`prep-shards vocabulary`: train a vocabulary on documents or text, or import GPT-2's with RoBERTa's ids."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bpe.gpt2_files import import_gpt2
from bpe.ranks import find_ambiguity
from bpe.training import train_vocabulary
from bpe.vocabulary import DEFAULT_SIZE, Vocabulary, dump_vocabulary
from corpora.documents import Rejection
from corpora.sentences import split_sentences
from pipelines.command import print_lines
from pipelines.encode_command import find_documents
from pipelines.encode_stage import read_documents
from pipelines.inputs import InputFile
from pipelines.options import absolute
from pipelines.storage import exists, write_atomically


def add_vocabulary_parser(commands: Any) -> None:
    """Mounts `vocabulary train` and `vocabulary import-gpt2` on the parser of prep-shards."""
    parser = commands.add_parser("vocabulary", help="train or import a vocabulary", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_train_parser(actions)
    _add_import_parser(actions)


def train(flags: argparse.Namespace) -> None:
    """Runs `vocabulary train`; raises ValueError, ShardError, RecordError or OSError."""
    if flags.max_bytes < 0:
        raise ValueError(f"--max-bytes is {flags.max_bytes}; it counts bytes of text, 0 is all of it")
    files, _ = find_documents(flags.input)
    damage: list[Rejection] = []
    texts = read_sentences(files, damage, max_bytes=flags.max_bytes)
    trained = train_vocabulary(
        texts, size=flags.size, min_frequency=flags.min_frequency, show_progress=sys.stderr.isatty()
    )
    for rejection in damage:
        print_lines(
            f"damaged: {rejection.source} at byte {rejection.offset}: {rejection.reason}; what stands before was used"
        )
    print_lines(
        f"trained on {trained.n_texts:,} sentences, {trained.n_text_bytes / 1e6:.1f} MB: {trained.n_merges:,} merges"
    )
    if trained.n_filler:
        print_lines(
            f"the text gave no more merges: {trained.n_filler:,} of {flags.size:,} ids are filler;"
            " use more text or a smaller --size"
        )
    write_vocabulary(trained.vocabulary, flags.output)


def run_import(flags: argparse.Namespace) -> None:
    """Runs `vocabulary import-gpt2`; raises ShardError or OSError."""
    write_vocabulary(import_gpt2(Path(flags.encoder), Path(flags.merges), Path(flags.dict)), flags.output)


def write_vocabulary(vocabulary: Vocabulary, output: str) -> None:
    """Writes vocab.json atomically and says what it is."""
    path = absolute(output)
    replaced = " (replaced)" if exists(path) else ""
    data = dump_vocabulary(vocabulary)
    write_atomically(path, lambda stream: stream.write(data))
    print_lines(f"vocabulary: {vocabulary.size:,} ids in {output}{replaced}", f"fingerprint: {vocabulary.fingerprint}")
    token = find_ambiguity(vocabulary)
    if token is not None:
        print_lines(
            f"note: two pairs of tokens make {token!r}, which tiktoken cannot tell apart;"
            " text will be encoded by tokenizers, five times slower"
        )


def read_sentences(files: list[InputFile], damage: list[Rejection], *, max_bytes: int) -> Iterator[str]:
    """Stripped sentences of all documents, file after file, until `max_bytes` of text (0: all)."""
    left = max_bytes or sys.maxsize
    with tqdm(total=max_bytes or None, unit="B", unit_scale=True, desc="read text", disable=None) as bar:
        for file in files:
            for table in read_documents(file, damage, by_line=True):
                for text, language in zip(table["text"].to_pylist(), table["language"].to_pylist(), strict=True):
                    sentences = [one.strip() for one in split_sentences(text, language=language or "en")]
                    yield from filter(None, sentences)
                    n_bytes = sum(len(one.encode("utf-8", "replace")) for one in sentences)
                    bar.update(n_bytes)
                    left -= n_bytes
                    if left <= 0:
                        return


def _add_train_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "train",
        help="train on cleaned documents or plain text",
        description="Trains byte-level BPE with RoBERTa's special ids; the same text gives the same file.",
    )
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="INPUT",
        help="folder of a run, or patterns of .parquet (a column text) or plain text files (.txt, .txt.gz)",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="VOCAB.json", help="file to write")
    parser.add_argument("--size", type=int, default=DEFAULT_SIZE, metavar="IDS",
                        help="number of ids, bytes and special tokens included")  # fmt: skip
    parser.add_argument("--min-frequency", type=int, default=2, metavar="N",
                        help="how often a pair must occur to be merged")  # fmt: skip
    parser.add_argument("--max-bytes", type=int, default=0, metavar="BYTES",
                        help="text to train on, in bytes, taken from the first documents; 0 is all")  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(handler=train)


def _add_import_parser(actions: Any) -> None:
    parser = actions.add_parser(
        "import-gpt2",
        help="import GPT-2's merges with RoBERTa's ids",
        description="Makes RoBERTa's vocabulary of 50,265 ids from the three files that fairseq reads.",
    )
    parser.add_argument("--encoder", required=True, metavar="encoder.json", help="GPT-2's tokens and ids")
    parser.add_argument("--merges", required=True, metavar="vocab.bpe", help="GPT-2's merges")
    parser.add_argument("--dict", required=True, metavar="dict.txt", help="fairseq's order of GPT-2's ids")
    parser.add_argument("--output", required=True, metavar="VOCAB.json", help="file to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.set_defaults(handler=run_import)
