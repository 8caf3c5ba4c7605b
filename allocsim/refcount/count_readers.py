"""Who reads the count of a page, takes references on it or maps it, as data (TOML).

Reading a count fires no event, so a recording alone cannot say that pages can do without theirs.
The files here say for each kind of page what the sources of a kernel allow, and name the functions
that would have to change, each read in that version's source.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from allocsim.kernels.release import nearest_read
from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.freezability import Verdict
from allocsim.toml_data.table import DataFileError, TomlTable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The kernels whose sources were read, the oldest first.
KERNELS = ("6.12", "7.2", "7.3")
ANY = "any"
SCANS = "scans"
#: What a reader does, and what that means for pages without a count.
DOES: dict[str, str] = {
    "reads": "decides by the value of the count",
    "takes": "takes references of its own",
    "drops": "ends the life of a page by dropping a reference",
    "maps": "maps pages to user space: with a reference, on which get_user_pages can take more",
    "isolates": "takes a reference to take the page away from its user",
    "freezes": "takes the count to zero if it has the value expected",
    SCANS: "meets pages of every kind, and passes by those without a count",
}
_VERDICTS: dict[str, Verdict] = {
    "frozen": Verdict.FROZEN,
    "freezable": Verdict.FREEZABLE,
    "readers": Verdict.ONCE,
    "needed": Verdict.NEEDED,
    "unknown": Verdict.UNSEEN,
}
# Of pages of these kinds nobody can say whose they are, so no source can speak for them.
_NOBODYS = ("unknown", "other")
_CITATION = re.compile(r"([\w./-]+\.[chS]):([A-Za-z_]\w*) \(([\d., ]+)\)")


@dataclass(frozen=True, slots=True)
class SourceFunction:
    """A function, and the kernels in whose source it was read.

    Args:
        file: its file, from the top of the source.
        function: its name.
        kernels: versions out of KERNELS.
    """

    file: str
    function: str
    kernels: frozenset[str]


@dataclass(frozen=True, slots=True)
class CountReader:
    """Something a kernel does with the count of pages.

    Args:
        kinds: of which kinds; "any": of all.
        does: one of DOES.
        what: what it does, in a few words.
        source: the functions that do.
    """

    kinds: frozenset[str]
    does: str
    what: str
    source: tuple[SourceFunction, ...]

    def cited(self, kernel: str) -> list[SourceFunction]:
        """Its functions in one of KERNELS; empty: that has no such reader."""
        return [citation for citation in self.source if kernel in citation.kernels]


@dataclass(frozen=True, slots=True)
class KindVerdicts:
    """What the sources allow of one kind of page.

    Args:
        verdicts: verdict by the first of KERNELS it holds for, until the next.
        doc: why, in a sentence.
        price: what doing without the count costs elsewhere; empty: nothing.
    """

    verdicts: Mapping[str, Verdict]
    doc: str
    price: str

    def verdict(self, kernel: str) -> Verdict:
        """The verdict for one of KERNELS."""
        until = KERNELS.index(kernel) + 1
        return next(self.verdicts[k] for k in reversed(KERNELS[:until]) if k in self.verdicts)


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the page allocator that is not as its kind is.

    Args:
        kind: kind of its pages.
        functions: names under which stacks show it, where compilers inline it elsewhere.
        verdict: what the sources allow of its pages.
        what: what the pages are for.
        source: where it was read.
    """

    kind: str
    functions: tuple[str, ...]
    verdict: Verdict
    what: str
    source: tuple[SourceFunction, ...]

    def cited(self, kernel: str) -> list[SourceFunction]:
        """Where it was read in one of KERNELS; empty: it asks for no such pages there."""
        return [citation for citation in self.source if kernel in citation.kernels]


@dataclass(frozen=True, slots=True)
class Readers:
    """What the files say together.

    Args:
        kinds: by name, one for each page kind.
        callers: those that differ from their kind.
        readers: in the order of the files.
    """

    kinds: Mapping[str, KindVerdicts]
    callers: tuple[Caller, ...]
    readers: tuple[CountReader, ...]

    def of(self, kind: str, kernel: str) -> list[CountReader]:
        """The readers of one kind in one of KERNELS, those of every kind last."""
        present = [reader for reader in self.readers if reader.cited(kernel)]
        return [
            *(reader for reader in present if kind in reader.kinds),
            *(reader for reader in present if ANY in reader.kinds),
        ]


