"""The text that tracefs prints."""
