"""Health: rubric, scores and their reasons, overrides, risks, accuracy."""
