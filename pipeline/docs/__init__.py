"""Pages made from the code, and the rulebook as data."""
