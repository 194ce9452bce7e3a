"""The life of a corpus run, the same for every corpus: check, extract, select, commit, clear up.

A corpus pipeline says what its input and settings are; this module says how a run of it begins, goes
on after a crash, and ends.
"""

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apache_beam as beam

from bpe.manifest import settings_hash
from bpe.vocabulary import load_vocabulary
from pipelines.choosing import ChooseDocuments
from pipelines.command import print_lines
from pipelines.commit import CommitRun, RunIdentity, VocabularyCopy
from pipelines.dataflow import check_inputs
from pipelines.dry_run import show_plan
from pipelines.duplicates import KeepTexts
from pipelines.extract_stage import INPUTS, CountKinds, ExtractSplits, PlanSplits, ReadInputList
from pipelines.flattening import FlattenAll
from pipelines.inputs import InputFile, write_input_list
from pipelines.memory_watch import MemoryWatch
from pipelines.progress import ProgressDisplay
from pipelines.published import warning_of
from pipelines.running import log_to, run_pipeline
from pipelines.runs import (
    check_output,
    clear_leftovers,
    execution_summary,
    hold_output,
    prepare_output,
    read_committed,
    work_folder_of,
)
from pipelines.select_stage import ALTERED, ENCODED, WriteParts
from pipelines.settings import ANY_KIND, Execution, RunSettings
from pipelines.sharding import WriteShards, count_shards
from pipelines.storage import join


def run_corpus(settings: RunSettings, execution: Execution, inputs: Sequence[InputFile]) -> None:
    """A whole run: from input files to a committed folder, going on from whatever an earlier try has finished."""
    check_inputs(execution, inputs)
    input_list = join(execution.output, "work", "inputs.tsv")
    index = join(execution.output, "work", "evaluation.npz") if execution.decontamination else ""
    name = f"{settings.corpus}-{settings_hash(settings.all_settings())[:12]}"
    if execution.dry_run:
        show_plan(lambda pipeline: build(pipeline, settings, execution, input_list, index), execution, name=name)
        return
    finished = check_output(execution.output, settings.all_settings(), inputs, overwrite=execution.overwrite)
    if finished is not None:
        print_lines(f"already finished: {execution.output}", execution_summary(finished, execution.output))
        return
    work_folder = work_folder_of(execution, settings)
    with hold_output(execution.output):
        prepare_output(execution.output, work_folder)
        write_input_list(inputs, input_list)
        if execution.decontamination:
            print_lines(*execution.decontamination.describe_files())
            execution.decontamination.write_index(index)
        log = join(execution.output, "work", "workers.log")
        with log_to(log, debug=execution.debug), watch_memory(execution), show_progress(execution, work_folder, inputs):
            run_pipeline(lambda pipeline: build(pipeline, settings, execution, input_list, index), execution, name=name)
        manifest = read_committed(execution.output)
        clear_leftovers(execution.output, manifest, keep_work=execution.keep_work)
    print_lines(execution_summary(manifest, execution.output))


def build(
    pipeline: Any,
    settings: RunSettings,
    execution: Execution,
    input_list: str,
    evaluation_index: str,
) -> None:
    """The job's graph, of one size however large the input is."""
    planned, files = extract(pipeline, settings, execution, input_list)
    chosen = files | "Choose documents" >> ChooseDocuments(settings, execution)
    counts = beam.pvalue.AsSingleton(
        chosen.kept
        | "Measure kept text" >> beam.Map(_text_bytes)
        | "Sum kept text" >> beam.CombineGlobally(sum)
        | "Count shards" >> beam.Map(count_shards, settings.shards)
    )
    writer = WriteParts(
        folder=execution.output,
        rules=settings.shards,
        vocabulary=execution.vocabulary,
        evaluation_index=evaluation_index,
        kinds=tuple(kind for kind in sorted(settings.kinds) if kind != ANY_KIND),
        keep_altered=settings.selection.near_duplicates is not None,
    )
    parts = (
        {"files": files, "losers": chosen.losers}
        | "Bring parts together" >> beam.CoGroupByKey()
        | "Write parts" >> beam.ParDo(writer, counts=counts).with_outputs(ENCODED, ALTERED, main="summaries")
    )
    shards = parts[ENCODED] | "Write all shards" >> WriteShards(
        folder=execution.output, name=settings.corpus, rules=settings.shards, counts=counts
    )
    texts = parts[ALTERED] | "Keep altered texts" >> KeepTexts(output=execution.output)
    state = (chosen.state, texts) | "All that later runs compare with" >> FlattenAll()
    written = {"inputs": planned[INPUTS], "parts": parts.summaries, "shards": shards, "state": state}
    identity = RunIdentity(settings.corpus, settings.all_settings(), {"warning": warning_of(settings.corpus)})
    _ = {**written, "details": chosen.details} | "Commit" >> CommitRun(
        folder=execution.output,
        identity=identity,
        vocabulary=vocabulary_copy(settings, execution),
        evaluation_index=evaluation_index,
    )


def extract(pipeline: Any, settings: RunSettings, execution: Execution, input_list: str) -> tuple[Any, Any]:
    """What was planned, and the work files of the extract stage: (part name, (ordinal, path, summary))."""
    named = pipeline | "Name the input list" >> beam.Create([input_list])
    n_files = beam.pvalue.AsSingleton(named | "Count files of each kind" >> beam.ParDo(CountKinds(settings.kinds)))
    planned = (
        named
        | "Read the input list" >> beam.ParDo(ReadInputList())
        | "Spread files" >> beam.Reshuffle()
        | "Plan splits"
        >> beam.ParDo(PlanSplits(settings.limit_bytes, settings.kinds), n_files=n_files).with_outputs(
            INPUTS, main="splits"
        )
    )
    files = planned.splits | "Spread splits" >> beam.Reshuffle() | "Extract pages" >> beam.ParDo(
        ExtractSplits(
            kinds=settings.kinds,
            work_folder=work_folder_of(execution, settings),
            timeout_s=execution.timeout_s,
            driver_pid=os.getpid() if execution.is_local else 0,
            strict=execution.strict,
        )
    )  # fmt: skip
    return planned, files


def vocabulary_copy(settings: RunSettings, execution: Execution) -> VocabularyCopy | None:
    if not execution.vocabulary:
        return None
    vocabulary = load_vocabulary(execution.vocabulary)
    return VocabularyCopy(execution.vocabulary, vocabulary.fingerprint, vocabulary.size, settings.shards.encoding)


def watch_memory(execution: Execution) -> AbstractContextManager[object]:
    """The local runner is the one that keeps all groups in memory."""
    return MemoryWatch() if execution.is_local else contextlib.nullcontext()


def show_progress(
    execution: Execution, work_folder: str, inputs: Sequence[InputFile]
) -> AbstractContextManager[object]:
    """Live progress of a local run; remote runners have pages of their own."""
    if not execution.progress or not execution.is_local or "://" in execution.output:
        return contextlib.nullcontext()
    watch = {"parts": Path(execution.output) / "documents", "shards": Path(execution.output) / "shards"}
    return ProgressDisplay(work_folder, total_bytes=sum(file.n_bytes or 0 for file in inputs), watch=watch)


def _text_bytes(candidate: Any) -> int:
    return int(candidate[4])
