"""`cs-mcp connect`: a host's configuration for a server of ours, printed, or merged into the host's file."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from urllib.parse import urlsplit

import typer

from cs_mcp.cli._run import print_json, refusals, settings_of
from cs_mcp.cli.hosts import HOSTS, NAME, Entry, Host, Local, Remote
from cs_mcp.domain.errors import Conflict, Invalid

if TYPE_CHECKING:
    from cs_mcp.config import Settings

TOKEN_ENV: Final = "CS_MCP_TOKEN"  # noqa: S105 - the name of a variable
_CHATGPT: Final = """\
ChatGPT connects to {url} from its own servers, so the address must be public and HTTPS with a known certificate.
  1. In ChatGPT: Settings, Apps & Connectors, Advanced settings: turn on Developer mode.
  2. Create a connector with the URL {url}.
  3. Choose how it signs in. ChatGPT offers OAuth or nothing, and cs-mcp takes bearer tokens alone: put a gateway in
     front that signs people in by OAuth and passes a cs-mcp token on. Without one this connection cannot be made yet.
A gateway that signs nobody in would open the whole book to whoever finds the address."""


class HostName(StrEnum):
    claude_desktop = "claude-desktop"
    claude_code = "claude-code"
    cursor = "cursor"
    vscode = "vscode"
    chatgpt = "chatgpt"


@dataclass(frozen=True, slots=True)
class Merged:
    changed: bool
    backup: Path | None


def connect(
    host: Annotated[HostName, typer.Argument(help="Whom to connect")],
    as_: Annotated[str | None, typer.Option("--as", metavar="EMAIL", help="Whom a local server acts as")] = None,
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The store; else CS_MCP_DB")] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="ID", help="Where the store holds several")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="A server on HTTP instead, such as https://…/mcp")] = None,
    token_env: Annotated[
        str, typer.Option("--token-env", metavar="NAME", help="With --url: the variable that holds the token")
    ] = TOKEN_ENV,
    embed_token: Annotated[
        bool, typer.Option("--embed-token", help="Put the token itself, from that variable, into the configuration")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="What the host calls the server")] = NAME,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Another file than the host's")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Merge it into the host's file, which is backed up")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Print what connects a host to this store, or write it into the host's configuration.

    Without --url the host starts a server of its own, as the person named by --as. With --url it uses one on HTTP; the
    token stays in the environment (VS Code asks for it) unless --embed-token is given. Writing twice changes nothing.
    """
    with refusals():
        if host is HostName.chatgpt:
            _chatgpt(url, write, as_json)
            return
        known = HOSTS[host]
        settings = settings_of(db=db, user=as_, workspace=workspace)
        inputs: list[Entry] = []
        if url is None:
            server: Local | Remote = Local(_command(settings))
        else:
            _checked_url(url)
            server, inputs = _remote(known, url, name, token_env, embed_token)
        entry = known.entry(server)
        path = config or known.file()
        merged = merge(path, known.section, name, entry, inputs) if write else None
    wanted = {known.section: {name: entry}} | ({"inputs": inputs} if inputs else {})
    if as_json:
        told: dict[str, Any] = {"host": host.value, "file": str(path), "configuration": wanted}
        if merged is not None:
            told |= {"changed": merged.changed, "backup": str(merged.backup) if merged.backup else None}
        print_json(told)
    elif merged is not None:
        _tell(known, path, merged)
    else:
        _print(host, path, name, server, wanted)
    if not as_json and isinstance(server, Remote) and not embed_token:
        asks = "VS Code asks for the token once." if inputs else f"Set {token_env} to the token where the host starts."
        typer.echo(f"{asks} Make one: cs-mcp token create EMAIL --label '{known.title}'")


# -- what to say ------------------------------------------------------------------------------------------------
def _print(host: HostName, path: Path, name: str, server: Local | Remote, wanted: dict[str, Any]) -> None:
    if host is HostName.claude_code and isinstance(server, Local):
        typer.echo(shlex.join(["claude", "mcp", "add", "--scope", "user", name, "--", *server.command]))
        typer.echo(f"\nOr, for this folder alone, in {path}:", err=True)
    else:
        typer.echo(f"In {path} (--write does it):", err=True)
    typer.echo(json.dumps(wanted, indent=2, ensure_ascii=False))


def _tell(known: Host, path: Path, merged: Merged) -> None:
    if not merged.changed:
        typer.echo(f"{path} says so already.")
        return
    kept = f" What it said before is {merged.backup}." if merged.backup else ""
    typer.echo(f"Wrote {path}.{kept} Restart {known.title} to see the tools.")


