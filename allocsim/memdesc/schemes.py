"""Page descriptors: what each page and each allocation needs under a scheme, as data (TOML).

Every page frame of the machine has a word, whoever has it; each allocation may have a descriptor
of its own besides, one for the whole block, allocated from a slab cache (R6.2). So a scheme
costs ``word_bytes`` a page, and the descriptor's bytes an *allocation*: large folios gain, free
pages and pages that need no descriptor gain most, and a folio of one page costs 8 + 80 bytes
where struct page costs 64.

    bytes = word_bytes * pages + sum over live allocations of descriptor bytes * f       (R6.4)

f is what the slab allocator adds: :func:`slab_bytes` says it for full slabs, and
allocsim.memdesc.descriptor_caches by running the descriptors through the model of SLUB.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from allocsim.kernels.profile import LINUX_7_2
from allocsim.kernels.slub_rules import PAGE_SIZE, slab_order
from allocsim.recording.page_kinds import KIND_NAMES, PageKind
from allocsim.toml_data.table import TomlTable

if TYPE_CHECKING:
    from allocsim.tables import I8, Ints

PUBLISHED, ESTIMATED = "published", "estimated"
_BYTES = "a whole number of bytes"
_ALIGN = 16  # descriptors lie at multiples of it: the word's low 4 bits are the type (R6.2)
_POINTER = 8  # bytes of SLUB's free pointer
_KNOWN = (PUBLISHED, ESTIMATED)
_SHIPPED = ("struct-page", "memdesc-32", "memdesc-16", "memdesc-8")
_BASES = ("memdesc-8",)  # whose descriptors a scheme may take over
_PLACES = ("inside", "outside")
_SCHEME = ("doc", "base", "word_bytes", "word_known", "word_source", "hvo", "descriptor", "none")
_DESCRIPTOR = ("kinds", "bytes", "free_pointer", "charged", "known", "source")
#: What a block's pages may not be known well enough for: any descriptor of the scheme.
_ANYTHING = frozenset({PageKind.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One type of descriptor: a slab cache of its own.

    Args:
        name: its name.
        bytes: its size.
        pointer_inside: SLUB's free pointer may overlay one of its fields. If not it stands behind
            it (R3.3): scanners follow the page's word under RCU, so the caches are
            SLAB_TYPESAFE_BY_RCU, and a free object stays readable.
        kinds: whose pages have it.
        charged: only those that are charged to a memory cgroup have it.
        known: how its size is known: published or estimated.
        source: by whom, or from what.
    """

    name: str
    bytes: int
    pointer_inside: bool
    kinds: tuple[PageKind, ...]
    charged: bool
    known: str
    source: str

    @property
    def slot(self) -> int:
        """Bytes from one to the next in a slab (R6.4)."""
        size = self.bytes + (0 if self.pointer_inside else _POINTER)
        return -(-size // _ALIGN) * _ALIGN


@dataclass(frozen=True, slots=True)
class Scheme:
    """A scheme as its file has it.

    Args:
        name: what it is called in results.
        doc: one sentence.
        source: "shipped", or the file it was read from.
        word_bytes: bytes each page frame has.
        word_known: how that is known: published or estimated.
        word_source: by whom, or from what.
        hvo: hugetlb pages give back what they do not need of their words (HVO).
        descriptors: its descriptors.
        none_known: how it is known that the other kinds have none.
        none_source: by whom, or from what.
    """

    name: str
    doc: str
    source: str
    word_bytes: int
    word_known: str
    word_source: str
    hvo: bool
    descriptors: tuple[Descriptor, ...]
    none_known: str
    none_source: str


@dataclass(frozen=True, slots=True)
class Size:
    """What one kind of page needs for an allocation under a scheme.

    Args:
        page_kind: code of the kind.
        charged: for allocations that carry __GFP_ACCOUNT.
        descriptor: number of the descriptor among the scheme's; -1: none.
        bytes: its bytes; of pages of unknown kind the largest there is.
        bound: the bytes are an upper bound: nobody knows whether it has a descriptor.
        known: how that is known: published or estimated.
        source: by whom, or from what.
    """

    page_kind: int
    charged: bool
    descriptor: int
    bytes: int
    bound: bool
    known: str
    source: str


def sizes(scheme: Scheme) -> list[Size]:
    """What every kind of page needs, charged to a memory cgroup or not, in order of kind."""
    of = {
        (kind, each.charged): (number, each)
        for number, each in enumerate(scheme.descriptors)
        for kind in each.kinds
    }
    largest = max((each.slot for each in scheme.descriptors), default=0)
    rows = []
    for kind in PageKind:
        for charged in (False, True):
            found = of.get((kind, False)) or of.get((kind, charged))
            if kind in _ANYTHING:
                row = Size(kind, charged, -1, largest, largest > 0, ESTIMATED, "the largest")
            elif found is None:
                row = Size(kind, charged, -1, 0, False, scheme.none_known, scheme.none_source)
            else:
                number, each = found
                row = Size(kind, charged, number, each.bytes, each.charged, each.known, each.source)
            rows.append(row)
    return rows


def word_bytes(scheme: Scheme, kind: Ints, order: Ints) -> I8:
    """Bytes of the words of a block's pages (i8).

    With HVO those of a hugetlb page fit one page, whatever its size: the others are mapped to it
    (mm/hugetlb_vmemmap.h:HUGETLB_VMEMMAP_RESERVE_SIZE, 7.2).

    Args:
        scheme: the scheme.
        kind: kinds of blocks.
        order: their orders.
    """
    whole: I8 = scheme.word_bytes << order.astype(np.int64)
    if not scheme.hvo:
        return whole
    return np.where(kind == PageKind.HUGETLB, np.minimum(whole, PAGE_SIZE), whole)


def descriptor_bytes(scheme: Scheme, kind: Ints, *, charged: bool = False) -> I8:
    """Bytes of the descriptor of a block of each kind (i8), without what its slabs waste."""
    rows = [size for size in sizes(scheme) if size.charged == charged]
    of_kind = np.array([size.bytes for size in rows], np.int64)
    return of_kind.take(kind)


def slab_bytes(scheme: Scheme, descriptor: Descriptor, cpus: int | None = None) -> float:
    """What one descriptor costs in full slabs, the slabs' own descriptors among it: D * f.

    R6.4: (4096 << o) / n for its place, and for each slab a descriptor, whose own slab has a
    descriptor, and so on: a geometric series. The words of the slab's pages are not in it: they
    are part of what all pages of the machine have.

    Args:
        scheme: the scheme.
        descriptor: one of its descriptors.
        cpus: CPUs of the machine, for the order of the slabs (R3.4); None: order 0.
    """
    place, share = _place(descriptor, cpus)
    own = next((each for each in scheme.descriptors if PageKind.SLAB in each.kinds), None)
    if own is None:
        return place
    own_place, own_share = _place(own, cpus)
    return place + share * own_place / (1 - own_share)


def _place(descriptor: Descriptor, cpus: int | None) -> tuple[float, float]:
    """Bytes of a full slab for each of its descriptors, and slabs for each."""
    order = 0 if cpus is None else slab_order(LINUX_7_2.slub, descriptor.slot, cpus)
    objects = (PAGE_SIZE << order) // descriptor.slot
    return (PAGE_SIZE << order) / objects, 1 / objects


def parse_scheme(text: str, source: str) -> Scheme:
    """Read a scheme from the text of its file.

    Args:
        text: TOML; docs/descriptors.md and the shipped files show the form.
        source: the file's name, for messages and results.

    Raises:
        DataFileError: no TOML, a key that is missing or unknown, or a value that will not do.
    """
    top = TomlTable.parse(text, source, *_SCHEME)
    base = top.choice("base", _BASES, "")
    under = _shipped(base) if base else None
    found = {each.name: each for each in (under.descriptors if under else ())}
    for name, row in top.named_tables("descriptor").items():
        found[name] = _descriptor(name, row)
    none = top.table("none")
    none.only("kinds", "known", "source")
    without = _kinds(none)
    descriptors = tuple(_without(each, without) for each in found.values())
    _check_kinds(descriptors, without, top, under)
    return Scheme(
        name=top.text("name"),
        doc=top.text("doc", ""),
        source=source,
        word_bytes=top.whole("word_bytes", 1, PAGE_SIZE, what=_BYTES),
        word_known=top.choice("word_known", _KNOWN, ESTIMATED),
        word_source=top.text("word_source", ""),
        hvo=top.flag("hvo", default=True),
        descriptors=descriptors,
        none_known=none.choice("known", _KNOWN, ESTIMATED),
        none_source=none.text("source", under.none_source if under else ""),
    )


def _without(descriptor: Descriptor, kinds: tuple[PageKind, ...]) -> Descriptor:
    """A descriptor of the base, without the kinds that the file says need none."""
    if descriptor.charged:
        return descriptor
    left = tuple(kind for kind in descriptor.kinds if kind not in kinds)
    return replace(descriptor, kinds=left)


def _descriptor(name: str, row: TomlTable) -> Descriptor:
    row.only(*_DESCRIPTOR)
    return Descriptor(
        name=name,
        bytes=row.whole("bytes", 1, PAGE_SIZE, what=_BYTES),
        pointer_inside=row.choice("free_pointer", _PLACES, "outside") == "inside",
        kinds=_kinds(row),
        charged=row.flag("charged", default=False),
        known=row.choice("known", _KNOWN, ESTIMATED),
        source=row.text("source", ""),
    )


def _check_kinds(
    descriptors: tuple[Descriptor, ...],
    without: tuple[PageKind, ...],
    top: TomlTable,
    under: Scheme | None,
) -> None:
    """No kind has two descriptors; a scheme with descriptors says of every kind what it needs."""
    said: dict[PageKind, str] = {}
    for each in descriptors:
        for kind in each.kinds:
            if not each.charged and said.setdefault(kind, each.name) != each.name:
                top.refuse(
                    "descriptor",
                    f"{KIND_NAMES[kind]} pages are said to have two descriptors,"
                    f" {said[kind]} and {each.name}; name them in one only",
                )
    if under is not None or not descriptors:
        return
    missing = [
        KIND_NAMES[kind]
        for kind in PageKind
        if kind not in said and kind not in without and kind not in _ANYTHING
    ]
    if missing:
        top.refuse(
            "descriptor",
            f"nothing is said of these kinds: {', '.join(missing)};"
            " give each a descriptor, or name it in [none]",
        )


def _kinds(row: TomlTable) -> tuple[PageKind, ...]:
    named = {
        name: kind for name, kind in zip(KIND_NAMES, PageKind, strict=True) if kind not in _ANYTHING
    }
    return tuple(named[name] for name in row.texts("kinds", named))


def shipped_schemes() -> dict[str, Scheme]:
    """The schemes that come with allocsim, by name, in the order in which they are reported."""
    return {name: _shipped(name) for name in _SHIPPED}


@functools.cache
def _shipped(name: str) -> Scheme:
    text = (resources.files("allocsim.memdesc") / "schemes" / f"{name}.toml").read_text("utf-8")
    return parse_scheme(text, "shipped")
