"""What /sys/kernel/debug/page_owner said: each block of pages, with who allocated it and when.

A kernel with CONFIG_PAGE_OWNER that was booted with page_owner=on prints a paragraph a block:

    Page allocated via order 0, mask 0x140dca(GFP_HIGHUSER_MOVABLE|...), pid 1, tgid 1 (sh), ts 5 ns
    PFN 0x1000 type Movable Block 8 type Movable Flags 0xfff(locked|...)
     post_alloc_hook+0x5e/0x70
     ...

Source: mm/page_owner.c:print_page_owner, kernel/stacktrace.c:stack_trace_snprint (6.12 to 7.3).
7.3 can print a handle instead of the stack, which is then not known. Up to 5.17 there is no tgid
and no name, and frame numbers are decimal; up to 6.6 free_ts follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from allocsim.page_alloc.zones import MAX_PAGE_ORDER, Mt
from allocsim.recording.page_frames import MAX_PFN
from pipeline.errors import InputError
from pipeline.untrusted import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from allocsim.tables import Int8, Int32, Int64

_BEGINS = b"Page allocated via order "
_BLOCK = re.compile(
    rb"Page allocated via order (\d{1,2}), mask 0x([0-9a-f]{1,15})\([^\n]{0,500}\), pid -?\d{1,10},"
    rb"(?: tgid -?\d{1,10} \([^\n]{0,64}\),)? ts (\d{1,18}) ns(?:, free_ts \d{1,20} ns)?\n"
    rb"PFN (0x[0-9a-f]{1,14}|\d{1,15}) type \w{1,20} Block \d{1,20} type (\w{1,20}) Flags "
    rb"[^\n]{0,500}\n((?: [^\n]{1,500}\n){0,64})"
)
# As mm/show_mem.c:migratetype_names has them.
_TYPES = {
    b"Unmovable": int(Mt.UNMOVABLE),
    b"Movable": int(Mt.MOVABLE),
    b"Reclaimable": int(Mt.RECLAIMABLE),
    b"HighAtomic": int(Mt.HIGHATOMIC),
}
_PIECE = 1 << 22
_LONGEST_BLOCK = 1 << 14  # bytes of a paragraph; the kernel prints a page of 4096 at most
_MOST_BYTES = 1 << 34
_MOST_BLOCKS = 1 << 27  # all pages of 512 GiB
_MOST_STACKS = 1 << 20


@dataclass(slots=True)
class PageOwners:
    """Blocks of pages by first frame.

    Attributes:
        pfn: i8, ascending, each once.
        order: i4.
        gfp_flags: i8.
        ts: i8, ns: when it was allocated, by the kernel's clock (local_clock).
        block_type: i1, the migratetype of the page block it lies in (Mt); -1: CMA, isolated.
        stack: i4, into ``stacks``.
        stacks: names of functions, innermost first.
        unread: paragraphs that could not be read; overlapping ones among them.
        first_unread: the first of these.
    """

    pfn: Int64
    order: Int32
    gfp_flags: Int64
    ts: Int64
    block_type: Int8
    stack: Int32
    stacks: list[list[str]] = field(default_factory=list)
    unread: int = 0
    first_unread: str = ""


def page_owners(path: Path) -> PageOwners | None:
    """The blocks of a snapshot's page_owner, or of it with ``.zst`` behind its name.

    It is read piece by piece: hundreds of MB are usual. None where there is none.

    Raises:
        InputError: it cannot be read or decompressed, or has more than any machine.
    """
    packed = path.with_name(f"{path.name}.zst")
    if path.is_file():
        pieces = _pieces(path, None)
    elif packed.is_file():
        pieces = _pieces(packed, "zstd")
    else:
        return None
    reader = _Reader(path)
    for piece in pieces:
        reader.take(piece)
    return reader.owners()


def _pieces(path: Path, compression: str | None) -> Iterator[bytes]:
    """Pieces of whole paragraphs."""
    rest, total = b"", 0
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            while piece := bytes(stream.read(_PIECE)):
                total += len(piece)
                if total > _MOST_BYTES:
                    raise InputError(f"{path}: more than {_MOST_BYTES} bytes are not believed")
                text = rest + piece
                cut = text.rfind(b"\n\n") + 2
                if cut < 2:
                    cut = max(len(text) - _LONGEST_BLOCK, 0)
                yield text[:cut]
                rest = text[cut:]
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why[:200]})") from None
    yield rest


class _Reader:
    """Gathers blocks over pieces of text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[Int64] = []
        self._stacks: dict[bytes, int] = {}
        self._blocks = self._unread = 0
        self._first = ""

    def take(self, text: bytes) -> None:
        """Take in the paragraphs of a piece."""
        found = _BLOCK.findall(text)
        missed = text.count(_BEGINS) - len(found)
        if missed > 0:
            self._unread += missed
            self._first = self._first or _first_unread(text)
        if not found:
            return
        self._blocks += len(found)
        order, mask, ts, pfn, block_type, stack = zip(*found, strict=True)
        stacks = self._stacks
        part = np.array(
            [
                [int(number, 0) for number in pfn],
                [*map(int, order)],
                [int(flags, 16) for flags in mask],
                [*map(int, ts)],
                [_TYPES.get(name, -1) for name in block_type],
                [stacks.setdefault(frames, len(stacks)) for frames in stack],
            ],
            np.int64,
        )
        sane = (part[0] < MAX_PFN) & (part[1] <= MAX_PAGE_ORDER)
        if not sane.all():
            self._unread += int((~sane).sum())
            self._first = self._first or f"frame {part[0][~sane][0]}, order {part[1][~sane][0]}"
        self._parts.append(part[:, sane])
        if self._blocks > _MOST_BLOCKS or len(stacks) > _MOST_STACKS:
            raise InputError(
                f"{self._path}: {self._blocks} blocks of {len(stacks)} stacks are not believed"
            )

    def owners(self) -> PageOwners:
        """All that was taken in."""
        whole = np.concatenate([np.zeros((6, 0), np.int64), *self._parts], axis=1)
        whole = whole[:, np.argsort(whole[0], kind="stable")]
        # Read while pages come and go, it may have a frame twice: the block that was seen first.
        end = np.maximum.accumulate(whole[0] + (1 << whole[1]))
        apart = np.ones(whole.shape[1], np.bool_)
        apart[1:] = whole[0][1:] >= end[:-1]
        unread = self._unread + int((~apart).sum())
        if not apart.all() and not self._first:
            self._first = f"frame {whole[0][~apart][0]} is in two blocks"
        pfn, order, mask, ts, block_type, stack = whole[:, apart]
        return PageOwners(
            pfn,
            order.astype(np.int32),
            mask,
            ts,
            block_type.astype(np.int8),
            stack.astype(np.int32),
            [_functions(frames) for frames in self._stacks],
            unread,
            shown(self._first) if self._first else "",
        )


def _first_unread(text: bytes) -> str:
    """The first paragraph of a piece that is not as it should be."""
    paragraphs = (part for part in text.split(b"\n\n") if _BEGINS in part)
    bad = next((part for part in paragraphs if not _BLOCK.search(part + b"\n")), b"")
    return bad.decode("utf-8", "replace").strip().partition("\n")[0]


def _functions(frames: bytes) -> list[str]:
    """The functions of a stack: `` name+0x10/0x20 [module]`` a line."""
    lines = frames.decode("utf-8", "replace").splitlines()
    return [line.strip().split("+0x", 1)[0].split(" ", 1)[0] for line in lines if line.strip()]
