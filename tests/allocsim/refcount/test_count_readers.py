"""Who reads the count: the shipped files, their invariants, and files that will not do."""

from __future__ import annotations

import pytest

from allocsim.recording.page_kinds import KIND_NAMES
from allocsim.refcount.count_readers import (
    KERNELS,
    SCANS,
    kernel_read,
    parse_readers,
    shipped_readers,
)
from allocsim.refcount.freezability import Verdict
from allocsim.refcount.policies import shipped_policies
from allocsim.toml_data.table import DataFileError

# Read in the sources by hand: kernel -> functions that the issue at hand turned on.
READ_BY_HAND = {
    "6.12": {
        "pipe": {"anon_pipe_buf_release", "anon_pipe_buf_try_steal", "generic_pipe_buf_get"},
        "zsmalloc": {"isolate_movable_page", "zs_page_migrate"},
        "ring_buffer": {"__rb_map_vma", "ring_buffer_free_read_page", "perf_mmap_fault"},
        "vmalloc": {"remap_vmalloc_range_partial"},
        "skb_frag": {"skb_page_frag_refill", "__skb_frag_ref"},
        "page_pool": {"__page_pool_page_can_be_recycled"},
        "page_table": {"native_tlb_remove_table", "kvm_host_page_count"},
    },
    "7.2": {
        "pipe": {"anon_pipe_put_page", "anon_pipe_buf_try_steal", "generic_pipe_buf_get"},
        "zsmalloc": {"isolate_movable_ops_page", "zs_page_migrate"},
        "ring_buffer": {"__rb_map_vma", "ring_buffer_free_read_page"},
        "vmalloc": {"remap_vmalloc_range_partial"},
        "skb_frag": {"skb_page_frag_refill", "get_netmem"},
        "page_pool": {"__page_pool_page_can_be_recycled"},
        "page_table": {"kvm_host_page_count"},
    },
    "7.3": {"vmalloc": {"array_map_mmap_fault"}, "anon": {"folio_batch_move_lru"}},
}


def _functions(kind: str, kernel: str) -> set[str]:
    return {
        citation.function
        for reader in shipped_readers().of(kind, kernel)
        if reader.does != SCANS
        for citation in reader.cited(kernel)
    }


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kind_has_an_entry_for_each_kernel(kernel: str) -> None:
    known = shipped_readers()
    assert set(known.kinds) == set(KIND_NAMES)
    for name in KIND_NAMES:
        assert known.kinds[name].verdict(kernel) in {
            Verdict.FROZEN,
            Verdict.FREEZABLE,
            Verdict.ONCE,
            Verdict.NEEDED,
            Verdict.UNSEEN,
        }
        assert known.kinds[name].doc.endswith(".")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_readers_that_were_read_by_hand_are_named(kernel: str) -> None:
    for kind, functions in READ_BY_HAND[kernel].items():
        assert functions <= _functions(kind, kernel), kind


def test_what_a_kernel_does_no_more_is_not_said_of_it() -> None:
    assert "perf_mmap_fault" not in _functions("ring_buffer", "7.2"), "maps bare page frames"
    assert "native_tlb_remove_table" not in _functions("page_table", "7.2")
    assert "anon_pipe_buf_release" not in _functions("pipe", "7.2")
    assert "put_page_bootmem" not in _functions("page_table", "7.3")


@pytest.mark.parametrize("kernel", KERNELS)
def test_nobody_s_pages_are_never_freezable(kernel: str) -> None:
    known = shipped_readers()
    for name in ("unknown", "other"):
        assert known.kinds[name].verdict(kernel) == Verdict.UNSEEN
    assert not [caller for caller in known.callers if caller.kind in {"unknown", "other"}]


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_freezable_has_no_reader_and_what_is_not_has_one(kernel: str) -> None:
    for name, kind in shipped_readers().kinds.items():
        if kind.verdict(kernel) == Verdict.FREEZABLE:
            assert not _functions(name, kernel), name
        if kind.verdict(kernel) in {Verdict.ONCE, Verdict.NEEDED}:
            assert _functions(name, kernel), name


