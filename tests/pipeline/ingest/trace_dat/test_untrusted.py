"""Numbers and sizes of a trace.dat that cannot be: one line, at once, and nothing is left."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import InputError
from pipeline.ingest.recording import import_recording
from pipeline.untrusted import must_be_number, number, shown
from tests.oracle.trace_dat import FORMATS, Cpu, Event, File

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = "9" * 5000  # more than Python converts


def refused(file: File | bytes, folder: Path) -> str:
    """What an import says of a file; it must leave nothing."""
    source = folder / "made.dat"
    source.write_bytes(file if isinstance(file, bytes) else file.encode())
    with pytest.raises(InputError) as caught:
        import_recording(source, folder / "sets")
    assert [path.name for path in folder.iterdir()] == ["made.dat"]
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 300
    return text


def with_frees(**kind: object) -> File:
    file = File(**kind)  # type: ignore[arg-type]
    file.cpus = {0: Cpu([Event(ts, file.kfree(0xA0)) for ts in range(100)])}
    return file


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        (1, DIGITS, "a time offset is '999"),
        (7, f"0x{'f' * 5000}", "a time offset is 'fff"),
        (7, str(1 << 64), "a time offset is '18446744073709551616'"),
        (1, str((1 << 63) - 1), "its times are moved by 9223372036854775807000 ns"),
        (7, f"-{(1 << 62) + 1}", "its times are moved by -4611686018427387905 ns"),
        (2, f"CPU: 0\noverrun: {DIGITS}\n", "'overrun' of CPU 0's statistics is '999"),
        (2, f"CPU: {DIGITS}\noverrun: 1\n", "the CPU of a CPU's statistics is '999"),
    ],
)
def test_numbers_of_options(tmp_path: Path, option: int, text: str, said: str) -> None:
    assert said in refused(with_frees(options=[(option, text.encode() + b"\0")]), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("offset:16", f"offset:{DIGITS}", "the format of 'kfree': the offset of ptr is '999"),
        ("offset:16", f"offset:{1 << 31}", "the offset of ptr is '2147483648'"),
        ("size:8", f"size:{DIGITS}", "the size of call_site is '999"),
        ("ID: 21", f"ID: {DIGITS}", "the format of 'kfree': its ID is '999"),
        ("const void * ptr;", f"{'a' * 100_000};", "a field cannot be read: 'field:aaaa"),
        ("\tfield:const void", "\tfield:" * 100_000, "a field cannot be read: 'field:"),
    ],
)
def test_numbers_and_lines_of_formats(tmp_path: Path, old: str, new: str, said: str) -> None:
    texts = [
        text.replace(old, new, 1) if text.startswith("name: kfree\n") else text
        for text in FORMATS["kmem"]
    ]
    assert texts != FORMATS["kmem"]
    assert said in refused(with_frees(formats={**FORMATS, "kmem": texts}), tmp_path)


def test_pids_of_command_lines(tmp_path: Path) -> None:
    file = with_frees(cmdlines=f"1 init\n{DIGITS} sh\n")
    assert "the pid of a command line is '999" in refused(file, tmp_path)


def test_page_frames(tmp_path: Path) -> None:
    file = with_frees()
    file.cpus[0].events.append(Event(1000, file.page_alloc(1 << 37, 0)))
    assert f"an event has pfn {1 << 37}, which cannot be" in refused(file, tmp_path)


def test_sections_that_unfold_to_more_than_text_does(tmp_path: Path) -> None:
    file = with_frees(kallsyms="", cmdlines="0" * (1 << 24))
    assert "a section of 16777224 bytes is not believed" in refused(file, tmp_path)


def test_chunks_of_more_than_a_recorder_compresses(tmp_path: Path) -> None:
    data = with_frees().encode()
    size = struct.pack("<I", 4096)
    # The one chunk of the one CPU; behind it comes the page size of the buffer's option.
    at = data.rindex(size, 0, data.rindex(size))
    bomb = data[:at] + struct.pack("<I", 1 << 26) + data[at + 4 :]
    assert "chunk 0 of 67108864 bytes: more than 16 sub-buffers" in refused(bomb, tmp_path)


def test_sub_buffers_larger_than_their_write_counter(tmp_path: Path) -> None:
    file = with_frees(page_size=1 << 21)
    assert "a ring-buffer page of 2097152 bytes cannot be" in refused(file, tmp_path)


def test_the_same_kind_of_section_twice(tmp_path: Path) -> None:
    file = with_frees(compression="none")
    data = file.encode()
    at = struct.unpack_from("<Q", data, data.index(b"1.0\0") + 4 if b"1.0\0" in data else 0)[0]
    options = data[at + 16 : data.index(b"\0\0\x08\0\0\0", at + 16)]
    formats = struct.pack("<HI", 18, 8)
    place = options.index(formats)
    twice = bytearray(data)
    other = options.index(struct.pack("<HI", 17, 8))
    twice[at + 16 + other : at + 16 + other + 14] = options[place : place + 14]
    assert "two sections of event formats" in refused(bytes(twice), tmp_path)


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [
        ("0", 10, 0),
        ("9223372036854775807", 10, (1 << 63) - 1),
        ("9223372036854775808", 10, None),
        ("-1", 10, None),
        ("+1", 10, None),
        (" 1", 10, None),
        ("1_0", 10, None),
        ("\N{ARABIC-INDIC DIGIT ONE}", 10, None),
        ("", 10, None),
        (DIGITS, 10, None),
        ("7fffffffffffffff", 16, (1 << 63) - 1),
        ("ffffffffffffffff", 16, None),
        ("0x1", 16, None),
    ],
)
def test_what_a_number_is(text: str, base: int, value: int | None) -> None:
    assert number(text, base) == value
    if value is None:
        with pytest.raises(InputError, match=r"the count is .*, not a number from 0 to"):
            must_be_number(text, "the count", base)


def test_an_error_shows_the_beginning_and_no_control_characters() -> None:
    assert shown("\x1b[2J") == r"'\x1b[2J'"
    assert shown("9" * 100) == f"'{'9' * 24}...'"
