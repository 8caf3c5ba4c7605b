"""Bytes of recordings, whatever their format: numbers, strings, formats, moments."""