def kernel_read(version: tuple[int, int]) -> str:
    """Which of KERNELS speaks for a kernel: the nearest older one, or the oldest.

    Args:
        version: (major, minor) of the recorded kernel.
    """
    numbers = [_number(kernel) for kernel in KERNELS]
    return KERNELS[numbers.index(nearest_read(version, numbers))]


@functools.cache
def shipped_readers() -> Readers:
    """The files that come with allocsim."""
    folder = resources.files("allocsim.refcount") / "readers"
    names = ("kernel-memory", "pipes-and-network", "folios", "all-pages")
    return parse_readers({f"{name}.toml": (folder / f"{name}.toml").read_text() for name in names})


def parse_readers(files: Mapping[str, str]) -> Readers:
    """Read what files say together.

    Args:
        files: text of each file by its name; the shipped ones show the form.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, a value that will not do, or a
            verdict that the readers named do not bear out.
    """
    kinds: dict[str, KindVerdicts] = {}
    callers: list[Caller] = []
    readers: list[CountReader] = []
    for source, text in files.items():
        top = TomlTable.parse(text, source, "kind", "reader", "caller")
        for name, row in top.named_tables("kind", KIND_NAMES).items():
            if name in kinds:
                row.refuse(None, "another file says it")
            kinds[name] = _kind(row)
        readers += map(_reader, top.tables("reader"))
        callers += map(_caller, top.tables("caller"))
    found = Readers(kinds, tuple(callers), tuple(readers))
    _check(found, next(iter(files)))
    return found


def _check(found: Readers, source: str) -> None:
    """What is said of each kind goes with the readers that are named."""
    for name in KIND_NAMES:
        if name not in found.kinds:
            raise DataFileError(f"{source}: [kind.{name}] is missing: say what the sources allow")
        for kernel in KERNELS:
            verdict = found.kinds[name].verdict(kernel)
            named = [reader for reader in found.of(name, kernel) if reader.does != SCANS]
            if verdict == Verdict.FREEZABLE and named:
                raise DataFileError(
                    f"{source}: kind.{name} is freezable in {kernel}, but a reader is named:"
                    f" {named[0].cited(kernel)[0].function}"
                )
            if verdict in {Verdict.ONCE, Verdict.NEEDED} and not named:
                raise DataFileError(f"{source}: kind.{name}: no reader is named for {kernel}")
    for name in _NOBODYS:
        if set(found.kinds[name].verdicts.values()) != {Verdict.UNSEEN}:
            raise DataFileError(f"{source}: kind.{name}: nothing but unknown can be said of it")
    for caller in found.callers:
        if caller.kind in _NOBODYS:
            raise DataFileError(f"{source}: caller: of kind {caller.kind} nothing can be said")


def _kind(row: TomlTable) -> KindVerdicts:
    row.only("verdict", "doc", "price")
    of = row.table("verdict", required=True)
    of.only(*KERNELS)
    verdicts = {kernel: _verdict(of, kernel) for kernel in KERNELS if kernel in of}
    if KERNELS[0] not in verdicts:
        of.refuse(None, f"says nothing of {KERNELS[0]}")
    return KindVerdicts(verdicts, row.text("doc"), row.text("price", ""))


def _reader(row: TomlTable) -> CountReader:
    row.only("kinds", "does", "what", "source")
    kinds = frozenset(row.texts("kinds", (ANY, *KIND_NAMES), 1))
    return CountReader(kinds, row.choice("does", DOES), row.text("what"), _citations(row))


def _caller(row: TomlTable) -> Caller:
    row.only("kind", "functions", "verdict", "what", "source")
    return Caller(
        row.choice("kind", KIND_NAMES),
        row.texts("functions", least=1),
        _verdict(row, "verdict"),
        row.text("what"),
        _citations(row),
    )


def _verdict(row: TomlTable, key: str) -> Verdict:
    return _VERDICTS[row.choice(key, _VERDICTS)]


def _citations(row: TomlTable) -> tuple[SourceFunction, ...]:
    found = []
    for text in row.texts("source", least=1):
        match = _CITATION.fullmatch(text)
        kernels = match[3].split(", ") if match else []
        if not match or not set(kernels) <= set(KERNELS):
            row.refuse(
                "source",
                f"{text!r}: file:function (version, version) is wanted, of {', '.join(KERNELS)}",
            )
        found.append(SourceFunction(match[1], match[2], frozenset(kernels)))
    return tuple(found)


def _number(kernel: str) -> tuple[int, int]:
    major, minor = kernel.split(".")
    return int(major), int(minor)
