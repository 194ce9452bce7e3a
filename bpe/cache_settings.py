"""Where shards of object stores are kept on this machine, and how many bytes of them: flags and variables.

In: --cache and --cache-bytes, or SHARDMILL_CACHE and SHARDMILL_CACHE_BYTES. Out: `Cache`. The rule: flags are written
into the variables, so that processes which a command starts use the same cache. By default it is
~/.cache/shardmill/shards and may hold half of what is free there or held already; 0 bytes is no cache.
"""

import argparse
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

FOLDER_VARIABLE, BYTES_VARIABLE = "SHARDMILL_CACHE", "SHARDMILL_CACHE_BYTES"


class Cache(NamedTuple):
    """Where shards are kept, and how many bytes of them."""

    folder: Path
    max_bytes: int  # 0 is no cache


def add_cache_flags(parser: argparse.ArgumentParser) -> None:
    """--cache and --cache-bytes, of a command that reads shards."""
    group = parser.add_argument_group("runs in object stores (s3://, gs://)")
    group.add_argument(
        "--cache", metavar="FOLDER",
        help=f"where fetched shards are kept (default: ${FOLDER_VARIABLE}, else ~/.cache/shardmill/shards)",
    )  # fmt: skip
    group.add_argument(
        "--cache-bytes", type=int, metavar="N",
        help=f"bytes that it may hold, 0 for no cache (default: ${BYTES_VARIABLE}, else half of what is free there)",
    )  # fmt: skip


def use_cache_flags(flags: argparse.Namespace) -> None:
    """Makes the flags this process's cache, and that of processes that it starts; ValueError where they are wrong."""
    if flags.cache is not None:
        os.environ[FOLDER_VARIABLE] = str(Path(flags.cache).resolve())
    if flags.cache_bytes is not None:
        os.environ[BYTES_VARIABLE] = str(flags.cache_bytes)
    find_cache()


def find_cache() -> Cache:
    """The cache of this process; ValueError where a variable is wrong."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get(FOLDER_VARIABLE) or f"{home}/shardmill/shards"
    folder = Path(named).expanduser()
    if "://" in named:
        raise ValueError(f"--cache {named}: the cache is a folder of a local disk")
    asked = os.environ.get(BYTES_VARIABLE, "")
    if asked and not (asked.isascii() and asked.isdecimal()):
        raise ValueError(f"--cache-bytes is {asked!r}; it counts bytes, 0 for no cache")
    return Cache(folder, int(asked) if asked else _half_of_what_is_free(folder))


def _half_of_what_is_free(folder: Path) -> int:
    held = 0
    with suppress(OSError), os.scandir(folder) as found:
        for one in found:
            with suppress(FileNotFoundError):  # another process may have just removed it
                held += one.stat().st_size
    there = next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))
    return (shutil.disk_usage(there).free + held) // 2
