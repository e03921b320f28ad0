"""The store: rows, repositories that start from what the caller may see, and the record of every change."""

from cs_mcp.db.library import settle_on_sqlite

settle_on_sqlite()
