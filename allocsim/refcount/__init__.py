"""Policies, costs, freezability, and the level of the call stack at which a count is set."""
