"""Text of events: what the readers of text share."""
