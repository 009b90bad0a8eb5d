"""Work shared out over cores."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_order(function: Callable, items: Iterable, cores: int) -> Iterator[Any]:
    """Yield function(item) of every item, in the order of the items, worked out by so many threads.

    Items are taken in the calling thread, and not far ahead: there may be any number of them. Threads help where the
    work is in code without the interpreter's lock. An interrupt (Ctrl-C) reaches the calling thread; what the others are
    at is then left behind.
    """
    if cores == 1:
        yield from map(function, items)
        return
    items, pool = iter(items), _pool(os.getpid(), cores)
    waiting = deque()
    try:
        waiting.extend(pool.submit(function, item) for item in islice(items, 4 * cores))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(items, 1))
    finally:
        for future in waiting:
            future.cancel()


@lru_cache(maxsize=8)
def _pool(process: int, cores: int) -> ThreadPoolExecutor:
    """Threads that stay from call to call: to start them takes as long as a pass over 10 000 rows. A fork has none."""
    return ThreadPoolExecutor(cores)
