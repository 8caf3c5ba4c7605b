"""What a synthetic trace is described by: a TOML file, read and checked."""
