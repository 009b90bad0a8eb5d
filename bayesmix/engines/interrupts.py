"""Ctrl-C while a result is being finished: the result first, the interrupt never."""

import signal
import threading
import warnings
from contextlib import contextmanager
from types import FrameType


@contextmanager
def finishing(what: str):
    """Hold back the first Ctrl-C while draws already made are turned into a fit, and say so; a second one goes through.

    Outside the main thread, where Python handles no signals, nothing is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def hold(number, frame):
        signal.signal(signal.SIGINT, before)
        if isinstance(before, Listener):
            before.heard.append(number)
        warnings.warn(
            f"interrupted while {what}: this is finished first, so that nothing is lost; interrupt again to stop at once.",
            UserWarning,
            stacklevel=2,
        )

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Listener:
    """A handler of Ctrl-C that notes it and leaves the rest to the handler before: engines keep what they have."""

    def __init__(self, before):
        self.before = before
        self.heard: list[int] = []

    def __call__(self, number: int, frame: FrameType | None):
        """Note the signal, and pass it on."""
        self.heard.append(number)
        if callable(self.before):
            self.before(number, frame)


@contextmanager
def listening():
    """Yield a list that is empty until Ctrl-C was heard, also where an engine dealt with it; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    before = signal.getsignal(signal.SIGINT)
    listener = Listener(before)
    signal.signal(signal.SIGINT, listener)
    try:
        yield listener.heard
    finally:
        signal.signal(signal.SIGINT, before)
