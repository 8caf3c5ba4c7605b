"""Units of work: runs kept as folders of Parquet, until they are merged into a database."""
