"""Which files a run reads: patterns, lists, addresses and months become input files with relative names.

A file's name becomes the `source` of its documents, so it is never an absolute path, never holds a
credential, and no two files of a run share one. Its location is for opening only.
"""

import glob
import hashlib
import io
import itertools
import math
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from corpora.urls import redact_credentials
from pipelines.listing import (
    DEFAULT_CRAWL_ROOT,
    Month,
    NothingThereError,
    list_month_paths,
    parse_months,
    read_path_lines,
    this_month,
)
from pipelines.storage import is_url, is_web, join, local_path, open_read, open_store, size_of, write_atomically

CRAWL_ENDINGS = (".warc", ".warc.gz", ".arc", ".arc.gz", ".wet", ".wet.gz")
LIST_ENDINGS = (".txt", ".paths", ".paths.gz")
FINGERPRINT_BYTES = 64 << 10  # at each end of the file
SPLIT_UNIT = 64 << 10
MIN_SPLIT_BYTES = 8 << 20
MAX_SPLIT_BYTES = 32 << 20  # a range reads up to 8 MiB before its border to get in step: a quarter at most
SPLITS_PER_FILE = 32
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class InputFile(NamedTuple):
    """One file that a run reads."""

    name: str  # relative: the `source` of what is made from it
    location: str  # absolute path or URL to open
    n_bytes: int | None  # None where nobody has asked yet


def resolve_inputs(
    *,
    inputs: Sequence[str] = (),
    months: str = "",
    crawl_root: str | None = None,
    max_warcs: int | None = None,
    folder_endings: tuple[str, ...] = CRAWL_ENDINGS,
    list_endings: tuple[str, ...] = LIST_ENDINGS,
    following: bool = False,
) -> list[InputFile]:
    """All input files, sorted by name, each once; ValueError where an argument names nothing or two files clash.

    An argument is a file, a folder (all below it with one of `folder_endings`), a pattern, a URL, or a
    list of these: `@list`, or a name with one of `list_endings`. A relative line of a list is a path
    below `crawl_root` where that is given, else beside the list. When `following`, an argument may name
    nothing yet, months may have no end, and nobody asks for sizes.
    """
    if max_warcs is not None and max_warcs < 1:
        raise ValueError(f"--max-warcs is {max_warcs}; it counts files, at least 1")
    if not inputs and not months:
        raise ValueError("nothing to read: name files with --input or months with --months")
    tolerated: AbstractContextManager[object] = suppress(NothingThereError) if following else nullcontext()
    files: list[InputFile] = []
    for argument in inputs:
        is_list = argument.startswith("@") or argument.lower().endswith(list_endings or ("\0",))
        with tolerated:
            named = _expand(argument.removeprefix("@"), () if is_list else folder_endings)
            files += _read_lists(named, crawl_root) if is_list else named
    if months:
        files += _list_months(months, crawl_root or DEFAULT_CRAWL_ROOT, max_warcs, following=following)
    found = _distinct(files)[:max_warcs]
    return found if following else [with_size(file) for file in found]


def open_input(location: str) -> BinaryIO:
    """A seekable stream over an input file, wherever it is."""
    return open_read(location)


def size_of_input(location: str) -> int:
    """Bytes of an input file; asks the server of a remote one."""
    return size_of(location)


def fingerprint(file: InputFile) -> str:
    """What identifies an input for reuse: a hash of its size and of the 64 KiB at either end, as hex.

    Cheap on a remote file. A change in the middle that keeps the size goes unseen; crawl files are
    never changed in place.
    """
    with open_input(file.location) as stream:
        n_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        head = stream.read(FINGERPRINT_BYTES)
        stream.seek(max(0, n_bytes - FINGERPRINT_BYTES))
        tail = stream.read(FINGERPRINT_BYTES)
    digest = hashlib.blake2b(n_bytes.to_bytes(8, "big"), digest_size=16)
    digest.update(head)
    digest.update(tail)
    return digest.hexdigest()


