"""Floor against product, interleaved in one run: `python -m benchmarks` (see `--help`)."""

import cs_mcp.db  # noqa: F401 - settles which SQLite this process speaks, before anybody imports `sqlite3`
