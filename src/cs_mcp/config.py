"""Settings, from the environment (`CS_MCP_…`) and from options of the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def data_folder() -> Path:
    """Where this user's programs keep data, by the platform's custom."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "cs_mcp"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/cs_mcp").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "cs_mcp"


def default_store() -> str:
    return f"sqlite:///{data_folder() / 'cs_mcp.db'}"


class Settings(BaseSettings):
    """Each field is also a `CS_MCP_` variable; an option on the command line wins over it."""

    model_config = SettingsConfigDict(env_prefix="CS_MCP_", extra="ignore")

    db: str = Field(default_factory=default_store, description="The store: sqlite:///path or postgresql://user@host/db")
    user: str | None = Field(default=None, description="Who a stdio server acts as: an e-mail (option --as)")
    workspace: str | None = Field(default=None, description="The workspace, where the store holds several")
    secret: str | None = Field(
        default=None,
        description="Key of the HMAC that tokens are stored under; without it one is kept in a file beside the data",
    )
    link_base: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="Where people open records, e.g. https://crm.example.com; search links to them under it",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on")
    port: int = Field(default=8930, description="Port to listen on; 0 takes a free one")
    allowed_hosts: list[str] = Field(
        default=[], description="Host headers to accept, as JSON; required when listening beyond this machine"
    )
    allowed_origins: list[str] = Field(default=[], description="Origin headers to accept, as JSON")
    profile: Literal["csm", "leader", "agent", "all"] = Field(
        default="csm", description="Which tools are offered: csm is what a day with customers needs"
    )
    toolsets: list[str] = Field(default=[], description="Toolsets to offer instead of the profile's, as JSON")
    tools: list[str] = Field(default=[], description="Single tools to offer beside them, as JSON")
    read_only: bool = Field(default=False, description="List and run no write")
    sqlite_journal: Literal["auto", "truncate", "wal"] = Field(
        default="auto", description="Journal of a SQLite store; wal only where its library is safe with it"
    )
    # Followed before settings are read, by db/library.py: here it is checked and told.
    sqlite_library: Literal["extra", "python"] = Field(
        default="extra", description="Which SQLite to use: that of the sqlite extra, where installed, or Python's own"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="WARNING", description="Log level (stderr)")