def _chatgpt(url: str | None, write: bool, as_json: bool) -> None:
    if write:
        raise Invalid("ChatGPT keeps its connectors on its own servers.", remedy="Leave --write out for the steps.")
    if url is None or urlsplit(url).scheme != "https":
        raise Invalid(
            f"ChatGPT cannot reach {url or 'a local server'}: it connects to public HTTPS addresses alone.",
            remedy="Give --url https://HOST/mcp, where a reverse proxy passes requests to 'cs-mcp serve --http'.",
        )
    steps = _CHATGPT.format(url=url)
    print_json({"host": "chatgpt", "url": url, "steps": steps.splitlines()}) if as_json else typer.echo(steps)


# -- the server -------------------------------------------------------------------------------------------------
def _command(settings: Settings) -> list[str]:
    """A command that works from any folder and says all it needs."""
    if settings.user is None:
        raise Invalid("A local server needs to know whom it acts as.", remedy="Add --as EMAIL ('cs-mcp user list').")
    script = Path(sys.executable).with_name("cs-mcp.exe" if sys.platform == "win32" else "cs-mcp")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "cs_mcp"]
    chosen = ["--workspace", settings.workspace] if settings.workspace else []
    return [*program, "serve", "--db", _spelled_out(settings.db), "--as", settings.user, *chosen]


def _spelled_out(db: str) -> str:
    from cs_mcp.db.store import StoreUrl

    where = StoreUrl.parse(db)
    if where.is_sqlite:
        return f"sqlite:///{where.path.resolve()}"
    if where.url.password is not None:
        raise Invalid(
            "The address of the store holds a password, which would lie in the host's file in clear.",
            remedy="Keep the password in ~/.pgpass, which the driver reads, and leave it out of --db.",
        )
    return db


def _checked_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"{url!r} is no address of a server.", remedy="Give it whole: http://127.0.0.1:8930/mcp.")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Invalid(
            f"{url} would send the token over the network in clear.", remedy="Use https:// beyond this machine."
        )


def _remote(known: Host, url: str, name: str, token_env: str, embed: bool) -> tuple[Remote, list[Entry]]:
    if known.remote is None:
        raise Invalid(
            f"{known.title} starts its servers itself; its remote connectors want OAuth, which cs-mcp does not speak.",
            remedy="Leave --url out and name the person with --as EMAIL.",
        )
    if embed:
        if not (token := os.environ.get(token_env)):
            raise Invalid(f"The variable {token_env} is not set.", remedy=f"Put the token in {token_env} first.")
        return Remote(url, token), []
    if known.variable is not None:
        return Remote(url, known.variable(token_env)), []
    prompt = f"{name}-token"
    asked = {"type": "promptString", "id": prompt, "description": f"Token of {name}", "password": True}
    return Remote(url, f"${{input:{prompt}}}"), [asked]


# -- the host's file --------------------------------------------------------------------------------------------
def merge(path: Path, section: str, name: str, entry: Entry, inputs: list[Entry]) -> Merged:
    """Make the file say `entry` under `name`, and leave everything else in it as it is.

    Raises Conflict where the file cannot be understood: then nothing is written.
    """
    path = path.expanduser().resolve()  # a link stays a link
    before = _read(path)
    said = cast("dict[str, Any]", json.loads(json.dumps(before)))
    servers = said.setdefault(section, {})
    if not isinstance(servers, dict):
        raise Conflict(f"{path}: {section!r} is no object.", remedy="Mend the file, or name another with --config.")
    servers[name] = entry
    if inputs:
        asked = said.setdefault("inputs", [])
        if not isinstance(asked, list):
            raise Conflict(f"{path}: 'inputs' is no list.", remedy="Mend the file, or name another with --config.")
        for ours in inputs:
            _put(cast("list[Any]", asked), ours)
    if said == before:
        return Merged(False, None)
    backup = None
    if path.exists():
        backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.bak")
        shutil.copy2(path, backup)
    _replace(path, json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    return Merged(True, backup)


def _put(listed: list[Any], ours: Entry) -> None:
    """In the place of the one with its id, or else at the end."""
    for place, one in enumerate(listed):
        if isinstance(one, dict) and cast("Entry", one).get("id") == ours["id"]:
            listed[place] = ours
            return
    listed.append(ours)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    by_hand = "Mend the file, or leave --write out and add the lines that are printed by hand."
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise Conflict(f"{path} is not UTF-8 text.", remedy=by_hand) from wrong
    try:
        said: Any = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as wrong:
        where = f"line {wrong.lineno}, column {wrong.colno}"
        hint = " Comments are no JSON." if "//" in text or "/*" in text else ""
        raise Conflict(f"{path} is not plain JSON ({where}: {wrong.msg}).{hint}", remedy=by_hand) from wrong
    if not isinstance(said, dict):
        raise Conflict(f"{path} holds no JSON object.", remedy=by_hand)
    return cast("dict[str, Any]", said)


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, with the rights the file had; a new one is private."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.chmod(mode)
    partial.replace(path)
