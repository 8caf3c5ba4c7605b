"""What memory descriptors would save or cost, and their own caches."""
