"""Rules of input formats: the stream of documents, and how it is packed (section 4.2, fairseq's block utilities)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trainer.conformance_batches import draw_documents, read_batches, rows_of
from trainer.conformance_facts import Packing
from trainer.conformance_rules import NO_FACTS, Inputs, Outcome, Rule, judge, judge_deviation, unchecked
from trainer.packing import BOS, EOS, Indices, Spans, pack_doc_sentences, pack_full_sentences, stream_starts
from trainer.settings import FORMATS, Settings

# The worked example of fairseq's packer: sizes of sentences with their `</s>`, 1 is a separator.
_WORKED = Packing(
    sizes=[4, 3, 1, 5, 20, 2, 1, 1, 3],
    block=9,
    complete=[[0, 8], [8, 13], [13, 33], [33, 40]],
    complete_doc=[[0, 7], [8, 13], [13, 33], [33, 35], [37, 40]],
)
_SETTINGS = Settings(batch_sequences=1, micro_batch=1, updates=10, warmup_updates=1, block_tokens=64)


def _check_stream(_: Inputs) -> Outcome:
    first, second = [[10, 11], [12]], [[20], [21, 22]]
    stream = [[10, 11, EOS, 12, EOS], [20, EOS, 21, 22, EOS]]
    expected = [[BOS, *stream[a], EOS, *stream[b]] for a, b in ((0, 1), (1, 0))]
    rows = rows_of(read_batches([first, second], _SETTINGS))
    return judge(len(rows) == 1 and rows[0] in expected, f"{rows[0][:20]}")


def _check_full_length(_: Inputs) -> Outcome:
    settings = replace(_SETTINGS, block_tokens=512, batch_sequences=64, micro_batch=64)
    rows = rows_of(read_batches(draw_documents(40, sentences=60, tokens=20), settings))
    lengths = [len(row) for row in rows]
    # Sentences of 21 tokens with their </s>: no block but the last of a window has room for another.
    short = sum(length <= 512 - 21 for length in lengths)
    holds = max(lengths) <= 512 and short <= 1 and all(row[0] == BOS and row[-1] == EOS for row in rows)
    return judge(holds, f"{len(rows)} blocks of {min(lengths)} to {max(lengths)} tokens")


def _check_complete(inputs: Inputs) -> Outcome:
    return _check_packing(inputs, "complete", lambda size, block: pack_full_sentences(size, block_tokens=block))


def _check_complete_doc(inputs: Inputs) -> Outcome:
    return _check_packing(
        inputs, "complete_doc", lambda size, block: pack_doc_sentences(size, size == 1, block_tokens=block)
    )


def _check_packing(inputs: Inputs, name: str, pack: Callable[[Indices, int], Spans]) -> Outcome:
    cases = [_WORKED, *(inputs.facts.packing or ())]
    wrong = 0
    for case in cases:
        size = np.array(case.sizes, dtype=np.int64)
        spans = pack(size, case.block)
        starts = stream_starts(size)
        found = np.stack((starts[spans.first], starts[spans.end]), axis=1).tolist()
        wrong += found != getattr(case, name)
    if wrong:
        return judge(False, f"{wrong} of {len(cases)} packings differ")
    more = "" if inputs.facts.packing is not None else f" ({NO_FACTS}, for more)"
    return judge(True, f"{len(cases)} packing{'s' if len(cases) > 1 else ''}{more}")


def _check_none(_: Inputs) -> Outcome:
    return unchecked("no input format of the paper cuts the stream at every n-th token, so there is no such code")


def _check_long(inputs: Inputs) -> Outcome:
    settings = replace(_SETTINGS, fairseq_compat=inputs.fairseq_compat)
    long = list(range(100, 250))  # 151 tokens with its </s>; a block of 64 has room for 63
    read = read_batches([[[10, 11], long, [12]]], settings, n_batches=5)
    kept = [token for row in rows_of(read) for token in row if token >= 100]
    return judge_deviation(
        inputs,
        holds=not kept and read.n_long > 0,
        deviates=set(kept) == set(long) and read.n_long > 0,
        reason="it is cut into full-length pieces and counted: no text is lost",
        detail=f"{len(set(kept))} of its {len(long)} tokens are trained on, counted: {read.n_long > 0}",
    )


def _check_doc_sentences(_: Inputs) -> Outcome:
    if "doc-sentences" not in FORMATS:
        return unchecked("this version has no input format doc-sentences")
    settings = replace(_SETTINGS, input_format="doc-sentences", batch_sequences=8, micro_batch=8)
    documents = [[[100 * k + j] for j in range(30)] for k in range(1, 9)]
    rows = rows_of(read_batches(documents, settings))
    mixed = sum(len({token // 100 for token in row if token >= 100}) > 1 for row in rows)
    return judge(not mixed and bool(rows), f"{mixed} of {len(rows)} blocks hold two documents")


def _check_pairs(_: Inputs) -> Outcome:
    missing = [name for name in ("segment-pair", "sentence-pair") if name not in FORMATS]
    if missing:
        return unchecked(f"this version has no input format {' and none '.join(missing)}")
    shares = []
    for name in ("segment-pair", "sentence-pair"):
        settings = replace(_SETTINGS, input_format=name, batch_sequences=256, micro_batch=256)
        documents = [[[1000 * k + j] for j in range(40)] for k in range(1, 40)]
        rows = rows_of(read_batches(documents, settings))
        pairs = [_split_pair(row) for row in rows]
        if not all(first and second for first, second in pairs):
            return judge(False, f"{name}: a sequence is not <s> A </s></s> B </s>")
        shares.append(sum(first[-1] + 1 == second[0] for first, second in pairs) / len(pairs))
    # Five standard deviations of 256 fair draws; what is cut at a border can only take from the share.
    holds = all(0.30 < share < 0.66 for share in shares)
    return judge(holds, f"{', '.join(f'{share:.0%}' for share in shares)} continue the first segment")


def _split_pair(row: list[int]) -> tuple[list[int], list[int]]:
    """The ordinary tokens of the two segments."""
    border = next((k for k in range(1, len(row) - 1) if row[k] == row[k + 1] == EOS), 0)
    first, second = row[1:border], row[border + 2 :]
    return [token for token in first if token > EOS], [token for token in second if token > EOS]


RULES = (
    Rule("stream", "</s> after each sentence, one more between documents, <s> in front", "fairseq", _check_stream),
    Rule("full-length", "blocks are filled with whole sentences up to 512 tokens", "section 4.2", _check_full_length),
    Rule("complete", "FULL-SENTENCES packs as fairseq's `complete`", "section 4.2", _check_complete),
    Rule("complete-doc", "DOC-SENTENCES packs as fairseq's `complete_doc`", "section 4.2", _check_complete_doc),
    Rule("none", "fairseq's packing `none`", "fairseq", _check_none),
    Rule("long-sentences", "a sentence longer than a block is dropped", "fairseq", _check_long),
    Rule("doc-sentences", "DOC-SENTENCES: no block holds two documents", "section 4.2", _check_doc_sentences),
    Rule("pairs", "pairs: <s> A </s></s> B </s>, and B continues A half of the time", "section 4.2", _check_pairs),
)
