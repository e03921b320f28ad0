"""Days of usage and their rollup."""
