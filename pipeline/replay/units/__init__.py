"""Units of work: a run of a trace each, made here, by processes beside this one, or a cluster."""
