"""Two sides: what differs between them, and by more than its noise."""
