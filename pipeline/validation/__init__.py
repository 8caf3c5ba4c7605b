"""The model against what the recorded kernel itself counted."""
