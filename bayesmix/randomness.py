"""Where randomness comes from: a generator made from the seed that a user gives."""

import numpy as np


def generator(random_seed) -> np.random.Generator:
    """Make a random generator from a seed; a generator is taken as it is.

    Raises
    ------
    TypeError
        If it is neither a seed, nor a generator, nor None.
    ValueError
        If a seed is negative.
    """
    if isinstance(random_seed, np.random.RandomState):
        raise TypeError("random_seed is a legacy RandomState; pass an integer or a numpy.random.Generator.")
    try:
        if isinstance(random_seed, bool):
            raise TypeError
        return np.random.default_rng(random_seed)
    except TypeError:
        raise TypeError(
            f"random_seed={random_seed!r} of type {type(random_seed).__name__}, but it must be a whole number, 0 or more, "
            "a numpy.random.Generator, or None for other numbers every time."
        ) from None
    except ValueError:
        raise ValueError(
            f"random_seed={random_seed!r} but a seed must be 0 or more; None gives other numbers every time."
        ) from None
