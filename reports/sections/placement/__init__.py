"""Where the model, or the kernel, put objects and pages."""
