"""trace.dat, from trace-cmd."""
