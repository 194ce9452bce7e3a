"""Where runs lie: a path of a local disk, or an address in an object store, behind what the two have in common.

In: a path, or s3://BUCKET/KEY, gs://BUCKET/KEY. Out: `Place`: a `pathlib.Path`, or a `StorePath`, which has the part of
a path's interface that readers need. The rule: what is on a local disk stays a `Path`, costs nothing more and imports
nothing; the driver of a store is imported by the first look into it (bpe.stores).
"""

import io
import os
import posixpath
from pathlib import Path, PurePosixPath
from typing import Literal

READ_AHEAD_BYTES = 1 << 20


class StorePath:
    """An object, or the folder that a prefix of keys makes, in an object store; always in its shortest form.

    Raises OSError naming the address for whatever fails on the way; FileNotFoundError where there is no such object.

    >>> StorePath("s3://bucket/mixed/../ccnews/") / "shards/a.tar"
    StorePath('s3://bucket/ccnews/shards/a.tar')
    """

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        scheme, _, rest = address.partition("://")
        bucket, _, key = rest.partition("/")
        key = posixpath.normpath(key) if key.strip("/") else ""
        if key == ".." or key.startswith("../"):
            raise OSError(f"{address}: leads out of its bucket")
        key = "" if key == "." else key.strip("/")
        self._address = f"{scheme}://{bucket}/{key}" if key else f"{scheme}://{bucket}"

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"StorePath({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __lt__(self, other: "StorePath") -> bool:
        return self._address < other._address

    def __truediv__(self, name: str | PurePosixPath) -> "StorePath":
        return StorePath(f"{self._address}/{name}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The store with its bucket, and the names of folders and file below it."""
        scheme, _, rest = self._address.partition("://")
        bucket, *names = rest.split("/")
        return (f"{scheme}://{bucket}", *names)

    @property
    def name(self) -> str:
        """The last part; of a bucket its name."""
        return self._address.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "StorePath":
        return self if len(self.parts) == 1 else StorePath("/".join(self.parts[:-1]))

    def resolve(self) -> "StorePath":
        """There are no links."""
        return self

    def is_relative_to(self, other: object) -> bool:
        return isinstance(other, StorePath) and self.parts[: len(other.parts)] == other.parts

    def relative_to(self, other: "StorePath") -> PurePosixPath:
        """The name below a folder; ValueError where it is not below it."""
        if not self.is_relative_to(other):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(*self.parts[len(other.parts) :])

    def is_file(self) -> bool:
        from bpe.stores import size_of

        try:
            return size_of(self._address) >= 0
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there are keys below it."""
        from bpe.stores import has_any_below

        return has_any_below(self._address)

    def read_bytes(self) -> bytes:
        """The whole object, as one version of it was."""
        from bpe.stores import read_whole

        return read_whole(self._address)

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """A seekable stream; reads are ranges, with some read ahead."""
        assert mode == "rb"
        from bpe.stores import StoredFile

        return io.BufferedReader(StoredFile(self._address), READ_AHEAD_BYTES)


Place = Path | StorePath


def parse_place(address: "str | Place") -> Place:
    """The place that people or files name.

    >>> parse_place("s3://bucket//out/"), parse_place("out/ccnews")
    (StorePath('s3://bucket/out'), PosixPath('out/ccnews'))
    """
    if isinstance(address, (Path, StorePath)):
        return address
    return StorePath(address) if is_address(address) else Path(address)


def is_address(text: str) -> bool:
    """Whether a text names something in a store, and nothing on a disk."""
    return "://" in text


def relative_address(place: Place, folder: Place) -> str:
    """How a place is written down in a file of a folder: relative, so that both may be moved together.

    A place that is not on the same disk or in the same bucket is written as it is.

    >>> relative_address(StorePath("s3://b/ccnews"), StorePath("s3://b/sets/mixed"))
    '../../ccnews'
    """
    if isinstance(place, Path) and isinstance(folder, Path):
        return os.path.relpath(place.resolve(), folder.resolve())
    if isinstance(place, StorePath) and isinstance(folder, StorePath) and place.parts[0] == folder.parts[0]:
        return posixpath.relpath("/".join(("", *place.parts[1:])), "/".join(("", *folder.parts[1:])))
    return str(place.resolve())


def resolve_address(text: str, folder: Place) -> Place:
    """The place that `relative_address` wrote down.

    >>> resolve_address("../ccnews", Path("out/mixed")), resolve_address("s3://b/ccnews", Path("out"))
    (PosixPath('out/ccnews'), StorePath('s3://b/ccnews'))
    """
    if is_address(text):
        return StorePath(text)
    return Path(os.path.normpath(folder / text)) if isinstance(folder, Path) else folder / text


def is_same_place(one: Place, other: Place) -> bool:
    """Whether two places are one file; FileNotFoundError where a local one is not there."""
    if isinstance(one, Path) and isinstance(other, Path):
        return one.samefile(other)
    return one == other


def size_of(place: Place) -> int | None:
    """Bytes of a file, None where there is none."""
    if isinstance(place, Path):
        return place.stat().st_size if place.is_file() else None
    from bpe.stores import size_of as size_in_store

    try:
        return size_in_store(str(place))
    except FileNotFoundError:
        return None


def sizes_below(root: Place, folders: tuple[str, ...]) -> dict[str, int | None]:
    """Bytes of all files in these folders of a root and below them, by their names relative to it.

    What is no file, and a link that leads nowhere, has None.
    """
    if isinstance(root, StorePath):
        from bpe.stores import list_sizes

        return {f"{folder}/{name}": n for folder in folders for name, n in list_sizes(f"{root}/{folder}").items()}
    return {
        path.relative_to(root).as_posix(): path.stat().st_size if path.is_file() else None
        for folder in folders
        for path in (root / folder).rglob("*")
        if not path.is_dir()
    }
