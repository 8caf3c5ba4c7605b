"""A trace set through the model and into the store: recorded, simulated, swept, compared."""
