"""A made-up book of any size: customers with histories that hang together, the same for the same seed and day."""
