"""Floor against product, interleaved in one run: `python -m benchmarks` (see `--help`)."""

import os

# As installed without extras, and as the tests speak; `CS_MCP_SQLITE_LIBRARY=extra` measures the other.
os.environ.setdefault("CS_MCP_SQLITE_LIBRARY", "python")

import cs_mcp.db  # noqa: F401 - settles which SQLite this process speaks, before anybody imports `sqlite3`
