"""`cs-mcp`, and `python -m cs_mcp`."""

from __future__ import annotations

import sys


def main() -> None:
    from cs_mcp.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
