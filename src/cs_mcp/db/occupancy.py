"""Who has a SQLite file open. With a rollback journal an idle connection holds no lock, so each process says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from cs_mcp.domain.errors import Conflict, StoreUnusable


def lock_path(path: Path) -> Path:
    """The empty file that is locked in place of the store: closing a second handle of the store's own file would drop
    the locks SQLite holds on it (sqlite.org/howtocorrupt.html, 2.2).
    """
    return path.with_name(path.name + ".lock")


if sys.platform == "win32":
    # Windows refuses to replace a file that anybody has open, so it needs no lock of ours.

    def occupy(path: Path) -> Callable[[], None]:  # noqa: ARG001
        return lambda: None

    @contextmanager
    def alone(path: Path) -> Generator[None, None, None]:  # noqa: ARG001
        yield

else:
    import fcntl

    def occupy(path: Path) -> Callable[[], None]:
        """Say that this process uses the store; call what is given back when it no longer does.

        Raises StoreUnusable while the store is being replaced.
        """
        try:
            handle = _opened(path)
        except OSError:
            return lambda: None  # a folder that is missing or read-only: there is nothing to replace
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreUnusable(f"{path} is being restored.", remedy="Start again when the restore is done.") from None
        # A file object, because closing it twice is harmless.
        return os.fdopen(handle).close

    @contextmanager
    def alone(path: Path) -> Generator[None, None, None]:
        """Nobody else uses the store, nor can begin to. Raises Conflict where somebody does."""
        handle = _opened(path)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"{path} is in use by a running cs-mcp.",
                    remedy="Stop its servers (hosts such as Claude Desktop run one each), then restore.",
                ) from None
            yield
        finally:
            os.close(handle)

    def _opened(path: Path) -> int:
        return os.open(lock_path(path), os.O_RDWR | os.O_CREAT, 0o600)
