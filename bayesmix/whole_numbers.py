"""Arguments that count something: draws, chains, rows."""

import numpy as np


def is_whole(value, least: int = 1) -> bool:
    """Is this a whole number, at least `least`? Truth values are none."""
    return not isinstance(value, bool) and isinstance(value, int | np.integer) and bool(value >= least)


def check_whole(least: int = 1, /, **values) -> None:
    """Raise `ValueError` for the first argument, by its name, that is no whole number of at least `least`."""
    for name, value in values.items():
        if not is_whole(value, least):
            raise ValueError(f"{name}={value!r} but it must be a whole number, at least {least}.")