@pytest.mark.parametrize("kernel", KERNELS)
def test_everything_freezable_is_what_the_sources_say_can_be_frozen(kernel: str) -> None:
    """hugetlb beside: it is frozen in the pool under every policy, and counted out of it."""
    can_be = {
        name
        for name, kind in shipped_readers().kinds.items()
        if kind.verdict(kernel) in {Verdict.FROZEN, Verdict.FREEZABLE, Verdict.ONCE}
    }
    policies = shipped_policies()
    assert policies["everything-freezable"].freeze == can_be | {"hugetlb"}
    assert policies["refcounted"].freeze == {"hugetlb"}


def test_a_kernel_is_spoken_for_by_the_nearest_older_one() -> None:
    assert [kernel_read(version) for version in ((6, 1), (6, 12), (6, 18), (7, 1))] == ["6.12"] * 4
    assert kernel_read((7, 2)) == "7.2"
    assert kernel_read((8, 0)) == "7.3"


KINDS = "".join(
    f'[kind.{name}]\nverdict = {{ "6.12" = "unknown" }}\ndoc = "."\n'
    for name in KIND_NAMES
    if name != "pipe"
)
PIPE = '[kind.pipe]\nverdict = { "6.12" = "readers" }\ndoc = "."\n'
READER = (
    '[[reader]]\nkinds = ["pipe"]\ndoes = "reads"\nwhat = "looks"\n'
    'source = ["fs/pipe.c:f (6.12, 7.2, 7.3)"]\n'
)
NAME = 'name = "mine"\n'


def test_the_least_that_will_do() -> None:
    found = parse_readers({"m.toml": NAME + KINDS + PIPE + READER})
    assert found.kinds["pipe"].verdict("7.3") == Verdict.ONCE
    [reader] = found.of("pipe", "7.2")
    assert [citation.file for citation in reader.cited("7.2")] == ["fs/pipe.c"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (KINDS + PIPE, "m.toml: kind.pipe: no reader is named for 6.12"),
        (KINDS, "m.toml: [kind.pipe] is missing: say what the sources allow"),
        (KINDS + PIPE + READER.replace(", 7.3", ""), "kind.pipe: no reader is named for 7.3"),
        (
            KINDS + PIPE.replace("readers", "freezable") + READER,
            "kind.pipe is freezable in 6.12, but a reader is named: f",
        ),
        (KINDS + PIPE.replace("6.12", "7.2") + READER, "kind.pipe.verdict: says nothing of 6.12"),
        (
            KINDS + PIPE.replace("readers", "maybe"),
            "kind.pipe.verdict.'6.12': 'maybe': allowed: frozen",
        ),
        (
            KINDS + PIPE + READER.replace("reads", "looks"),
            "reader[0].does: 'looks': allowed: reads",
        ),
        (
            KINDS + PIPE + READER.replace("(6.12, 7.2, 7.3)", ""),
            "reader[0].source: 'fs/pipe.c:f ': file:function (version, version) is wanted",
        ),
        (KINDS + PIPE + READER.replace("7.3", "7.4"), "file:function (version, version) is wanted"),
        (
            KINDS + PIPE + READER.replace('"pipe"', '"pipes"'),
            "reader[0].kinds[0]: 'pipes': one of any",
        ),
        (
            KINDS + PIPE + READER + PIPE.replace("pipe", "tube"),
            "kind.tube: no such key; keys here: unknown",
        ),
        (KINDS + PIPE + READER + "colour = 1\n", "reader[0].colour: no such key; keys here: kinds"),
        (KINDS + PIPE + "reader = 3\n", "kind.pipe.reader: no such key; keys here: verdict"),
        (
            KINDS.replace(
                '[kind.other]\nverdict = { "6.12" = "unknown"',
                '[kind.other]\nverdict = { "6.12" = "freezable"',
            )
            + PIPE
            + READER,
            "kind.other: nothing but unknown can be said of it",
        ),
        (
            KINDS + PIPE + READER + '[[caller]]\nkind = "other"\nfunctions = ["f"]\n'
            'verdict = "freezable"\nwhat = "x"\nsource = ["fs/f.c:f (6.12)"]\n',
            "caller: of kind other nothing can be said",
        ),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(DataFileError) as error:
        parse_readers({"m.toml": NAME + text})
    assert says in str(error.value)
    assert str(error.value).startswith("m.toml: ")
    assert "\n" not in str(error.value)
