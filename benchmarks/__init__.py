"""Floor against product, interleaved in one run: `python -m benchmarks` (see `--help`)."""
