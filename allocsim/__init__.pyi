# What `import allocsim` offers, for type checkers: __init__.py loads it when it is asked for.

from typing import Any

from pipeline.api.comparing import ComparisonResult as ComparisonResult
from pipeline.api.comparing import compare as compare
from pipeline.api.results import Results as Results
from pipeline.api.results import open as open  # noqa: A004 - allocsim.open
from pipeline.api.runs import replay as replay
from pipeline.api.runs import simulate as simulate
from pipeline.api.runs import sweep as sweep
from pipeline.api.traces import TraceInfo as TraceInfo
from pipeline.api.traces import info as info
from pipeline.api.traces import read_trace as read_trace
from pipeline.errors import AllocsimError as AllocsimError
from pipeline.errors import BusyError as BusyError
from pipeline.errors import InputError as InputError
from pipeline.errors import OutputError as OutputError
from pipeline.errors import StoreError as StoreError
from pipeline.errors import UsageError as UsageError

__version__: str
OFFERED: dict[str, str]

def _loaded(module: str) -> Any: ...  # noqa: ANN401 - a module
