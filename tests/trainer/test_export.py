"""The command as a user meets it: transformers loads what it makes, and nothing is made halfway or over others."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from bpe.manifest import VocabularyEntry, dump_manifest, load_manifest
from bpe.vocabulary import BYTE_LETTERS, Vocabulary, add_special_tokens, dump_vocabulary, make_vocabulary
from trainer.checkpoints import load_last, read_checkpoint
from trainer.export import main
from trainer.hugging_face import read_hugging_face

transformers = pytest.importorskip("transformers")

WORDS = make_vocabulary(add_special_tokens([*BYTE_LETTERS, "th", "the", "Ġthe"], n_filler=236),
                        (("t", "h"), ("th", "e"), ("Ġ", "the")))  # fmt: skip
OTHER = make_vocabulary(WORDS.tokens, (("t", "h"), ("th", "e")))


def _give_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Makes a run of random shards one that was encoded with this vocabulary."""
    data = dump_vocabulary(vocabulary)
    (folder / "vocab.json").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    entry = VocabularyEntry("vocab.json", len(data), digest, vocabulary.fingerprint, vocabulary.size, "fairseq")
    manifest = load_manifest(folder)._replace(vocabulary=entry)
    (folder / "manifest.json").write_bytes(dump_manifest(manifest))


@pytest.fixture(scope="module")
def original(small_recipe: Path, random_shards: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`, of 12 updates with checkpoints at 10 and 12, and the `shards` that it read."""
    from trainer import pretrain

    folder = tmp_path_factory.mktemp("trained")
    shape = random_shards.Shape(n_tokens=10_000, vocabulary_size=WORDS.size, sentence_tokens=9.0, block_tokens=2_000)
    _give_vocabulary(random_shards.make_run(folder / "shards", shape), WORDS)
    arguments = ["--recipe", str(small_recipe), "--data", str(folder / "shards"), "--output", str(folder / "run")]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert pretrain.main([*arguments, "--device", "cpu", "--max-updates", "12"]) == 0
    torch.set_num_threads(n_threads)
    return folder


@pytest.fixture
def trained(original: Path, tmp_path: Path) -> Path:
    """The same, of one's own."""
    return shutil.copytree(original, tmp_path / "trained")


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command: exit status, what it printed, what it complained of."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit_:
            code = int(str(exit_.code))
        return code, *capsys.readouterr()

    return run


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_transformers_loads_model_and_tokenizer_of_a_run(trained: Path, tmp_path: Path, export: Any) -> None:
    code, out, err = export("--checkpoint", trained / "run", "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert f"{WORDS.fingerprint[:16]} of 500 ids; update 12 of 60" in out
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(model).__name__ == "RobertaForMaskedLM"
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    checkpoint = load_last(trained / "run" / "checkpoints", warn=print)
    assert checkpoint is not None
    shape, tensors = read_hugging_face(tmp_path / "out")
    assert (shape.layers, shape.hidden, shape.max_tokens) == (2, 32, 32)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in checkpoint.model.items())
    assert tensors.keys() == checkpoint.model.keys()


def test_the_tokenizer_puts_roberta_s_specials_around_one_text_and_two(
    trained: Path, tmp_path: Path, export: Any
) -> None:
    assert export("--checkpoint", trained / "run", "--output", tmp_path / "out")[0] == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    the, blank_the = WORDS.tokens.index("the"), WORDS.tokens.index("Ġthe")
    assert tokenizer("the the").input_ids == [0, the, blank_the, 2]
    assert tokenizer("the", "the").input_ids == [0, the, 2, 2, the, 2]
    assert tokenizer("the <mask>").input_ids == [0, the, 499, 2]
    assert tokenizer.model_max_length == 32
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (1, 3, 499)
    padded = tokenizer(["the the", "the"], padding=True)
    assert padded.input_ids[1] == [0, the, 2, 1]
    assert padded.attention_mask[1] == [1, 1, 1, 0]


def test_a_checkpoint_of_choice_is_exported_by_its_folder(trained: Path, tmp_path: Path, export: Any) -> None:
    chosen = trained / "run" / "checkpoints" / "update-00000010"
    code, out, _ = export("--checkpoint", chosen, "--output", tmp_path / "out")
    assert code == 0
    assert "update 10 of 60" in out
    tensors = read_hugging_face(tmp_path / "out")[1]
    assert torch.equal(tensors["encoder.tokens.weight"], read_checkpoint(chosen).model["encoder.tokens.weight"])


def test_a_damaged_last_checkpoint_is_noticed_and_the_one_before_exported(
    trained: Path, tmp_path: Path, export: Any
) -> None:
    weights = trained / "run" / "checkpoints" / "update-00000012" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, out, _ = export("--checkpoint", trained / "run", "--output", tmp_path / "out")
    assert code == 0
    assert "update-00000012 is damaged" in out
    assert "update 10 of 60" in out
    code, _, err = export("--checkpoint", weights.parent, "--output", tmp_path / "other")
    assert (code, err.count("\n")) == (1, 1)
    assert "is damaged (model.safetensors is not what was written); take another checkpoint" in err
    assert not (tmp_path / "other").exists()


def test_the_vocabulary_must_be_the_run_s_own(trained: Path, tmp_path: Path, export: Any) -> None:
    other, own = tmp_path / "other.json", tmp_path / "own.json"
    other.write_bytes(dump_vocabulary(OTHER))
    own.write_bytes(dump_vocabulary(WORDS))
    arguments = ("--checkpoint", trained / "run", "--output", tmp_path / "out")
    code, _, err = export(*arguments, "--vocabulary", other)
    assert (code, err.count("\n")) == (1, 1)
    assert OTHER.fingerprint in err
    assert WORDS.fingerprint in err
    shutil.rmtree(trained / "shards")
    code, _, err = export(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "name a copy by --vocabulary" in err
    assert not (tmp_path / "out").exists()
    assert export(*arguments, "--vocabulary", own)[0] == 0


def test_shards_that_were_encoded_anew_with_another_vocabulary_are_refused(
    trained: Path, tmp_path: Path, export: Any
) -> None:
    _give_vocabulary(trained / "shards", OTHER)
    code, _, err = export("--checkpoint", trained / "run", "--output", tmp_path / "out")
    assert code == 1
    assert f"vocab.json is vocabulary {OTHER.fingerprint}, but the run was trained on {WORDS.fingerprint}" in err


def test_an_export_is_replaced_only_when_asked_and_other_folders_never(
    trained: Path, tmp_path: Path, export: Any
) -> None:
    out = tmp_path / "out"
    arguments = ("--checkpoint", trained / "run", "--output", out)
    assert export(*arguments)[0] == 0
    before = _read(out)
    (out / "config.json").write_text("{}")
    code, _, err = export(*arguments)
    assert (code, err) == (2, f"export: {out} exists; name another --output, or give --overwrite\n")
    assert export(*arguments, "--overwrite")[0] == 0
    assert _read(out) == before
    (trained / "notes").mkdir()
    (trained / "notes" / "letter.txt").write_text("keep")
    code, _, err = export("--checkpoint", trained / "run", "--output", trained / "notes", "--overwrite")
    assert (code, "is not an export, so --overwrite leaves it alone" in err) == (2, True)
    assert (trained / "notes" / "letter.txt").read_text() == "keep"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "trained"]  # nothing temporary stays


def test_what_a_killed_export_left_is_in_nobody_s_way(trained: Path, tmp_path: Path, export: Any) -> None:
    (tmp_path / ".out.writing").mkdir()
    (tmp_path / ".out.writing" / "model.safetensors").write_bytes(b"half")
    assert export("--checkpoint", trained / "run", "--output", tmp_path / "out")[0] == 0
    assert not (tmp_path / ".out.writing").exists()


def test_folders_without_a_run_or_without_a_checkpoint_are_one_line(trained: Path, tmp_path: Path, export: Any) -> None:
    code, _, err = export("--checkpoint", tmp_path, "--output", tmp_path / "out")
    assert (code, "holds neither a run (settings.json) nor a checkpoint (state.json)" in err) == (2, True)
    shutil.rmtree(trained / "run" / "checkpoints")
    code, _, err = export("--checkpoint", trained / "run", "--output", tmp_path / "out")
    assert (code, err) == (1, f"export: {trained / 'run'}: the run has no checkpoint yet\n")
    code, _, err = export("--checkpoint", trained / "run", "--outptu", tmp_path / "out", "--output", "x")
    assert (code, "did you mean '--output'?" in err) == (2, True)


def test_the_weights_are_as_readable_as_the_other_files(trained: Path, tmp_path: Path, export: Any) -> None:
    assert export("--checkpoint", trained / "run", "--output", tmp_path / "out")[0] == 0
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1
    assert json.loads((tmp_path / "out" / "config.json").read_text())["type_vocab_size"] == 1
