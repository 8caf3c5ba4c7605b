"""What an event and a result are: names, dtypes, units."""
