"""The renewal of a subscription: stages, terms, checkpoints, postings."""
