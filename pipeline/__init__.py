"""What moves data: recordings into trace sets, trace sets through the model, results to DuckDB."""
