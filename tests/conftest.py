"""Shared by all tests: assertions in the contract suite explain themselves like those in test files."""

import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock

# What one worker has compiled the others load. Numba reads the variable when it is first imported.
_COMPILED = Path(__file__).parent.parent / ".pytest_cache" / "numba"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(_COMPILED)

# Graphs that a test evaluates a few times by PyTensor's Python code take longer to compile in C than to run.
os.environ.setdefault("PYTENSOR_FLAGS", "cxx=")

from numba.core.caching import IndexDataCacheFile  # noqa: E402

pytest.register_assert_rewrite("contract", "oracles")


def _one_at_a_time(method):
    """Numba writes the list of what a function was compiled for, then the code: nobody may read or write in between."""

    def alone(self, *arguments):
        Path(self._cache_path).mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._index_path}.lock"):
            return method(self, *arguments)

    return alone


IndexDataCacheFile.save = _one_at_a_time(IndexDataCacheFile.save)
IndexDataCacheFile.load = _one_at_a_time(IndexDataCacheFile.load)


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """Ctrl-C is a KeyboardInterrupt in every test, also where the parent process ignores it, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
