"""The benchmarks of requests and of sync: `python -m tests.bench`."""
