"""SLUB: slabs and node partial lists, under sheaves (7.x) or cpu slabs (6.12)."""
