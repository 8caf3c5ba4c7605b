"""What moves data: recordings into trace sets, trace sets through the model, results to DuckDB."""

#: By this allocsim/__init__.py knows that no other package of the name lies over this one.
PART_OF = "allocsim"
