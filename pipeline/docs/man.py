"""The manual page allocsim.1, made from the command line as the pages of docs/commands are.

In the macros of man(7), which man-db and mandoc both set.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from allocsim import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Rows = Sequence[tuple[str, str, str]]  # an argument or option, its default, what it is

_EXAMPLES = (
    ("Record a workload, with snapshots of what the kernel says of its memory, as root:",
     "allocsim record -o mine COMMAND"),
    ("Replay it, and read the answers:",
     "allocsim replay mine --db mine.duckdb && allocsim report --db mine.duckdb"),
    ("Ask anything else:", 'allocsim sql --db mine.duckdb "from policy_summary"'),
    ("What would other sheaf capacities do?",
     "allocsim sweep mine --vary sheaf.capacity=4,12,28,60"),
)  # fmt: skip


def man_page(about: str, exits: str, commands: Iterable[tuple[str, str, str, Rows]]) -> str:
    """The page.

    Args:
        about: what allocsim does, a sentence.
        exits: what is said of exit codes.
        commands: of each its usage, its sentence, the rest that its help says, and its arguments
            and options.
    """
    parts = [
        f'.TH ALLOCSIM 1 "" "allocsim {__version__}" "User Commands"',
        ".SH NAME",
        f"allocsim \\- {_escaped(about[:1].lower() + about[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B allocsim\n.RI [ OPTIONS ]\n.I COMMAND\n.RI [ ARGUMENTS ]",
        ".SH DESCRIPTION",
        *_paragraphs(
            "allocsim replays recordings of kmem events (trace.dat, perf.data, the text of tracefs)"
            " through a model of SLUB and of the page allocator, into a results database that"
            " reports, comparisons and SQL read. Each figure says how it is known: observed,"
            " inferred, or assumed, and then as a range."
        ),
        ".SH COMMANDS",
    ]
    for usage, sentence, more, rows in commands:
        parts += [f".SS {_escaped(usage)}", *_paragraphs(f"{sentence}\n\n{more}")]
        for spelled, default, doc in rows:
            given = f" Default: {default}." if default else ""
            parts += [".TP", f".B {_escaped(spelled)}", _escaped(doc + given)]
    parts += [".SH EXIT STATUS", *_paragraphs(exits), ".SH EXAMPLES"]
    for what, how in _EXAMPLES:
        parts += [".TP", _escaped(what), _escaped(how)]
    parts += [
        ".SH FILES",
        ".TP\n.I out/results.duckdb\nThe results database where no other is named with \\-\\-db.",
        ".SH SEE ALSO",
        ".BR trace\\-cmd\\-record (1),\n.BR perf\\-record (1),\n.BR slabinfo (5)",
    ]
    return "\n".join(parts) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text, behind a heading."""
    parts = filter(None, (part.strip() for part in re.split(r"\n\s*\n", text)))
    for number, paragraph in enumerate(parts):
        if number:
            yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    """Text in which nothing is a request or an escape, in ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`").replace("'", "\\(aq")
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return re.sub(r"^(?=\.)", r"\\&", text, flags=re.MULTILINE)
