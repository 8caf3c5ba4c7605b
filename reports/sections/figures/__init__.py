"""What sections draw."""
