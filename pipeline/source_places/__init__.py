"""Where call sites lie in the kernel's sources: by a vmlinux with DWARF, or by function name."""
