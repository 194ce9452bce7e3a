"""An epoch reads its generation and no other: the order over epochs is that of each generation alone, in turn."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.errors import ShardError
from bpe.growing import generation_name, window_folder
from bpe.manifest import Removal, dump_manifest, load_manifest
from bpe.mixture import Mixture, MixtureSource, dump_mixture
from bpe.shared_vocabulary import SharedVocabulary
from trainer.data_record import EpochRecord
from trainer.epoch_data import EpochNotOpenError, EpochSources, describe_folders, describe_newest, open_recorded
from trainer.masking import MaskingRules
from trainer.plan import BatchSize, Order, SampleId, sample_ids
from trainer.sources import Source, open_runs
from trainer.streaming import BatchStream, Prefetched, RankBatch, epochs_begun
from trainer.windows import PackingRules

RULES = PackingRules(block_tokens=32, window_blocks=2, seed=5)
N_GENERATIONS = 3


def shape_of(random_shards: ModuleType, seed: int) -> Any:
    return random_shards.Shape(
        n_tokens=700 + 200 * seed, n_shards=1, held_out_tokens=200, vocabulary_size=500, sentence_tokens=9.0,
        block_tokens=300, seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(random_shards: ModuleType, publish: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A growing corpus of three generations, a window more each."""
    folder = tmp_path_factory.mktemp("growing") / "news"
    runs = [window_folder(number, number) for number in range(1, N_GENERATIONS + 1)]
    for number, run in enumerate(runs, 1):
        random_shards.make_run(folder / run, shape_of(random_shards, number))
        publish(folder, *runs[:number])
    return folder


