"""What commands print: the sentence first, in at most 100 columns."""
