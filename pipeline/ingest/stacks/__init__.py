"""Stacks, and the symbols of the addresses on them."""
