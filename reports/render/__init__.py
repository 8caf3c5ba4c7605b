"""A document as text, HTML and PDF, and how figures and words look."""
