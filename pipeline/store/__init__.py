"""The results database: its schema and the loading of it."""
