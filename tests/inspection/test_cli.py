"""The command line of inspect-shards: light, one line per error, exit codes as promised."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("summary", "show", "verify", "trace")
OF_PIPELINES = ("warcio", "lxml", "ftfy", "fsspec", "brotli", "zstandard", "sentencex", "requests")
HEAVY = ("apache_beam", "torch", "trafilatura", "newsplease", "pycld2")
IN_FRESH_INTERPRETER = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from inspection.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as exit_:
    status = exit_.code
print(json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def run_fresh(*argv, absent=()):
    """Exit status, top-level modules and errors after a command in an interpreter that lacks some modules."""
    code = f"ABSENT = {set(absent)!r}\n{IN_FRESH_INTERPRETER}"
    command = [sys.executable, "-c", code, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    *errors, last = done.stderr.splitlines()
    status, modules = json.loads(last)
    return status, set(modules), errors


def test_help_imports_neither_numpy_nor_pyarrow_and_answers_within_half_a_second():
    status, modules, _ = run_fresh("--help")
    assert status == 0
    assert not modules & {"numpy", "pyarrow", *HEAVY}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "inspection.cli", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: how long the machine lets it wait is not ours to measure.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_no_command_imports_beam_or_torch_or_an_extractor(little_run):
    first = little_run.documents[0].document_id.hex()
    for argv in (("summary",), ("show", "--document", first), ("verify",), ("trace", "--document", first)):
        status, modules, errors = run_fresh(argv[0], little_run.folder, *argv[1:])
        assert (status, errors) == (0, [])
        assert not modules & set(HEAVY)


def test_a_run_is_looked_at_where_nothing_is_installed_that_reads_crawls(little_run):
    first = little_run.documents[0].document_id.hex()
    trace = ("trace", little_run.folder, "--document", first)
    assert run_fresh(*trace, absent=OF_PIPELINES)[::2] == (0, [])
    status, _, errors = run_fresh(*trace, "--warc-root", little_run.warc_root, absent=OF_PIPELINES)
    assert (status, len(errors)) == (1, 1)
    assert "shardmill[pipelines]" in errors[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json_and_its_help_says_what_exit_codes_mean(inspect_shards, command):
    outcome = inspect_shards(command, "--help")
    assert outcome.status == 0
    assert "--json" in outcome.out
    assert "exit status: 0 done, 1" in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_json_is_one_object_on_stdout(inspect_shards, little_run, command):
    wanted = ("--document", little_run.documents[0].document_id.hex()) if command in ("show", "trace") else ()
    outcome = inspect_shards(command, little_run.folder, "--json", *wanted)
    assert outcome.status == 0
    assert isinstance(json.loads(outcome.out), dict)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nonsense",),
        ("summary",),
        ("show", "OUT", "--reason", "language"),
        ("show", "OUT", "--shard", "x"),
        ("show", "OUT", "--rejected", "--document", "abcd"),
        ("show", "OUT", "--limit", "0"),
        ("trace", "OUT"),
        ("trace", "OUT", "--url", "http://a", "--document", "abcd"),
        ("trace", "OUT", "--sample", "0/0/0"),
        ("trace", "OUT", "--document", "abcd", "--run", "RUN"),
        ("trace", "OUT", "--update", "0", "--run", "RUN"),
        ("verify", "OUT", "--sum"),
    ],
)
def test_a_wrong_command_exits_2_before_anything_is_opened(inspect_shards, argv):
    outcome = inspect_shards(*argv)
    assert outcome.status == 2
    assert outcome.out == ""
    assert "usage:" in outcome.err


@pytest.mark.parametrize("argv", [("--document", "xyz!"), ("--document", "ab"), ("--document", "a" * 33)])
def test_what_is_no_document_id_is_a_wrong_command(inspect_shards, little_run, argv):
    outcome = inspect_shards("show", little_run.folder, *argv)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "hexadecimal" in outcome.err


@pytest.mark.parametrize("command", ["summary", "show", "verify"])
def test_a_folder_without_a_manifest_is_said_to_be_unfinished_or_wrong(inspect_shards, tmp_path, command):
    (tmp_path / "run" / "work").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for folder, said in (("run", "not finished"), ("other", "not the folder of a run"), ("none", "no such folder")):
        outcome = inspect_shards(command, tmp_path / folder)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.count("\n") == 1
        assert said in outcome.err
        assert str(tmp_path / folder) in outcome.err


def test_a_run_is_found_by_its_folder_or_by_its_manifest(inspect_shards, little_run):
    by_folder = inspect_shards("summary", little_run.folder)
    by_file = inspect_shards("summary", little_run.folder / "manifest.json")
    assert by_folder == by_file


def test_an_address_that_no_driver_knows_is_a_wrong_command(inspect_shards):
    outcome = inspect_shards("verify", "nosuch://bucket/out")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_debug_shows_the_traceback(inspect_shards, tmp_path):
    with pytest.raises(Exception, match="no such folder"):
        inspect_shards("summary", tmp_path / "none", "--debug")


def test_a_damaged_manifest_is_one_line_and_exit_1(inspect_shards, little_run):
    path = Path(little_run.folder, "manifest.json")
    path.write_bytes(path.read_bytes().replace(b'"name": "little"', b'"name": 7'))
    for command in ("summary", "show", "verify"):
        outcome = inspect_shards(command, little_run.folder)
        assert (outcome.status, outcome.err.count("\n")) == (1, 1)
        assert "manifest.json" in outcome.err


def test_a_reader_that_stops_early_is_no_error(little_run):
    command = [sys.executable, "-m", "inspection.cli", "summary", *[str(little_run.folder)] * 200]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_terminal_that_is_not_utf8_gets_escapes_and_no_error(little_run):
    done = subprocess.run(
        [sys.executable, "-m", "inspection.cli", "show", str(little_run.folder)],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert done.returncode == 0
    assert b"caf\\xe9" in done.stdout
