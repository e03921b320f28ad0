"""The facts behind a review or a reply."""
