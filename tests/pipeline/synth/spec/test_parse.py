"""Specs that are wrong: one line each, with the line, the key and what is allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from allocsim.toml_data.lines import key_lines
from pipeline.errors import InputError
from pipeline.synth.spec.parse import parse_spec
from tests.pipeline.synth.specs import MIXED

WRONG = {
    'name = "mixed"': ('name = "a b"', 2, "letters, digits"),
    "cpus = 4": ("cpus = 0", 4, "a whole number from 1 to 1024"),
    'memory = "1 GiB"': ('memory = "1 gib"', 5, "B, KiB, MiB, GiB, TiB"),
    "events = 60_000": ("event = 60_000", 6, "did you mean events?"),
    "size = 192": ("size = 191", 10, "a multiple of 8"),
    'name = "inode"': ('name = "dentry"', 14, "another cache of this name"),
    'flags = ["reclaimable"]': ('flags = ["reclaim"]', 11, "one of reclaimable, dma"),
    'length = "5 ms"\n\n[[work': ('length = "5 m"\n\n[[work', 25, "ns, us, ms, s"),
    "rate = 200_000": ("rate = -1", 29, "a number from 0 to"),
    '{ cache = "dentry" }': ('{ cache = "dentri" }', 30, "did you mean dentry?"),
    'mean = "1 ms"': ('mean = "0 ms"', 32, "a time from 1 ns"),
    "sigma = 1.5": ("sigma = 6", 34, "a number from 0 to 5"),
    "remote = 0.2": ("remote = 1.1", 36, "a number from 0 to 1"),
    'order = "lifo"': ('order = "first"', 36, "fifo, lifo, shuffled"),
    "cpus = [0, 2]": ("cpus = [0, 4]", 40, "a whole number from 0 to 3"),
    'kind = "closed"': ('kind = "open"', 41, "poisson, bursts, spread, closed, before"),
    'lifetime = { kind = "batch" }': (
        'lifetimes = { kind = "batch" }',
        43,
        "did you mean lifetime?",
    ),
    'pages = "page-cache", order = 2': ('pages = "page-cache", order = 10', 53, "from 0 to 9"),
    'values = ["0 ns", "1 ms"': ('values = ["2 ms", "1 ms"', 58, "must not fall"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG.items())
def test_an_error_names_file_line_key_and_range(right, wrong):
    text, line, allowed = wrong
    assert right in MIXED
    with pytest.raises(InputError) as caught:
        parse_spec(MIXED.replace(right, text, 1), "mine.toml")
    message = str(caught.value)
    key = re.findall(r"(\w+) = ", text)
    assert message.startswith(f"mine.toml: line {line}: ")
    assert allowed in message
    assert any(word in message for word in key)


NOTHING = """
arrival = { kind = "poisson", rate = 0 }
allocate = [{ kmalloc = 8 }]
lifetime = { kind = "forever" }
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[work]]", "[[nowork]]"), "did you mean work?"),
        (('arrival = { kind = "poisson", rate = 200_000 }', ""), "the key arrival is missing"),
        (("[[phase]]", "[[phase"), "not valid TOML"),
        (
            (MIXED.partition("[[work]]")[2], NOTHING),
            "work: nothing is allocated but before the trace begins, if at all",
        ),
        (("rate = 200_000", "rate = [1, 2, 3]"), "3 rates for 2 phases"),
        (("remote = 0.2", "remote = 0.2, cpus = [1]"), "exclude each other"),
        (("{ kmalloc = 100 }", "{ kmalloc = 100, cache = 'inode' }"), "one is wanted"),
        (("{ kmalloc = 100 }", "{ kmalloc = 100, prefilled = true }"), "only a cache has"),
        (
            ('{ cache = "inode" }', '{ cache = "inode", prefilled = true }'),
            "of a prefilled sheaf a count of 2 or more is wanted",
        ),
        (
            (
                '{ cache = "inode" }',
                '{ cache = "inode", count = 2, prefilled = true, traced = false }',
            ),
            "a prefilled sheaf's objects have events",
        ),
        (
            ('{ pages = "anon"', '{ traced = false, pages = "anon"'),
            "pages are not allocated without",
        ),
        (('{ kind = "fixed", after = "10 us" }', '{ kind = "gone" }'), "before the trace begins"),
        (("{ kmalloc = 20_000 }", "{ kmalloc = 20_000, traced = false }"), "no object above 8192"),
    ],
)
def test_what_else_may_be_wrong(change, said):
    with pytest.raises(InputError, match=re.escape(said)):
        parse_spec(MIXED.replace(*change), "mine.toml")


def test_lines_of_keys_in_every_form_toml_has():
    text = (Path(__file__).parents[1] / "golden" / "every-form.toml").read_text()
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines["a",] == 2
    assert lines["b c",] == 3
    assert lines["t", "u", "d", "e", "f", 1] == 5
    assert lines["t", "u", "d", "e", "g"] == 5
    assert lines["v", 0, "h", 1, "i"] == 11
    assert lines["v", 1, "h", 0, "i"] == 14
    assert lines["v", 1, "w", 0, "k"] == 16
    assert lines["v", 1, "w", 1, "k"] == 18
