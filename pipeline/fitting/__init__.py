"""Fitting: a spec of a recorded trace, and how far its synthetic trace is from it."""
