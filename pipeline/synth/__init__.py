"""Synthetic traces: what a spec describes, as a trace set that the model itself has placed."""
