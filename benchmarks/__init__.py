"""Figures of chicory: throughput, latency, memory, idle cost. See ``docs/benchmarks.md``."""
