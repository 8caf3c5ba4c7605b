"""What people look at: SQL views, figures and pages, made from a DuckDB connection."""
