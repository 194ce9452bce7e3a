"""Trains a set of recipes one after the other on the same shards, and lays what they came to side by side.

    python -m trainer.compare --recipes table2/tiny --data OUT --output COMPARISON

In: names of recipes, or of folders of recipes, and finished runs of shards. Out: each recipe's run as `pretrain.py`
writes it in COMPARISON/<recipe>, and table.md, table.json and curves.svg of all. The rule: all is checked before the
first update, a finished run is never repeated, and the same command again goes on where it was stopped.
"""

import fcntl
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from bpe.errors import ShardError
from trainer import pretrain
from trainer.checkpoints import list_checkpoints, update_of
from trainer.command_line import OneLineParser, add_setting_flags, given_settings, parse_flags
from trainer.comparison import CHART, TABLE_JSON, TABLE_MD, read_result, write_comparison, write_markdown
from trainer.run_folder import CHECKPOINTS, RunError, describe_run, read_description, refuse_other_run
from trainer.settings import Settings, Value, check_batch, known_recipes, load_settings, nearest
from trainer.sources import Run, Source, open_runs

LOCK = ".lock"


class PlannedRun(NamedTuple):
    """One run of the comparison."""

    name: str  # of the recipe, with the seed where there are several
    recipe: str
    folder: Path
    settings: Settings
    flags: tuple[str, ...]  # that make the recipe these settings


class StoppedError(Exception):
    """A run that did not come to its end; `code` is what this command exits with."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 done, 1 the data are bad, 2 the command is wrong, 128 + n stopped by signal n."""
    flags = parse_flags(make_parser(), argv)
    try:
        output = Path(flags.output)
        try:
            planned = plan_runs(flags.recipes, given_settings(flags), seeds=flags.seeds, output=output)
            runs = open_runs(flags.data)
            refuse_growing(runs)
            check_runs(planned, runs, n_ranks=flags.n_ranks)
        except ValueError as error:
            if flags.debug:
                raise
            return complain(error, code=2)
        with claim_output(output) as lock:
            compare(planned, flags.data, output=output, n_ranks=flags.n_ranks, lock=lock)
        return 0
    except StoppedError as error:
        return complain(error, code=error.code)
    except (ShardError, RunError, OSError) as error:
        if flags.debug:
            raise
        return complain(error, code=1)


def complain(error: Exception, *, code: int) -> int:
    """One line."""
    print(f"compare: {error}", file=sys.stderr)
    return code


def make_parser() -> OneLineParser:
    """The flags: this command's own, and those of `pretrain.py`, which hold for every recipe."""
    assert __doc__ is not None
    parser = OneLineParser("python -m trainer.compare", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--recipes",
        required=True,
        nargs="+",
        metavar="NAME",
        help="recipes, or folders of recipes (table2/tiny: all in it), or .toml files, in the order of the table",
    )
    parser.add_argument(
        "--data", required=True, nargs="+", metavar="OUT", help="folders of finished runs of shards, or of mixtures"
    )
    parser.add_argument("--output", required=True, metavar="COMPARISON", help="folder for the runs, table and chart")
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help="train each recipe once per seed (default: its own)",
    )
    parser.add_argument(
        "--n-ranks", type=int, default=1, metavar="N", help="processes that train together, by torchrun (default: 1)"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    add_setting_flags(parser)
    return parser


def plan_runs(
    names: Sequence[str], overrides: dict[str, Value], *, seeds: Sequence[int], output: Path
) -> list[PlannedRun]:
    """A run per recipe and seed; ValueError where a name is unknown or two runs would share a folder."""
    if seeds and "seed" in overrides:
        raise ValueError("--seed and --seeds exclude each other; give all seeds to --seeds")
    planned: dict[Path, PlannedRun] = {}
    for recipe in (found for name in names for found in find_recipes(name)):
        name = Path(recipe).stem if recipe.endswith(".toml") else recipe
        for seed in seeds or (None,):
            given = overrides if seed is None else {**overrides, "seed": seed}
            folder = output / (name if seed is None else f"{name}-seed-{seed}")
            if folder in planned:
                raise ValueError(f"{name} is asked for twice; name each recipe and seed once")
            planned[folder] = PlannedRun(
                name=name if seed is None else f"{name} seed {seed}",
                recipe=recipe,
                folder=folder,
                settings=load_settings(recipe, given),
                flags=tuple(flag_of(field, value) for field, value in given.items()),
            )
    return list(planned.values())


def find_recipes(name: str) -> list[str]:
    """The recipe of this name or path, or all in the folder of this name; ValueError names the nearest."""
    known = known_recipes()
    folders = {Path(recipe).parent.as_posix() for recipe in known} - {"."}
    asked = name.rstrip("/")
    if name in known or name.endswith(".toml"):
        return [name]
    if asked in folders:
        return [recipe for recipe in known if Path(recipe).parent.as_posix() == asked]
    if own := sorted(Path(name).glob("*.toml")):
        return list(map(str, own))
    candidates = {**known, **dict.fromkeys(folders)}
    raise ValueError(
        f"there is no recipe and no folder of recipes {name!r}{nearest(name, candidates)}; "
        f"folders: {', '.join(sorted(folders))}"
    )


def flag_of(field: str, value: Value) -> str:
    """A setting as `pretrain.py` takes it."""
    flag = field.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}={value}"


