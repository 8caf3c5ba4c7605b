"""One colour for each kind of page, each policy and each way of knowing, in every figure.

The first eight are Okabe and Ito's (2008), told apart with any colour vision. All can be seen on a
white page and on a dark one.
"""

from __future__ import annotations

from zlib import crc32

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
GREY, PALE = "#8c8c8c", "#bdbdbd"

#: Where a name has none of its own, it has always the same one of these.
_OTHERS = ("#A6761D", "#66A61E", "#1B9E9E", "#B07AA1", "#C44E52", "#4C72B0", "#8C8C3A", "#937860")

_OWN = {
    # policies
    "refcounted": "#767676",
    "linux-6.12": "#A6761D",
    "linux-6.14": "#C44E52",
    "linux-6.16": "#8C8C3A",
    "linux-6.17": "#66A61E",
    "linux-6.18": "#1B9E9E",
    "linux-7.0": "#4C72B0",
    "linux-7.2": BLUE,
    "linux-7.3": SKY,
    "frozen-page-tables": GREEN,
    "everything-freezable": ORANGE,
    # kinds of page
    "slab": BLUE,
    "large_kmalloc": SKY,
    "page_table": GREEN,
    "anon": VERMILLION,
    "thp": "#B5651D",
    "page_cache": ORANGE,
    "shmem": YELLOW,
    "pipe": PURPLE,
    "skb_frag": "#7A5FA8",
    "page_pool": "#A6761D",
    "tlb_batch": "#66A61E",
    "vmalloc": "#1B9E9E",
    "kernel_stack": "#9E4F6A",
    "per_cpu": "#5B8C5A",
    "get_free_pages": "#B07AA1",
    "hugetlb": "#C44E52",
    "zsmalloc": "#8C8C3A",
    "ring_buffer": "#4C72B0",
    "pages_exact": "#937860",
    "other": GREY,
    "other kinds": GREY,
    "unknown": PALE,
    # sides of a comparison
    "A": GREY,
    "B": BLUE,
    "C": VERMILLION,
    "D": GREEN,
    "E": ORANGE,
    "F": PURPLE,
    # what could be frozen, by the verdict
    "freezable": GREEN,
    "freezable once readers change": SKY,
    "nearly": YELLOW,
    "needs its count": PALE,
    "frozen already": BLUE,
    "not known": GREY,
    # what page descriptors take
    "word": BLUE,
    "descriptors": ORANGE,
    "slab waste": VERMILLION,
    # what is given and was not asked for
    "waste": VERMILLION,
    # how a statement is known
    "observed": BLUE,
    "inferred": SKY,
    "assumed": YELLOW,
}


def colour(name: str) -> str:
    """The colour of this name: the same in every figure of every report."""
    return _OWN.get(name) or _OTHERS[crc32(name.encode(errors="replace")) % len(_OTHERS)]
