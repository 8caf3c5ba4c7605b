"""What a kernel version fixes: profiles, settings, and what is a release's own."""
