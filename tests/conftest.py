"""Shared by all tests: assertions in the contract suite explain themselves like those in test files."""

import os
import signal
from pathlib import Path

import pytest

# Workers side by side have compiled code of their own: Numba's cache is not made for two processes that write one function.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parent.parent / ".pytest_cache" / f"numba-{worker}")

pytest.register_assert_rewrite("contract", "oracles")


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """Ctrl-C is a KeyboardInterrupt in every test, also where the parent process ignores it, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
