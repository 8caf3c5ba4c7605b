"""The model: columns of numpy in, columns of numpy out. No files, no clock, no printing.

And the front door of all of allocsim: ``allocsim.open``, ``allocsim.replay`` and the others of
OFFERED are those of pipeline.api, which is loaded when one of them is asked for. Nothing in these
rooms imports pipeline: only whoever comes in from outside goes through the door.
"""

import importlib as _importlib

__version__ = "0.1.0"

#: What ``import allocsim`` offers, and the module that has it. Types: __init__.pyi.
OFFERED = {
    "open": "pipeline.api.results",
    "Results": "pipeline.api.results",
    "replay": "pipeline.api.runs",
    "simulate": "pipeline.api.runs",
    "sweep": "pipeline.api.runs",
    "compare": "pipeline.api.comparing",
    "ComparisonResult": "pipeline.api.comparing",
    "read_trace": "pipeline.api.traces",
    "info": "pipeline.api.traces",
    "TraceInfo": "pipeline.api.traces",
    "AllocsimError": "pipeline.errors",
    "UsageError": "pipeline.errors",
    "InputError": "pipeline.errors",
    "OutputError": "pipeline.errors",
    "StoreError": "pipeline.errors",
    "BusyError": "pipeline.errors",
}
_PACKAGES = ("pipeline", "reports")  #: ours, of names that others have too


def __getattr__(name: str) -> object:
    if name not in OFFERED:
        raise AttributeError(f"module 'allocsim' has no attribute {name!r}")
    value: object = getattr(_loaded(OFFERED[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *OFFERED})


def _loaded(module: str) -> object:
    """A module of pipeline.

    Raises:
        ImportError: another package of the name pipeline or reports lies over ours.
    """
    for name in _PACKAGES:
        found = None
        try:
            found = _importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code does
            why: object = error
        else:
            why = found.__file__
        if getattr(found, "PART_OF", None) != __name__:
            raise ImportError(
                f"the package {name} is not allocsim's ({why}): another one of that name was"
                " installed over it; install allocsim in an environment of its own, as with"
                " pipx install allocsim or uv tool install allocsim"
            )
    return _importlib.import_module(module)
