"""The catalogue of facts, and conditions over them and their history."""
