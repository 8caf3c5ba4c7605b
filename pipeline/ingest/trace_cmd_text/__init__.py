"""The text that trace-cmd report prints."""
