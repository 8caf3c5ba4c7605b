"""A campaign that is led by what code an input reaches (libFuzzer, by atheris).

    pip install -e .[fuzz]
    python -m tests.fuzz.guided READER SECONDS [SEED]

of a byte reader. What fails is printed once with its input, and the campaign goes on.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

import atheris

with atheris.instrument_imports(include=["pipeline.ingest", "pipeline.untrusted"]):
    import pipeline.ingest.ftrace_text.reader
    import pipeline.ingest.perf_data.reader
    import pipeline.ingest.perf_script_text.reader
    import pipeline.ingest.trace_cmd_text.reader
    import pipeline.ingest.trace_dat.reader  # noqa: F401
    from tests.fuzz.readers import BYTE_READERS

from pipeline.errors import AllocsimError
from tests.conftest import ROOT
from tests.fuzz.run import Failures
from tests.fuzz.worker import SCRATCH, signature

_LONGEST, _SECONDS, _MIB = 1 << 16, 10, 2048


def main() -> None:
    """Lead a campaign."""
    name, seconds, *seed = sys.argv[1:]
    target = BYTE_READERS[name]
    work = Path(mkdtemp(prefix="fuzz-", dir=SCRATCH))
    corpus = work / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(data)
    failures = Failures(ROOT / "out" / "fuzz")

    def one(data: bytes) -> None:
        folder = work / "try"
        folder.mkdir()
        try:
            target.read(data, folder)
        except AllocsimError:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            failures.add(name, signature(error), data)
        finally:
            shutil.rmtree(folder)

    limits = [f"-max_total_time={seconds}", f"-timeout={_SECONDS}", f"-rss_limit_mb={_MIB}"]
    limits += [f"-max_len={_LONGEST}", f"-seed={(seed or ['1'])[0]}"]
    atheris.Setup([sys.argv[0], str(corpus), *limits], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
