"""The ledger, its rollups, and the figures read from them."""
