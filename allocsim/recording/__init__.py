"""What a recording says: lives, caches, pages and whose they are, requests made of it."""
