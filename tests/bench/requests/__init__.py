"""The benchmark of requests: this stack beside what a user would pick instead. `python -m tests.bench requests`."""
