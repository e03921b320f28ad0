"""Tasks as a person says them, and what the store must hold when they are done."""
