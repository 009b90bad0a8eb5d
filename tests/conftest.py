"""Shared by all tests: assertions in the contract suite explain themselves like those in test files."""

import signal

import pytest

pytest.register_assert_rewrite("contract", "oracles")


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """Ctrl-C is a KeyboardInterrupt in every test, also where the parent process ignores it, as in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