@pytest.fixture(scope="module")
def books(random_shards: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that does not grow."""
    return random_shards.make_run(tmp_path_factory.mktemp("plain") / "books", shape_of(random_shards, 9))


def records_of(generations: list[int], *folders: Path) -> list[EpochRecord]:
    """The first folder grows."""
    return [
        EpochRecord(epoch, describe_folders(folders, [generation, *[None] * (len(folders) - 1)]))
        for epoch, generation in enumerate(generations)
    ]


def alone(generation: int, *folders: Path) -> Order:
    """The order of one generation that never changes."""
    generations = [generation, *[None] * (len(folders) - 1)]
    return Order(Source(open_runs(folders, generations), split="train"), RULES)


def samples(order: Order, epoch: int) -> Iterator[SampleId]:
    for window in range(order.n_windows(epoch)):
        for offset in range(order.n_samples(epoch, window)):
            yield SampleId(epoch, window, offset)


histories = st.lists(st.integers(1, N_GENERATIONS), min_size=1, max_size=4)


@given(histories, st.integers(1, 40), st.booleans(), st.data())
def test_each_epoch_is_that_of_its_generation_alone_and_batches_run_across_borders_and_lose_no_sample(
    corpus: Path, books: Path, generations: list[int], size: int, mixed: bool, data: st.DataObject
) -> None:
    folders = (corpus, books) if mixed else (corpus,)
    order = Order(EpochSources(records_of(generations, *folders)), RULES)
    orders = {generation: alone(generation, *folders) for generation in set(generations)}
    expected = [one for epoch, number in enumerate(generations) for one in samples(orders[number], epoch)]
    places, taken, place = [], [], SampleId(0, 0, 0)
    while len(taken) + size <= len(expected):
        places.append((place, len(taken)))
        runs, place = order.take(place, size)
        taken += sample_ids(runs)
    assert taken == expected[: len(taken)]
    chosen = data.draw(st.sampled_from(taken or [SampleId(0, 0, 0)]))
    ours, theirs = (one.window(chosen.epoch, chosen.window) for one in (order, orders[generations[chosen.epoch]]))
    assert np.array_equal(ours.tokens, theirs.tokens)
    assert np.array_equal(ours.tokens_by_corpus, theirs.tokens_by_corpus)
    assert ours.tokens_by_corpus.shape[1] == len(folders)  # however many windows there are
    if places:  # whoever goes on from any place, with the records alone, takes the same
        place, n = data.draw(st.sampled_from(places))
        again = Order(EpochSources(records_of(generations, *folders)), RULES)
        assert list(sample_ids(again.take(place, size)[0])) == taken[n : n + size]


def stream_of(sources: EpochSources, *, size: int, rank: int = 0, n_ranks: int = 1) -> BatchStream:
    masking = MaskingRules(vocabulary_size=500, seed=1)
    return BatchStream(Order(sources, RULES), masking, batch=BatchSize(size), micro_batch=2, rank=rank, n_ranks=n_ranks)


@pytest.mark.parametrize("size", [4, 60, 200], ids=["small", "border", "several-epochs"])
def test_the_thread_stops_at_each_border_until_the_epoch_is_open_and_ranks_share_the_same_batches(
    corpus: Path, books: Path, size: int
) -> None:
    records = records_of([1, 1, 2, 3], corpus, books)
    n_samples = sum(len(list(samples(alone(one, corpus, books), e))) for e, one in enumerate([1, 1, 2, 3]))
    whole = stream_of(EpochSources(records), size=size)
    batches = [next(whole) for _ in range(n_samples // size)]

    def take(rank: int, n_ranks: int) -> tuple[list[RankBatch], list[int]]:
        sources, opened = EpochSources(), []

        def open_epoch(epoch: int) -> None:
            opened.append(epoch)
            sources.add(records[epoch])

        stream = Prefetched(stream_of(sources, size=size, rank=rank, n_ranks=n_ranks), open_epoch=open_epoch)
        sources.add(records[0])
        made = [next(stream) for _ in batches]
        stream.close()
        return made, opened

    for n_ranks in (1, 2):
        shares = [take(rank, n_ranks) for rank in range(n_ranks)]
        for made, opened in shares:
            assert opened == list(range(1, batches[-1].after.epoch + 1))
            assert [(one.place, one.after) for one in made] == [(one.place, one.after) for one in batches]
        for whole_one, *parts in zip(batches, *(made for made, _ in shares), strict=True):
            assert sum(part.digest for part in parts) % (1 << 48) == whole_one.digest
            assert np.array_equal(sum(part.tokens_by_corpus for part in parts), whole_one.tokens_by_corpus)


def test_an_epoch_begins_in_the_batch_that_has_its_first_sample(corpus: Path) -> None:
    generations = [1, 2, 3, 3]
    stream = stream_of(EpochSources(records_of(generations, corpus)), size=7)
    n_samples = sum(len(list(samples(alone(one, corpus), epoch))) for epoch, one in enumerate(generations))
    batches = [next(stream) for _ in range(n_samples // 7)]
    begun = {epoch: batch for batch in batches for epoch in epochs_begun(batch)}
    assert list(begun) == [0, 1, 2, 3]
    for epoch, batch in begun.items():
        assert SampleId(epoch, 0, 0) in list(sample_ids(stream.order.take(batch.place, 7)[0]))


def test_what_stops_the_opening_of_an_epoch_is_raised_and_a_stream_that_waits_for_one_can_be_closed(
    corpus: Path,
) -> None:
    def refuse(epoch: int) -> None:
        raise ShardError(corpus, "", f"epoch {epoch} is refused")

    sources = EpochSources(records_of([1], corpus))
    stream = Prefetched(stream_of(sources, size=1000), open_epoch=refuse)
    with pytest.raises(ShardError, match="epoch 1 is refused"):
        next(stream)
    stream.close()
    assert stream._thread is not None
    assert not stream._thread.is_alive()
    stream = Prefetched(stream_of(sources, size=1000))
    with pytest.raises(EpochNotOpenError, match="epoch 1 has not begun"):
        next(stream)


def test_generations_that_are_gone_or_changed_are_named(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "news"
    shutil.copytree(corpus, copy)
    recorded = describe_folders([copy], [2])
    assert [run.folder.name for run in open_recorded(recorded)] == ["00000001", "00000002"]
    assert describe_newest([copy])[0].generation == N_GENERATIONS
    path = copy / generation_name(2)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"grown"', b'"other"'))
    with pytest.raises(ShardError, match=r"00000002\.json: sha256 .* but the run read .* restore it"):
        open_recorded(recorded)
    path.unlink()
    with pytest.raises(ShardError, match=r"00000002\.json: generation 2 is gone.*restore"):
        open_recorded(recorded)
    path.write_bytes(data)
    shutil.rmtree(copy / "windows" / "00000002")
    with pytest.raises(ShardError, match=r"00000002.*manifest\.json"):
        open_recorded(recorded)


def test_windows_that_have_forgotten_documents_since_are_named_as_what_they_are(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "news"
    shutil.copytree(corpus, copy)
    recorded = describe_folders([copy], [2])
    path = copy / window_folder(2, 2) / "manifest.json"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    removal = Removal("a" * 64, {"url": 1}, "", "", 0, 0, 0, 0, 1, 0, (), before)
    path.write_bytes(dump_manifest(load_manifest(path.parent)._replace(removals=(removal,))))
    with pytest.raises(ShardError, match=r"00000002 before documents were forgotten there.*another --output"):
        open_recorded(recorded)
    assert len(open_recorded(describe_folders([copy], [1]))) == 1


def test_a_mixture_beside_a_growing_corpus_is_seen_as_evenly_as_if_nothing_grew(
    corpus: Path, books: Path, tmp_path: Path
) -> None:
    """Half of it in one epoch, the other half in the next, though windows came before it in the meantime."""
    manifest = (books / "manifest.json").read_bytes()
    entry = json.loads(manifest)["vocabulary"]
    shared = SharedVocabulary(entry["fingerprint"], entry["encoding"], entry["size"])
    source = MixtureSource(os.path.relpath(books, tmp_path), hashlib.sha256(manifest).hexdigest(), "0.5")
    (tmp_path / "mixture.json").write_bytes(dump_mixture(Mixture((source,), shared)))
    order = Order(EpochSources(records_of([1, 3], corpus, tmp_path)), RULES)
    seen: Counter[tuple[str, int]] = Counter()
    for epoch in (0, 1):
        sources = order.source_of(epoch)
        places = map(sources.place, order.epoch_blocks(epoch).tolist())
        of_books = [(place.shard.name, place.block) for place in places if sources.runs[place.run].growing is None]
        assert len(of_books) in (len(Source(open_runs([books]), split="train")) // 2 + k for k in (0, 1))
        seen.update(of_books)
    assert len(seen) == len(Source(open_runs([books]), split="train"))
    assert set(seen.values()) == {1}


def test_static_masks_see_one_generation_as_they_see_its_windows(corpus: Path) -> None:
    rules = replace(RULES, fixed=True)
    followed = Order(EpochSources(records_of([2, 2, 2], corpus)), rules)
    plain = Order(alone(2, corpus).source, rules)
    for epoch in (0, 1, 2):
        assert [followed.window_blocks(epoch, w) for w in range(followed.n_windows(epoch))] == [
            plain.window_blocks(epoch, w) for w in range(plain.n_windows(epoch))
        ]
        assert np.array_equal(followed.window(epoch, 0).tokens, plain.window(epoch, 0).tokens)


def test_windows_that_are_open_are_not_read_again(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "news"
    shutil.copytree(corpus, copy)
    first = open_runs([copy], [1])
    shutil.rmtree(copy / "windows" / "00000001")
    later = open_runs([copy], [2], known=first)
    assert later[0] is first[0]
    assert [run.growing for run in later] == [copy, copy]
