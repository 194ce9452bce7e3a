"""`prep-shards encode`: cleaned documents, or plain text, to shards with lineage and a manifest."""

import argparse
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from bpe.manifest import load_manifest, settings_hash
from bpe.vocabulary import load_vocabulary
from pipelines import options
from pipelines.command import print_lines
from pipelines.commit import CommitRun, RunIdentity, VocabularyCopy
from pipelines.dataflow import check_inputs
from pipelines.dry_run import show_plan
from pipelines.encode_stage import EncodeFiles
from pipelines.extract_stage import INPUTS, ReadInputList
from pipelines.inputs import InputFile, open_input, resolve_inputs, size_of_input, write_input_list
from pipelines.running import log_to, run_pipeline
from pipelines.runs import check_output, clear_leftovers, execution_summary, hold_output, prepare_output, read_committed
from pipelines.select_stage import ENCODED
from pipelines.settings import Execution, ShardRules, as_plain
from pipelines.sharding import ShardCounts, WriteShards, count_shards
from pipelines.storage import exists, join

GZIP_RATIO = 3  # of text; only used to choose the number of shards


def add_encode_parser(commands: Any) -> None:
    """Mounts `encode` on the parser of prep-shards."""
    parser = commands.add_parser(
        "encode", help="encode cleaned documents or plain text into shards", description=__doc__
    )
    group = parser.add_argument_group("input")
    group.add_argument(
        "--input", nargs="+", required=True, metavar="INPUT",
        help="folder of a run, or patterns of .parquet (a column text) or plain text files (.txt, .txt.gz)",
    )  # fmt: skip
    group.add_argument(
        "--documents", default="file", choices=("file", "blank-line"),
        help="plain text: a document is a whole file, or what stands between blank lines",
    )  # fmt: skip
    group.add_argument("--name", default="", help="name of the shards; default: that of the run, else `text`")
    options.add_output_flags(parser)
    options.add_execution_flags(parser)
    parser.set_defaults(handler=encode)


def encode(flags: argparse.Namespace) -> None:
    """Runs the command; raises ValueError, ShardError, RecordError or OSError."""
    execution = options.read_execution(flags, flags.beam_options)
    if not execution.vocabulary:
        raise ValueError("encode needs --vocabulary VOCAB.json; make one with `prep-shards vocabulary`")
    rules = options.read_shard_rules(flags)
    inputs, name = find_documents(flags.input)
    vocabulary = load_vocabulary(execution.vocabulary)
    settings: dict[str, object] = {
        "corpus": flags.name or name,
        "documents": flags.documents,
        "shards": as_plain(rules),
        "vocabulary": vocabulary.fingerprint,
    }
    check_inputs(execution, inputs)
    copy = VocabularyCopy(execution.vocabulary, vocabulary.fingerprint, vocabulary.size, rules.encoding)
    counts = count_shards(sum(map(estimate_text_bytes, inputs)), rules)
    input_list = join(execution.output, "work", "inputs.tsv")
    by_line = flags.documents == "blank-line"
    job = f"encode-{settings['corpus']}-{settings_hash(settings)[:12]}"

    def build_job(pipeline: Any) -> None:
        build(pipeline, settings, execution, rules, input_list, copy, counts, by_line=by_line)

    if execution.dry_run:
        show_plan(build_job, execution, name=job)
        return
    finished = check_output(execution.output, settings, inputs, overwrite=execution.overwrite)
    if finished is not None:
        print_lines(f"already finished: {execution.output}", execution_summary(finished, execution.output))
        return
    with hold_output(execution.output):
        prepare_output(execution.output, join(execution.output, "work"))
        write_input_list(inputs, input_list)
        with log_to(join(execution.output, "work", "workers.log"), debug=execution.debug):
            run_pipeline(build_job, execution, name=job)
        manifest = read_committed(execution.output)
        clear_leftovers(execution.output, manifest, keep_work=False)
    print_lines(execution_summary(manifest, execution.output))


def build(
    pipeline: Any,
    settings: dict[str, object],
    execution: Execution,
    rules: ShardRules,
    input_list: str,
    vocabulary: VocabularyCopy,
    counts: ShardCounts,
    *,
    by_line: bool,
) -> None:
    """The job's graph."""
    name = str(settings["corpus"])
    encoder = EncodeFiles(
        folder=execution.output, rules=rules, counts=counts, vocabulary=execution.vocabulary, by_line=by_line
    )
    files = (
        pipeline
        | "Name the input list" >> beam.Create([input_list])
        | "Read the input list" >> beam.ParDo(ReadInputList())
        | "Spread files" >> beam.Reshuffle()
        | "Encode files" >> beam.ParDo(encoder).with_outputs(INPUTS, ENCODED, main="summaries")
    )
    shards = files[ENCODED] | "Write all shards" >> WriteShards(
        folder=execution.output, name=name, rules=rules, counts=tuple(counts)
    )
    written = {"inputs": files[INPUTS], "parts": files.summaries, "shards": shards}
    identity = RunIdentity(name, settings)
    _ = written | "Commit" >> CommitRun(folder=execution.output, identity=identity, vocabulary=vocabulary)


def find_documents(patterns: list[str]) -> tuple[list[InputFile], str]:
    """Input files, and the name of the run they come from ("text" where they come from none)."""
    if len(patterns) == 1 and exists(join(patterns[0], "manifest.json")):
        folder = options.absolute(patterns[0])
        manifest = load_manifest(folder)
        if not manifest.documents:
            raise ValueError(f"{patterns[0]} is a finished run without documents; name its input instead")
        return [
            InputFile(entry.name, join(folder, entry.name), entry.bytes) for entry in manifest.documents
        ], manifest.name
    for pattern in patterns:
        if "://" not in pattern and Path(pattern).is_dir():
            raise ValueError(f"{pattern} is a folder without manifest.json; finish that run, or name files in it")
    files = resolve_inputs(inputs=patterns, list_endings=())  # a .txt is a text here, lists are @list
    strange = [file.name for file in files if not file.name.endswith((".parquet", ".txt", ".txt.gz"))]
    if strange:
        raise ValueError(f"{strange[0]} is neither .parquet nor .txt nor .txt.gz; crawl files go to `beam run`")
    return files, "text"


def estimate_text_bytes(file: InputFile) -> int:
    """Bytes of text in a file, roughly but always the same; only used to choose the number of shards."""
    n_bytes = file.n_bytes if file.n_bytes is not None else size_of_input(file.location)
    if file.name.endswith(".gz"):
        return GZIP_RATIO * n_bytes
    if not file.name.endswith(".parquet"):
        return n_bytes
    with open_input(file.location) as stream:
        metadata = pq.ParquetFile(stream).metadata
        groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
        return sum(
            group.column(c).total_uncompressed_size
            for group in groups
            for c in range(group.num_columns)
            if group.column(c).path_in_schema == "text"
        )
