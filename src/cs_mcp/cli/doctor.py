"""`cs-mcp doctor`: what is wrong with an installation, and what to do about it."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import platform
import shutil
import socket
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import typer

from cs_mcp.cli._run import print_json, refusals, run, settings_of, unreachable
from cs_mcp.config import data_folder
from cs_mcp.domain.errors import CustomerSuccessError

if TYPE_CHECKING:
    from cs_mcp.config import Settings
    from cs_mcp.db.store import Store, StoreUrl

OLDEST_PYTHON: Final = (3, 11)
LOW_SPACE: Final = 500 * 1024 * 1024
NO_SPACE: Final = 50 * 1024 * 1024
SOON: Final = timedelta(days=7)
SICK: Final = 1


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: Literal["ok", "warn", "fail"]
    said: str
    remedy: str | None = None


def doctor(
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The store; else CS_MCP_DB")] = None,
    as_: Annotated[str | None, typer.Option("--as", metavar="EMAIL", help="The person of a stdio server")] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="ID", help="Where the store holds several")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Look at the installation, the store and the hosts' files; say what is wrong and what to do.

    Nothing is changed: no store is made or upgraded, and no key. Exits with 1 where a check fails.
    """
    with refusals():
        settings = settings_of(db=db, user=as_, workspace=workspace)
    found = run(_examined(settings))
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            typer.echo(f"{finding.state:<4}  {finding.check}: {finding.said}")
            if finding.remedy is not None:
                typer.echo(f"      → {finding.remedy}")
    raise typer.Exit(SICK if any(finding.state == "fail" for finding in found) else 0)


async def _examined(settings: Settings) -> list[Finding]:
    found = [*_programs(), *_key(settings)]
    found += [finding async for finding in _store(settings)]
    return [*found, _port(settings), *_hosts()]


# -- programs ---------------------------------------------------------------------------------------------------
def _programs() -> Iterator[Finding]:
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("Python", "ok", platform.python_version())
    else:
        yield Finding("Python", "fail", f"{platform.python_version()} is too old", "Install Python 3.11 or newer.")
    if sys.platform != "win32":
        if importlib.util.find_spec("uvloop") is not None:
            yield Finding("uvloop", "ok", "installed")
        else:
            yield Finding("uvloop", "fail", "not installed", "Install it: pip install --force-reinstall cs-mcp")


def _key(settings: Settings) -> Iterator[Finding]:
    check, shortest = "Token key", 16
    if settings.secret is not None:
        if len(settings.secret) < shortest:
            yield Finding(
                check,
                "warn",
                f"CS_MCP_SECRET has {len(settings.secret)} characters",
                "Use a longer one (python -c 'import secrets; print(secrets.token_hex(32))'). It ends all tokens.",
            )
        else:
            yield Finding(check, "ok", "from CS_MCP_SECRET")
        return
    path = data_folder() / "token.key"
    if not path.exists():
        yield Finding(check, "ok", f"none yet; {path} is made at the first start")
    elif path.stat().st_size == 0:
        yield Finding(check, "fail", f"{path} is empty", "Restore it from a backup; or remove it and make new tokens.")
    elif sys.platform != "win32" and path.stat().st_mode & 0o077:
        mode = stat.filemode(path.stat().st_mode)
        yield Finding(check, "fail", f"others may read {path} ({mode})", f"Run: chmod 600 '{path}'")
    else:
        yield Finding(check, "ok", f"{path}, private")


# -- the store --------------------------------------------------------------------------------------------------
async def _store(settings: Settings) -> AsyncGenerator[Finding, None]:
    from cs_mcp.db.store import StoreUrl, open_store

    try:
        where = StoreUrl.parse(settings.db)
    except CustomerSuccessError as refused:
        yield Finding("Store", "fail", refused.message, refused.remedy)
        return
    ready = True
    if where.is_sqlite:
        for finding in _file(where, settings.sqlite_journal):
            ready = ready and finding.state != "fail" and finding.check != "Schema"
            yield finding
        if not ready or not where.path.exists():
            return
    try:
        store = await open_store(settings.db, sqlite_journal=settings.sqlite_journal)
    except Exception as failure:
        refused = unreachable(failure)
        if refused is None:
            raise
        yield Finding("Store", "fail", refused.message, refused.remedy)
        return
    try:
        yield Finding("Schema", "ok", "that of this version")
        if not where.is_sqlite:
            yield await _walls(store)
        async for finding in _people(store, settings):
            yield finding
    finally:
        await store.close()


