"""Measures training beside Hugging Face's, in tokens per second on one thread; the floor of the ratio is 1.5.

    python tests/benchmarks/bench_trainer_speed.py [--rounds 5]

The same model, from the same weights, reads the same blocks of 512 tokens, eight at a time. Here: batches made by the
loader, and `run_update`. There: RobertaForMaskedLM, DataCollatorForLanguageModeling and fused AdamW, given the packed
blocks for free. Rounds alternate, so that a machine that gets slower is slower for both, and the median ratio counts.
Before that both must give the same loss on one masked batch, with weights larger than at the start, when any model's
loss is that of chance.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from random_shards import Shape, make_run
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from bpe.vocabulary import BYTE_LETTERS, SPECIAL_TOKENS, add_special_tokens, dump_vocabulary, make_vocabulary
from trainer.batches import to_device
from trainer.hugging_face import make_config
from trainer.hugging_face_names import to_hugging_face
from trainer.masking import IGNORE
from trainer.model import MaskedLanguageModel, count_parameters, make_model
from trainer.optimization import make_optimizer, summed_loss
from trainer.parallel import Ranks, StopRequest
from trainer.plan import Order, packing_rules
from trainer.pretrain import make_batches
from trainer.run_folder import describe_run
from trainer.settings import Settings
from trainer.sources import Source, open_runs
from trainer.streaming import Prefetched, RankBatch
from trainer.updates import Learner, run_update

FLOOR = 1.5
MAX_LOSS_GAP = 1e-3  # nats
VOCABULARY = 50_265
SEQUENCES = 8
SETTINGS = Settings(
    layers=4,
    hidden=256,
    heads=4,
    feed_forward=1024,
    batch_sequences=SEQUENCES,
    micro_batch=SEQUENCES,
    updates=10_000,
    warmup_updates=500,
    peak_learning_rate=1e-3,
)
CPU = torch.device("cpu")


class Side(NamedTuple):
    """One of the two: `train(n)` does n updates and returns the tokens that it read."""

    name: str
    train: Callable[[int], int]


def main() -> int:
    flags = parse()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = open_runs([make_run(Path(folder) / "data", Shape(flags.tokens, 1, 0, flags.vocabulary_size))])
        order = Order(Source(runs, split="train"), packing_rules(SETTINGS))
        batches = make_batches(order, describe_run(SETTINGS, runs), Ranks(0, 1, CPU))
        ours = make_model(SETTINGS, vocabulary_size=flags.vocabulary_size)
        theirs = copy_model(ours)
        gap = loss_gap(next(batches), vocabulary_size=flags.vocabulary_size)
        print(f"{count_parameters(ours):,} parameters, {SEQUENCES} x {SETTINGS.block_tokens} tokens, one thread")
        print(f"the same weights on the same masked batch: losses differ by {gap:.1e} nats, limit {MAX_LOSS_GAP:.0e}")
        blocks = [unmask(next(batches)) for _ in range(flags.updates)]
        tokenizer = make_tokenizer(Path(folder), flags.vocabulary_size)
        sides = [our_side(ours, batches), their_side(theirs, blocks, tokenizer)]
        ratios = [measure_round(sides, number, flags.updates) for number in range(flags.rounds)]
        batches.close()
    median = statistics.median(ratios)
    print(f"training: {median:.2f} times as fast as Hugging Face's (median of {flags.rounds} rounds), floor {FLOOR}")
    return 0 if median >= FLOOR and gap <= MAX_LOSS_GAP else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each of both sides (default 5)")
    parser.add_argument("--updates", type=int, default=4, help="updates per round and side (default 4)")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens of the random shards (default 1 M)")
    parser.add_argument("--vocabulary-size", type=int, default=VOCABULARY, help=f"ids (default RoBERTa's {VOCABULARY})")
    return parser.parse_args()


def copy_model(ours: MaskedLanguageModel) -> Any:
    """Hugging Face's model with the same weights, as `trainer.export` writes them."""
    theirs = RobertaForMaskedLM(RobertaConfig(**make_config(ours.shape, token_types=1)))
    theirs.load_state_dict(to_hugging_face(ours.state_dict(), layers=ours.shape.layers)[0], strict=False)
    theirs.tie_weights()
    return theirs


