"""Speed, memory and accuracy against the peers: ``python -m tests.benchmarks --help``."""