def _file(where: StoreUrl, wanted: str) -> Iterator[Finding]:
    """A file is looked at from outside first: opening it would make or upgrade it."""
    from cs_mcp.db.inspection import is_wal_file, sqlite_revision, sqlite_version, wal_is_safe
    from cs_mcp.db.library import of_the_extra
    from cs_mcp.db.migrations import HEAD
    from cs_mcp.db.store import refuse_unknown

    path = where.path
    in_wal = wanted == "wal" or (path.is_file() and is_wal_file(path))
    if in_wal and not wal_is_safe():
        yield Finding(
            "SQLite",
            "fail",
            f"{sqlite_version()} can lose commits in WAL mode, which the store is in or CS_MCP_SQLITE_JOURNAL asks for",
            "Install 'cs-mcp[sqlite]', or set the file to 'PRAGMA journal_mode=truncate' with SQLite 3.51.3 or newer.",
        )
    else:
        whose = "the extra's" if of_the_extra() else "Python's"
        yield Finding("SQLite", "ok", f"{whose} {sqlite_version()}, journal {'WAL' if in_wal else 'TRUNCATE'}")
    yield from _space(path)
    if not path.exists():
        yield Finding("Store", "warn", f"no file at {path} yet", "Run 'cs-mcp workspace create NAME', or give --db.")
        return
    yield _rights(path)
    try:
        revision = sqlite_revision(path)
        refuse_unknown(revision)
    except CustomerSuccessError as refused:
        yield Finding("Schema", "fail", refused.message, refused.remedy)
        return
    except Exception as failure:
        yield Finding("Store", "fail", f"{path} cannot be opened: {failure}", "Check the path, and who may use it.")
        return
    if revision != HEAD:
        yield Finding(
            "Schema",
            "warn",
            f"{revision or 'empty'}, older than this version's {HEAD}",
            "Run 'cs-mcp db backup FILE', then 'cs-mcp db upgrade'; else the next start upgrades it.",
        )


def _space(path: Path) -> Iterator[Finding]:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        yield Finding("Store", "fail", f"{folder} is no folder", "Name another path with --db or CS_MCP_DB.")
        return
    free = shutil.disk_usage(folder).free
    size = path.stat().st_size if path.is_file() else 0
    said = f"{free / 2**30:,.1f} GiB free for a store of {size / 2**20:,.1f} MiB"
    if free < NO_SPACE:
        yield Finding("Disk", "fail", said, "Make room: writes are refused on a full disk.")
    elif free < max(LOW_SPACE, 2 * size):
        yield Finding("Disk", "warn", said, "Make room: an upgrade or a backup takes as much again.")
    else:
        yield Finding("Disk", "ok", said)


def _rights(path: Path) -> Finding:
    if not path.is_file():
        return Finding("Store", "fail", f"{path} is no file", "Name a file with --db sqlite:///path/to/file.db.")
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        return Finding(
            "Store",
            "fail",
            f"you may not write {path} or its folder",
            "Become its owner, or give yourself the right: SQLite keeps its journal beside the file.",
        )
    open_to_all = path.stat().st_mode & 0o044 and path.parent.stat().st_mode & 0o011
    if sys.platform != "win32" and open_to_all:
        return Finding("Store", "warn", f"others may read {path}", f"Run: chmod 600 '{path}'")
    return Finding("Store", "ok", str(path))


async def _walls(store: Store) -> Finding:
    from cs_mcp.db.inspection import unwalled_tables

    if bare := await unwalled_tables(store):
        return Finding(
            "Row-level security",
            "fail",
            f"not forced on {', '.join(bare)}: one workspace could read another's",
            "As the schema's owner, for each: ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY.",
        )
    return Finding("Row-level security", "ok", "forced on every table, under a role that owns none")


