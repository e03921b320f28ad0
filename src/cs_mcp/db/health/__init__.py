"""Scores, rubrics, overrides, risks and notes."""
