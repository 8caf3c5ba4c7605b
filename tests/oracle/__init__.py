"""The kernel's rules written the plain way, one event at a time: what the model must equal."""
