"""Runs one command: its event loop, its settings, its store, and its refusals in words."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from cs_mcp.config import Settings
from cs_mcp.domain.errors import CustomerSuccessError, Invalid, StoreUnusable

if TYPE_CHECKING:
    from cs_mcp.db.store import Store
    from cs_mcp.domain.identity import Principal
    from cs_mcp.services.wiring import Services

REFUSED: Final = 2
INTERRUPTED: Final = 130
# By name, because importing SQLAlchemy only to read them would slow every command.
_NO_ANSWER: Final = frozenset({"OperationalError", "InterfaceError", "ArgumentError", "NoSuchModuleError"})

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine to its end. A refusal is said on stderr and exits with 2; Ctrl-C exits with 130."""
    with refusals(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


@contextmanager
def refusals() -> Generator[None, None, None]:
    """What a person can put right is said in words; anything else rises with its traceback."""
    try:
        yield
    except CustomerSuccessError as refused:
        _refuse(refused)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has read enough; the rest of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as failure:
        if (refused := unreachable(failure)) is None:
            raise
        _refuse(refused)


def _refuse(refused: CustomerSuccessError) -> None:
    print(f"{refused.message}\n{refused.remedy}", file=sys.stderr)
    sys.exit(REFUSED)


def unreachable(failure: Exception) -> CustomerSuccessError | None:
    """A store that does not answer: no server there, a wrong password, a folder without permission, a full disk."""
    if isinstance(failure, CustomerSuccessError):
        return failure
    if isinstance(failure, OSError):
        return StoreUnusable(f"Out of reach: {failure}.", remedy="Check the address or path, and who may use it.")
    if isinstance(failure, ModuleNotFoundError) and failure.name == "asyncpg":
        return StoreUnusable(
            "PostgreSQL needs the driver asyncpg.", remedy="Install it: pip install 'cs-mcp[postgres]'."
        )
    home, kind = type(failure).__module__.partition(".")[0], type(failure).__name__
    if home == "asyncpg" or (home == "sqlalchemy" and kind in _NO_ANSWER):
        first_line = str(getattr(failure, "orig", None) or failure).partition("\n")[0]
        return StoreUnusable(
            f"The store cannot be opened: {first_line}.",
            remedy="Check --db or CS_MCP_DB: its address, its user, and whether the server runs.",
        )
    return None


def settings_of(**given: Any) -> Settings:
    """The settings, with what the command line gave in place of the environment's."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(
            f"The setting {field} is not usable: {first['msg']}, got {str(first['input'])[:80]!r}.",
            remedy=f"Correct the option or the variable CS_MCP_{field.upper()}.",
        ) from wrong


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Services, None]:
    """The use cases over the store that the settings name; closed at the end, whatever happens."""
    from cs_mcp.services.identity import token_secret
    from cs_mcp.services.wiring import Services

    async with _store(settings) as store:
        yield Services(store, token_secret(settings))


@asynccontextmanager
async def operated(settings: Settings) -> AsyncGenerator[tuple[Store, Principal], None]:
    """The store and its operator, for a command of one use case: it waits for none of the others, nor holds them."""
    from cs_mcp.services.identity import Identity, token_secret

    async with _store(settings) as store:
        identity = Identity(store, token_secret(settings))
        yield store, await identity.operator(await identity.the_workspace(settings.workspace))


@asynccontextmanager
async def _store(settings: Settings) -> AsyncGenerator[Store, None]:
    from cs_mcp.db.store import open_store

    store = await open_store(settings.db, sqlite_journal=settings.sqlite_journal)
    try:
        yield store
    finally:
        await store.close()


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their widest value; no frame, so that lines can be cut and searched."""
    lines = [list(headings), *([str(cell) if cell is not None else "" for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