@torch.no_grad()
def loss_gap(batch: RankBatch, *, vocabulary_size: int) -> float:
    """How far the losses of two models of the same large weights are apart without dropout."""
    ours, generator = make_model(SETTINGS, vocabulary_size=vocabulary_size), torch.Generator().manual_seed(1)
    for parameter in ours.parameters():
        parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.1, generator=generator))
    theirs = copy_model(ours)
    masked = batch.micro_batches[0]
    inputs = to_device(masked, CPU)
    labels = torch.from_numpy(np.where(masked.labels == IGNORE, -100, masked.labels.astype(np.int64)))
    labels = labels[:, : inputs.input_ids.shape[1]]
    predictions = ours.eval()(inputs.input_ids, inputs.attention, inputs.chosen)
    our_loss = summed_loss(predictions.tokens_NV, inputs.targets) / len(inputs.targets)
    attention = None if inputs.attention is None else inputs.attention.long()
    their_loss = theirs.eval()(input_ids=inputs.input_ids, attention_mask=attention, labels=labels).loss
    return float(abs(our_loss.item() - their_loss.item()))


def unmask(batch: RankBatch) -> list[dict[str, list[int]]]:
    """The blocks of a batch as a data set of Hugging Face's would hold them."""
    masked = batch.micro_batches[0]
    ids = np.where(masked.labels == IGNORE, masked.input_ids, masked.labels)
    return [{"input_ids": row[:n].tolist()} for row, n in zip(ids, masked.n_tokens.tolist(), strict=True)]


def make_tokenizer(folder: Path, size: int) -> PreTrainedTokenizerFast:
    """The collator asks a tokenizer for its size and its special ids."""
    filler = size - len(BYTE_LETTERS) - len(SPECIAL_TOKENS) - 1
    vocabulary = make_vocabulary(add_special_tokens([*BYTE_LETTERS], n_filler=filler), ())
    (folder / "tokenizer.json").write_bytes(dump_vocabulary(vocabulary))
    names = {"bos_token": "<s>", "cls_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), unk_token="<unk>", mask_token="<mask>", **names
    )


def our_side(model: MaskedLanguageModel, batches: Prefetched) -> Side:
    """The updates of pretrain.py, batches made in its thread."""
    learner = Learner(SETTINGS, Ranks(0, 1, CPU), torch.float32, model.train(), model, make_optimizer(model, SETTINGS))
    done = 0

    def train(n_updates: int) -> int:
        nonlocal done
        n_tokens = 0
        for _ in range(n_updates):
            done += 1
            report = run_update(learner, next(batches), done, stop=StopRequest(), started=time.monotonic())
            assert report is not None, "nobody asks a benchmark to stop"
            n_tokens += report.n_tokens
        return n_tokens

    return Side("here", train)


def their_side(model: Any, blocks: list[list[dict[str, list[int]]]], tokenizer: PreTrainedTokenizerFast) -> Side:
    """What a loop over a data set of packed blocks does."""
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=SETTINGS.mask_fraction)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=SETTINGS.peak_learning_rate / SETTINGS.warmup_updates,
        betas=(SETTINGS.adam_beta1, SETTINGS.adam_beta2),
        eps=SETTINGS.adam_epsilon,
        weight_decay=SETTINGS.weight_decay,
        fused=True,
    )
    model.train()

    def train(n_updates: int) -> int:
        n_tokens = 0
        for number in range(n_updates):
            examples = blocks[number % len(blocks)]
            model(**collate(examples)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            n_tokens += sum(len(example["input_ids"]) for example in examples)
        return n_tokens

    return Side("Hugging Face", train)


def measure_round(sides: list[Side], number: int, n_updates: int) -> float:
    """The ratio of our speed to theirs; every other round starts with the other side."""
    speeds = {}
    for side in sides if number % 2 == 0 else sides[::-1]:
        if number == 0:
            side.train(1)  # what is only done once does not count
        started = time.perf_counter()
        speeds[side.name] = side.train(n_updates) / (time.perf_counter() - started)
    ratio = speeds[sides[0].name] / speeds[sides[1].name]
    print(
        f"round {number + 1}: " + ", ".join(f"{name} {speed:,.0f} tokens/s" for name, speed in speeds.items()), end=""
    )
    print(f", ratio {ratio:.2f}", flush=True)
    return ratio


if __name__ == "__main__":
    sys.exit(main())