def plan_splits(n_bytes: int, *, limit_bytes: int | None = None) -> list[tuple[int, int]]:
    """Equal byte ranges that cover a file, cut off at `limit_bytes`; their borders depend on its size alone.

    >>> plan_splits(20_000_000)
    [(0, 6684672), (6684672, 13369344), (13369344, 20000000)]
    >>> plan_splits(20_000_000, limit_bytes=8_000_000)
    [(0, 6684672), (6684672, 8000000)]
    """
    if limit_bytes is not None and limit_bytes < 1:
        raise ValueError(f"--limit-bytes is {limit_bytes}; it counts bytes of each file, at least 1")
    wanted = min(max(n_bytes // SPLITS_PER_FILE, MIN_SPLIT_BYTES), MAX_SPLIT_BYTES)
    step = math.ceil(n_bytes / max(math.ceil(n_bytes / wanted), 1) / SPLIT_UNIT) * SPLIT_UNIT
    end = n_bytes if limit_bytes is None else min(n_bytes, limit_bytes)
    return [(start, min(start + step, end)) for start in range(0, end, max(step, 1))]


def write_input_list(inputs: Sequence[InputFile], path: str) -> None:
    """One line a file: name, location, bytes, with tabs between; private where a location holds a credential."""

    def write(stream: BinaryIO) -> None:
        for file in inputs:
            n_bytes = "" if file.n_bytes is None else str(file.n_bytes)
            stream.write(f"{file.name}\t{file.location}\t{n_bytes}\n".encode())

    secret = any(is_url(file.location) and redact_credentials(file.location) != file.location for file in inputs)
    write_atomically(path, write, mode=0o600 if secret else 0o666)


def read_input_list(path: str) -> Iterator[InputFile]:
    """The files of a list that `write_input_list` wrote."""
    with open_read(path) as stream, io.TextIOWrapper(stream, encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.removesuffix("\n").split("\t")
            if len(fields) != 3 or not line.endswith("\n"):
                raise OSError(f"{path} line {number}: not a line of an input list; remove it and run again")
            yield InputFile(fields[0], fields[1], int(fields[2]) if fields[2] else None)


def _expand(argument: str, folder_endings: tuple[str, ...]) -> list[InputFile]:
    """The files that one argument names."""
    if not argument:
        raise ValueError("an empty --input names nothing")
    if is_web(argument):
        if "*" in argument:
            shown = redact_credentials(argument)
            raise ValueError(f"--input {shown}: patterns do not work on the web; name files, or a list of them")
        return [_file_of_url(argument)]
    if is_url(argument):
        return _expand_in_store(argument)
    path = os.path.expanduser(local_path(argument))  # noqa: PTH111 # strings keep a pattern as it was typed
    if os.path.isdir(path):  # noqa: PTH112 # as above
        matches = [match for match in _glob(join(path, "**")) if match.lower().endswith(folder_endings or ("\0",))]
        return _named(argument, path, matches, f"no files in it with one of the endings {' '.join(folder_endings)}")
    if os.path.lexists(path):
        return _named(argument, os.path.dirname(path), [path] if os.path.isfile(path) else [], "not a file")  # noqa: PTH113, PTH120 # as above
    if not glob.has_magic(path):
        raise ValueError(f"--input {argument}: no such file")
    return _named(argument, _fixed_folder(path), _glob(path), "the pattern matches no file")


def _glob(pattern: str) -> list[str]:
    return [match for match in glob.iglob(pattern, recursive=True) if os.path.isfile(match)]  # noqa: PTH113 # 100,000 strings


def _named(argument: str, folder: str, matches: list[str], complaint: str) -> list[InputFile]:
    if not matches:
        raise NothingThereError(f"--input {argument}: {complaint}")
    base = os.path.abspath(folder)  # noqa: PTH100 # `resolve` would follow links and change names
    found = []
    for match in matches:
        location = os.path.abspath(match)  # noqa: PTH100 # as above
        found.append(_make(os.path.relpath(location, base), location))
    return found


def _fixed_folder(pattern: str) -> str:
    """The folders of a pattern before its first wildcard.

    >>> _fixed_folder("../warcs/2016-*/a/*.gz"), _fixed_folder("*.gz")
    ('../warcs', '')
    """
    fixed: list[str] = []
    for part in pattern.split("/")[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return "/".join(fixed) or ("/" if pattern.startswith("/") else "")


def _expand_in_store(url: str) -> list[InputFile]:
    """Objects that a URL or a pattern over URLs names; names as `_file_of_url` gives them."""
    if not glob.has_magic(url):
        return [_file_of_url(url)]
    store, pattern = open_store(url)
    scheme = url.split("://", 1)[0]
    found = [
        _file_of_url(f"{scheme}://{str(key).lstrip('/')}")._replace(n_bytes=int(entry["size"]))
        for key, entry in store.glob(pattern, detail=True).items()
        if entry["type"] == "file"
    ]
    if not found:
        raise NothingThereError(f"--input {url}: the pattern matches no file")
    return found


def _file_of_url(url: str) -> InputFile:
    """Named by the path of the URL: the query may hold a key, and the host says nothing of the file."""
    try:
        path = urlsplit(redact_credentials(url)).path
    except ValueError as error:
        raise ValueError(f"--input {redact_credentials(url)}: {error}") from error
    return _make(re.sub("/+", "/", path).removeprefix("/"), url)


def _read_lists(lists: list[InputFile], crawl_root: str | None) -> list[InputFile]:
    files = []
    for one in lists:
        shown = _shown(one.location)
        with open_input(one.location) as stream:
            lines = read_path_lines(stream, name=shown)
        if not lines:
            raise NothingThereError(f"{shown}: the list is empty")
        root = crawl_root or posixpath.dirname(one.location.split("?", 1)[0] if is_url(one.location) else one.location)
        files += [_file_of_line(line, root) for line in lines]
    return files


def _file_of_line(line: str, root: str) -> InputFile:
    """A line of a list: a relative one is named as it is written, any other by what identifies it alone."""
    if is_url(line):
        return _file_of_url(line)
    line = local_path(line)
    if line.startswith("/"):
        return _make(posixpath.basename(line), line)
    name = posixpath.normpath(line)
    location = join(root, name) if is_url(root) else os.path.abspath(join(local_path(root), line))  # noqa: PTH100 # as above
    return _make(posixpath.basename(name) if name.startswith("..") else name, location)


def _list_months(months: str, crawl_root: str, max_warcs: int | None, *, following: bool) -> list[InputFile]:
    files: list[InputFile] = []
    wanted = parse_months(months, now=this_month() if following else None)
    for month in wanted:
        may_be_absent = following and month == wanted[-1]  # a month has no list before its first file
        files += _list_month(month, crawl_root, may_be_absent=may_be_absent)
        if max_warcs is not None and len(files) >= max_warcs:
            break  # later months sort behind: they cannot be among the first files
    return files


def _list_month(month: Month, crawl_root: str, *, may_be_absent: bool) -> list[InputFile]:
    root = crawl_root if is_url(crawl_root) else os.path.abspath(local_path(crawl_root))  # noqa: PTH100 # as above
    listed = list_month_paths(*month, crawl_root=root, may_be_absent=may_be_absent)
    return [_make(posixpath.normpath(one.path), join(root, one.path), one.n_bytes) for one in listed]


def _make(name: str, location: str, n_bytes: int | None = None) -> InputFile:
    """An input file under a name that may be written down; ValueError where none can be."""
    shown = _shown(location)
    if _UNPRINTABLE.search(name) or _UNPRINTABLE.search(location):
        raise ValueError(f"{shown!r}: the name has control characters or is not UTF-8; rename the file")
    if not name or name == "." or name.startswith(("/", "../")) or name == ".." or "/../" in f"/{name}/":
        raise ValueError(f"{shown}: no relative name can be made of this; name a file")
    return InputFile(name, location, n_bytes)


def _shown(location: str) -> str:
    return redact_credentials(location) if is_url(location) else location


def _distinct(files: Iterable[InputFile]) -> list[InputFile]:
    """Sorted by name; a file that was named several ways is there once, under the longest of its names."""
    by_location: dict[str, InputFile] = {}
    for file in files:
        other = by_location.get(file.location)
        if other is None or (len(file.name), file.name) > (len(other.name), other.name):
            by_location[file.location] = file
    ordered = sorted(by_location.values())
    for one, other in itertools.pairwise(ordered):
        if one.name == other.name:
            raise ValueError(
                f"{_shown(one.location)} and {_shown(other.location)} would both be called"
                f" {one.name!r}; name them by one pattern over the folder above, so that their paths tell them apart"
            )
    return ordered


def with_size(file: InputFile) -> InputFile:
    """Looks at a local file: that it is there, and how long it is. Remote ones are asked when they are read."""
    if file.n_bytes is not None or is_url(file.location):
        return file
    path = Path(file.location)
    try:
        return file._replace(n_bytes=path.stat().st_size)
    except OSError as error:
        raise ValueError(f"{file.location}: {error.strerror}; take it off the list or bring the file") from error
