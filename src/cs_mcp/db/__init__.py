"""The store: rows, repositories that start from what the caller may see, and the record of every change."""
