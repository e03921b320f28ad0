"""What the outside relies on: tools as callers see them, who may call them, and text kept as data."""
