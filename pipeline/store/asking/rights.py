"""Giving up rights: a process that can open no file for writing, whatever it is made to run.

Each takes away what the operating system lets it: Linux since 5.13 by Landlock, unless it was built
or booted without; macOS by the sandbox that its own programs use. Any Unix by a limit on the size
of what is written.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
# linux/landlock.h and asm-generic/unistd.h; the numbers are the same on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE = 1 << 2
# Of each version the number of rights it knows: files and folders; renaming (REFER); TRUNCATE;
# version 4 is of the network; IOCTL_DEV.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}

_MACOS = b"(version 1)(allow default)(deny file-write*)"


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def give_up_files(readable: Iterable[Path]) -> bool:
    """Give up the right to open, make, change or remove files; whether the system holds to it.

    What is open stays open. It holds for threads that are started later, and cannot be undone.

    Args:
        readable: the files that can still be opened for reading. Where the system cannot tell them
            apart, as on macOS, all can.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return _sandbox() if sys.platform == "darwin" else _landlock(readable)
    except (AttributeError, OSError):
        return False


def limit_memory(size: int) -> None:
    """Let allocations fail that would make this process larger than ``size`` bytes, on Linux."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _landlock(readable: Iterable[Path]) -> bool:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    rights = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    asked = _Ruleset(rights)
    ruleset = syscall(
        _CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(ctypes.sizeof(asked)), 0
    )
    if ruleset < 0:
        return False
    with ExitStack() as opened:
        opened.callback(os.close, ruleset)
        for path in readable:
            if path.exists():
                file = os.open(path, os.O_PATH | os.O_CLOEXEC)
                opened.callback(os.close, file)
                rule = _PathBeneath(_READ_FILE, file)
                syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(syscall(_RESTRICT_SELF, ruleset, 0) == 0)


def _sandbox() -> bool:
    error = ctypes.c_char_p()
    # 0: the text is the profile itself, not the name of one.
    return bool(ctypes.CDLL(None).sandbox_init(_MACOS, 0, ctypes.byref(error)) == 0)
