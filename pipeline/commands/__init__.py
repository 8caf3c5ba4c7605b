"""One small module a command; each only translates options into calls."""
