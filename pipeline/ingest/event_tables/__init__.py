"""Folders of tables, one an event, as LISA's trace-dump writes them."""
