"""What the program costs, beside what else there is and what the machine can do: `python -m benchmarks`; see docs/performance.md."""
