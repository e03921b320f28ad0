"""The ledger of ARR, and every figure that follows from it."""
