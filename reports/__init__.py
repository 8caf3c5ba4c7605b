"""What people look at: SQL views, figures and pages, made from a DuckDB connection."""

#: By this allocsim/__init__.py knows that no other package of the name lies over this one.
PART_OF = "allocsim"
