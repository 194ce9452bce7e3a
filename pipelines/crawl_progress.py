"""What a person sees of a crawl: a live bar on a terminal, a line per interval elsewhere."""

import sys
import time
from collections import Counter

from tqdm import tqdm

from pipelines.crawl_outcomes import FETCHED, Outcome

LINE_INTERVAL_S = 10.0


class CrawlProgress:
    """Counts outcomes and shows them on stderr; `total` tasks are the whole."""

    def __init__(self, total: int, *, shown: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        self.n_earlier = 0  # done by earlier runs
        self._total = total
        self._shown = shown
        self._began = self._last = time.monotonic()
        self._bar = tqdm(
            total=total, unit="url", unit_scale=True, dynamic_ncols=True, desc="fetch", file=sys.stderr,
        ) if shown and sys.stderr.isatty() else None  # fmt: skip

    @property
    def n_done(self) -> int:
        return self.n_earlier + self.counts.total()

    def add(self, outcome: Outcome | None, n_tasks: int) -> None:
        """Counts tasks that have their outcome now; None: from an earlier run."""
        if outcome is None:
            self.n_earlier += n_tasks
        else:
            self.counts[outcome.outcome] += n_tasks
        if self._bar is not None:
            self._bar.update(n_tasks)
            self._bar.set_postfix_str(self._words(), refresh=False)
        elif self._shown and time.monotonic() - self._last >= LINE_INTERVAL_S:
            self._last = time.monotonic()
            share = 100 * self.n_done / max(self._total, 1)
            sys.stderr.write(f"fetch {share:.0f}% urls={self.n_done:,} {self._words()}\n")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _words(self) -> str:
        fetched, new = self.counts[FETCHED], self.counts.total()
        rate = new / max(time.monotonic() - self._began, 1e-3)
        return f"fetched={fetched:,} not={new - fetched:,} urls/s={rate:.1f}"
