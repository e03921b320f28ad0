"""How far a long write has come, on stderr: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_A_LINE: Final = 5.0


class Bar:
    """Called with how many of `total` are done."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._told_at = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True, markup=False))
            self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, /) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif done == self._total or time.monotonic() - self._told_at > _SECONDS_A_LINE:
            self._told_at = time.monotonic()
            print(f"{self._what}: {done:,} of {self._total:,}", file=sys.stderr)
