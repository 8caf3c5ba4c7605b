"""What a recording does not hold, or what is not taken from it, and how that is said."""