def refuse_growing(runs: tuple[Run, ...]) -> None:
    """ValueError where the data grow: recipes that are trained one after the other would not read the same."""
    growing = next((run.growing for run in runs if run.growing), None)
    if growing is not None:
        raise ValueError(
            f"--data {growing} grows, and recipes are compared on the same shards; name runs below {growing}/windows"
        )


def check_runs(planned: Sequence[PlannedRun], runs: tuple[Run, ...], *, n_ranks: int) -> None:
    """Finds before anything is trained what would fail later: ValueError, or RunError for what is on disk."""
    if n_ranks < 1:
        raise ValueError(f"--n-ranks is {n_ranks}; it must be at least 1")
    if not len(Source(runs, split="held-out")):
        folders = ", ".join(str(run.folder) for run in runs)
        raise RunError(f"{folders}: no held-out split to compare on; make it with `prep-shards encode --held-out 0.05`")
    for one in planned:
        if not one.settings.evaluate_every:
            raise ValueError(f"{one.name}: evaluate_every is 0, but held-out perplexity is what is compared; set it")
        check_batch(one.settings, n_ranks=n_ranks)
        found = read_description(one.folder)
        if found is not None:
            refuse_other_run(one.folder, found, describe_run(one.settings, runs))


@contextmanager
def claim_output(folder: Path) -> Iterator[int]:
    """Keeps a second comparison out of the folder while this one, or a process that it started, lives."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder}: another comparison writes here; wait for it, or name another --output"
            ) from error
        yield stream.fileno()


def compare(planned: Sequence[PlannedRun], data: Sequence[str], *, output: Path, n_ranks: int, lock: int) -> None:
    """Trains what is not finished; table and chart are written anew after each run, and shown at the end."""
    results = []
    for number, one in enumerate(planned, 1):
        place = f"run {number} of {len(planned)}: {one.name}"
        if is_finished(one):
            print(f"{place}: finished before", flush=True)
        else:
            print(place, flush=True)
            code = train(one, data, n_ranks=n_ranks, lock=lock)
            if code > 128:
                raise StoppedError(f"{one.name} was stopped; the same command goes on from there", code=code)
            if code:
                raise StoppedError(f"{one.name} failed; runs after it were not begun", code=code)
        results.append(read_result(one.folder, name=one.name))
        write_comparison(output, results)
    print(f"\n{write_markdown(results)}\n{output / TABLE_MD}, {output / TABLE_JSON}, {output / CHART}")


def is_finished(one: PlannedRun) -> bool:
    """Whether the run in the folder, which is known to be this one, has its last checkpoint."""
    updates = [update_of(path) for path in list_checkpoints(one.folder / CHECKPOINTS)]
    return bool(updates) and updates[-1] >= one.settings.last_update


def train(one: PlannedRun, data: Sequence[str], *, n_ranks: int, lock: int) -> int:
    """Runs `pretrain.py` to its end: in this process, or by torchrun where there are several ranks; its exit code."""
    arguments = ["--recipe", one.recipe, "--data", *data, "--output", str(one.folder), *one.flags]
    if n_ranks == 1:
        return pretrain.main(arguments)
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={n_ranks}", "--standalone"]
    return wait_for([*launch, pretrain.__file__, *arguments], lock=lock)


def wait_for(command: Sequence[str], *, lock: int) -> int:
    """A command's exit code; a signal that ends this process is passed on, and its number becomes the code."""
    received: list[int] = []
    process = subprocess.Popen(command, pass_fds=(lock,))  # the folder stays locked as long as it lives

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(signal.SIGTERM)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + received[0] if received else min(abs(code), 1)


if __name__ == "__main__":
    sys.exit(main())
