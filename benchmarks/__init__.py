"""Benchmarks: durations as ratios to the limits of the machine; see docs/performance.md."""
