"""Every error a user can cause, with the exit code it ends in.

The command line turns an AllocsimError into one line on stderr; nothing else is caught there.
"""

from __future__ import annotations


class AllocsimError(Exception):
    """An error with one line for the user: what is wrong, where, and what to do next."""

    exit_code = 1


class UsageError(AllocsimError):
    """The command was called wrongly: an unknown name, an option out of range."""

    exit_code = 2


class InputError(AllocsimError):
    """An input file is missing, damaged, or not of the kind it should be."""


class OutputError(AllocsimError):
    """A result could not be written: disk full, folder read-only, file already there."""


class StoreError(AllocsimError):
    """A results database cannot be used: another schema version, not a results database."""


class BusyError(StoreError):
    """A results database that another process has open."""
