"""What a follower sees when it looks: files that are new and complete, and files that are not as they were.

In: a listing, and the files that windows are made of already. Out: a `Sight`. The rule: a file on a local disk is
complete when nobody has written to it for a while; one in a store or on the web is when it is listed.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines.inputs import InputFile
from pipelines.storage import is_url


class Sight(NamedTuple):
    """Files by what is to be done with them."""

    pending: tuple[InputFile, ...]  # complete, and of no window yet
    unsettled: tuple[InputFile, ...]  # perhaps still being written
    changed: tuple[str, ...]  # names of files that have another size than when they were taken


class _Seen(NamedTuple):
    n_bytes: int
    modified_ns: int
    since: float  # on the monotonic clock


class Watcher:
    """Looks at a listing again and again."""

    def __init__(self, list_files: Callable[[], list[InputFile]], *, settle_s: float) -> None:
        self._list_files, self._settle_s = list_files, settle_s
        self._seen: dict[str, _Seen] = {}  # of local files that were not complete at the last look
        self._pending_since: dict[str, float] = {}

    def look(self, taken: Mapping[str, int]) -> Sight:
        """One look; raises OSError or ValueError where the listing cannot be had."""
        pending, unsettled, changed = [], [], []
        for file in self._list_files():
            is_new = file.name not in taken
            sized = file if is_url(file.location) else self._with_size(file, may_wait=is_new)
            if sized is None:
                continue  # it has gone since it was listed
            if not is_new:
                if sized.n_bytes is not None and sized.n_bytes != taken[file.name]:
                    changed.append(file.name)
            elif file.location in self._seen:
                unsettled.append(sized)
            else:
                pending.append(sized)
        now = time.monotonic()
        names = {file.name for file in pending}
        self._pending_since = {name: self._pending_since.get(name, now) for name in names}
        return Sight(tuple(sorted(pending)), tuple(sorted(unsettled)), tuple(sorted(changed)))

    @property
    def oldest_pending_at(self) -> float | None:
        """When the pending file that has waited longest was first seen, on the monotonic clock."""
        return min(self._pending_since.values(), default=None)

    def _with_size(self, file: InputFile, *, may_wait: bool) -> InputFile | None:
        try:
            status = Path(file.location).stat()
        except FileNotFoundError:
            self._seen.pop(file.location, None)
            return None
        if may_wait:
            self._note(file.location, status.st_size, status.st_mtime_ns)
        return file._replace(n_bytes=status.st_size)

    def _note(self, location: str, n_bytes: int, modified_ns: int) -> None:
        """Keeps a file in mind until it is complete; a clock that is ahead of ours only makes it wait for a look."""
        now, before = time.monotonic(), self._seen.get(location)
        if before is None or (before.n_bytes, before.modified_ns) != (n_bytes, modified_ns):
            before = _Seen(n_bytes, modified_ns, now)
        is_old = 0 <= modified_ns <= time.time_ns() - self._settle_s * 1e9
        if is_old or now - before.since >= self._settle_s:
            self._seen.pop(location, None)
        else:
            self._seen[location] = before
