"""TOML that comes with allocsim or is the user's own: read with checks, and written."""