async def _people(store: Store, settings: Settings) -> AsyncGenerator[Finding, None]:
    from cs_mcp.services.identity import Identity

    identity = Identity(store, b"")  # nothing is signed here, so no key is read or made
    try:
        workspace = await identity.the_workspace(settings.workspace)
    except CustomerSuccessError as refused:
        several = settings.workspace is None and len(await store.workspaces()) > 1
        yield Finding("Workspace", "warn" if several else "fail", refused.message, refused.remedy)
        return
    yield Finding("Workspace", "ok", workspace)
    members = await identity.members(workspace)
    if settings.user is None:
        yield Finding("Person", "ok", "none named: a stdio server needs --as or CS_MCP_USER")
    else:
        named = next((one for one in members if one.email == settings.user.strip().casefold()), None)
        if named is None or not named.active:
            why = "is inactive" if named is not None else "is no user of the workspace"
            remedy = "Name another with --as or CS_MCP_USER ('cs-mcp user list'), or add them: 'cs-mcp user add'."
            yield Finding("Person", "fail", f"{settings.user} {why}", remedy)
        else:
            yield Finding("Person", "ok", f"{named.name}: {named.role.value}, sees {named.reach.value}")
    has_key = settings.secret is not None or (data_folder() / "token.key").exists()
    yield _tokens(await identity.tokens(workspace), store.clock.now(), has_key=has_key)


def _tokens(tokens: list[Any], now: datetime, *, has_key: bool) -> Finding:
    standing = [token for token in tokens if token["revoked_at"] is None]
    expired = [token["label"] for token in standing if token["expires_at"] <= now]
    soon = [token["label"] for token in standing if now < token["expires_at"] <= now + SOON]
    said = f"{len(standing) - len(expired)} live"
    if len(standing) > len(expired) and not has_key:
        return Finding(
            "Tokens",
            "fail",
            f"{said}, and the key they were made with is not here",
            "Put token.key back where it was, or set CS_MCP_SECRET to it; with another key all tokens are void.",
        )
    if not expired and not soon:
        return Finding("Tokens", "ok", said)
    told = [f"{len(expired)} expired ({', '.join(expired[:5])})"] if expired else []
    told += [f"{len(soon)} expire within {SOON.days} days ({', '.join(soon[:5])})"] if soon else []
    remedy = "Make new ones with 'cs-mcp token create', and revoke the old: 'cs-mcp token revoke ID'."
    return Finding("Tokens", "warn", f"{said}; {'; '.join(told)}", remedy)


# -- around it --------------------------------------------------------------------------------------------------
def _port(settings: Settings) -> Finding:
    place = f"{settings.host}:{settings.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as ours:
            if sys.platform != "win32":
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind(address)
    except OSError as taken:
        if taken.errno == errno.EADDRINUSE and _answers(settings):
            return Finding("Port", "ok", f"a cs-mcp serves on {place}")
        return Finding("Port", "warn", f"{place} cannot be used: {taken.strerror}", "Stop what listens, or set --port.")
    return Finding("Port", "ok", f"{place} is free")


def _answers(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"http://{settings.host}:{settings.port}/health", timeout=3) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _hosts() -> Iterator[Finding]:
    from cs_mcp.cli.hosts import HOSTS

    for host in HOSTS.values():
        path = host.file()
        if not path.is_file():
            continue
        try:
            said: Any = json.loads(path.read_text(encoding="utf-8-sig") or "{}")
        except (OSError, ValueError) as wrong:
            yield Finding(host.title, "warn", f"{path} cannot be read as JSON: {wrong}", "Mend the file.")
            continue
        servers: Any = cast("dict[str, Any]", said).get(host.section) if isinstance(said, dict) else None
        ours = {n: e for n, e in servers.items() if _is_ours(e)} if isinstance(servers, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        for name, entry in cast("dict[str, Any]", ours).items():
            program = entry["command"]
            if shutil.which(program) is None:
                key = next(key for key, known in HOSTS.items() if known is host)
                remedy = f"Write it anew: cs-mcp connect {key} --as EMAIL --name {name} --write"
                yield Finding(host.title, "fail", f"{path}: {name} starts {program}, which is not there", remedy)
            else:
                yield Finding(host.title, "ok", f"{path}: {name} starts {program}")


def _is_ours(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(command := cast("dict[str, Any]", entry).get("command"), str):
        return False
    arguments: Any = cast("dict[str, Any]", entry).get("args") or []
    return "cs-mcp" in Path(command).name or "cs_mcp" in arguments or "cs-mcp" in arguments
