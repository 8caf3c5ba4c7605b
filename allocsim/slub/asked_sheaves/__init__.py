"""Sheaves in caches that ask, above cpu slabs in all: 6.18 and 6.19 (R3.45)."""
