"""Ctrl-C while a result is being finished: the result first, the interrupt never."""

import signal
import threading
import warnings
from contextlib import contextmanager


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
