"""The command line. `serve` is started by programs that wait for it, so it goes around what the others need."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line, and give its exit code."""
    if arguments[:1] == ["serve"]:
        from cs_mcp.cli.serve import serve

        return serve(arguments[1:])
    from cs_mcp.cli.commands import app

    app(list(arguments), prog_name="cs-mcp")
    return 0
