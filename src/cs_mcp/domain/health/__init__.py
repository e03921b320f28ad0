"""The rubric, the arithmetic of a score, what moved it, and how true it was."""
