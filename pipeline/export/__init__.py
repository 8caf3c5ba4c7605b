"""Results in the forms of other people's tools."""
