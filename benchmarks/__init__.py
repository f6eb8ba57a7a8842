"""How long things take, as ratios to what the machine can do at best; see docs/performance.md."""
