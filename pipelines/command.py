"""How our command lines end: one line of what went wrong, and an exit status that says whose fault it is."""

import sys
from collections.abc import Callable

from bpe.errors import ShardError
from corpora.errors import CorpusError
from pipelines.ledger import BooksError
from pipelines.running import PipelineFailedError


def exit_status(work: Callable[[], None], *, name: str, debug: bool) -> int:
    """Runs a command; 0 done, 1 bad data or a machine that fails, 2 a wrong command. One line, no traceback."""
    try:
        work()
    except ValueError as error:
        status, message = 2, str(error)
    except (CorpusError, ShardError, BooksError, PipelineFailedError, OSError) as error:
        status, message = 1, str(error)
    else:
        return 0
    if debug:
        raise
    sys.stderr.write(f"{name}: {message}\n")
    return status


def print_lines(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
