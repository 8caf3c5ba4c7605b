"""Readers: from a recording to a trace set."""
