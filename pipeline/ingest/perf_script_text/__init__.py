"""The text that perf script prints."""
