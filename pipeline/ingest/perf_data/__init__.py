"""perf.data, from perf record."""
