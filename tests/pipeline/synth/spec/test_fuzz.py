"""Specs changed at random: each is read, or refused in one line that says where; never more."""

from __future__ import annotations

import copy
import re
import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.synth.spec.parse import parse_spec
from pipeline.synth.spec.patterns import read_spec, shipped_specs
from tests.conftest import examples
from tests.pipeline.synth.specs import MIXED

TEXTS = [*map(read_spec, shipped_specs()), MIXED]
WRONG = (
    [0, -1, 1, 1 << 16, 10**12, 1 << 63, 10**30, True, False, "", "a", "x\ny", "é" * 3, "a" * 3000]
    + ["0 ns", "10 ms", "1e5 ms", "-1 ms", "9" * 30 + " s", "1 ms 2 ms", "1 2 3 us", "ms", "4 GiB"]
    + [[], [1], [1, 2, 3], [[1]], ["1 ms"], {}, {"kind": "fixed"}, {"a b": 1}, {"x\ny": 2}]
    + [Decimal(text) for text in ("0.5", "NaN", "Infinity", "-0.0", "1e400", "1e-400")]
    + ["cpus", "batch", "forever", "before", "spread", "closed", "quantiles", "until", "anon"]
)
KEYS = ("kind", "count", "lifetime", "free", "cpus", "at", "values", "times", "since", "x\ny", "")
LETTERS = "[]{}=\",.'#\n\\ 09a-_é\x00"


def _toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = (c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
        return f'"{"".join(plain)}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def _paths(value, path=()):
    if path:
        yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _paths(item, (*path, key))


def _read(text):
    """A spec that is read, or the line that says why not."""
    try:
        return parse_spec(text, "mine.toml")
    except InputError as error:
        message = str(error)
        assert re.match(r"mine\.toml: (line \d+: .|not valid TOML: .)", message)
        assert message.isprintable()
        assert len(message) < 2000
        return None


@examples(400)
@given(st.data())
def test_values_keys_and_types_that_are_wrong(data):
    table = tomllib.loads(data.draw(st.sampled_from(TEXTS)), parse_float=Decimal)
    for _ in range(data.draw(st.integers(1, 2))):
        *path, key = data.draw(st.sampled_from(list(_paths(table))))
        at = table
        for part in path:
            at = at[part]
        wrong = copy.deepcopy(data.draw(st.sampled_from(WRONG)))
        way = data.draw(st.sampled_from(["value", "value", "gone", "more", "nested"]))
        if way == "value":
            at[key] = wrong
        elif way == "gone" and len(table) > 1:
            del at[key]
        elif way == "nested":
            at[key] = [at[key]]
        elif isinstance(at, dict):
            at[data.draw(st.sampled_from(KEYS))] = wrong
        else:
            at.append(wrong)
    _read("\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in table.items()))


@examples(300)
@given(st.sampled_from(TEXTS), st.data())
def test_letters_that_are_wrong(text, data):
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.sampled_from([*LETTERS, '"""', "'''", "[[", "]]", ""]))
        text = text[:at] + letter + text[at + data.draw(st.integers(0, 1)) :]
    _read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("name = " + "[" * 5000, "not valid TOML: "),
        (MIXED.replace("rate = 3", "rate = nan"), "phase[0].rate: NaN: a number from 0"),
        (MIXED.replace('name = "mixed"', f'name = "{"x" * 5000}"'), "1 to 100 letters"),
        (MIXED.replace("cpus = 4", '"a\\nb" = 4'), "'a\\nb': no such key"),
    ],
)
def test_what_was_once_more_than_a_line(text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        parse_spec(text, "mine.toml")
