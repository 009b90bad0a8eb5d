"""nutpie, as far as we need it: loaded without ArviZ's plots, its draws read as they come."""

import importlib
import sys
import types
from contextlib import contextmanager

import numpy as np
import xarray as xr


@contextmanager
def _arviz_on_demand():
    """Let `import arviz` give a module that loads ArviZ when something of it is used.

    nutpie needs ArviZ, with matplotlib and all, for the conversion of its draws alone, which `tree_of` does for us.
    """
    if "arviz" in sys.modules:
        yield
        return
    substitute = types.ModuleType("arviz")
    substitute.__getattr__ = lambda name: getattr(importlib.import_module("arviz"), name)
    sys.modules["arviz"] = substitute
    try:
        yield
    finally:
        if sys.modules.get("arviz") is substitute:
            del sys.modules["arviz"]


def load_nutpie():
    """The package nutpie, imported without ArviZ where it is not there yet."""
    with _arviz_on_demand():
        import nutpie
    return nutpie


def tree_of(found, statistics) -> xr.DataTree:
    """Draws and some statistics of a run of nutpie, without those of the adaptation: groups posterior and sample_stats.

    What an interrupted chain did not draw is NaN, or 0 of whole numbers.

    Parameters
    ----------
    found
        What ``return_raw_trace=True`` gives: Arrow tables of every chain, or the place of a Zarr store.
    statistics : iterable of str
        Those to read.
    """
    import pyarrow as pa

    tables = [[pa.record_batch(batch) for batch in batches] for batches in found.get_arrow_trace()]
    kept = [~np.asarray(stats.column("tuning")) for stats in tables[1]]
    length = max(int(keep.sum()) for keep in kept)
    return xr.DataTree(
        children={
            "posterior": xr.DataTree(_group(tables[0], kept, length, tables[0][0].schema.names)),
            "sample_stats": xr.DataTree(_group(tables[1], kept, length, statistics)),
        }
    )


def _group(tables, kept, length, names):
    """Columns of all chains as variables (chain, draw, ...)."""
    return xr.Dataset({name: _variable(tables, kept, length, name) for name in names})


def _variable(tables, kept, length, name):
    chains = []
    for table, keep in zip(tables, kept, strict=True):
        shape = (table.schema.field(name).metadata or {}).get(b"shape", b"").decode()
        column = table.column(name)
        flat = column.flatten() if hasattr(column, "flatten") else column
        values = flat.to_numpy(zero_copy_only=False)
        values = values.reshape(len(keep), *map(int, filter(None, shape.split(","))))[keep]
        filled = np.nan if values.dtype.kind == "f" else 0
        missing = np.full((length - len(values), *values.shape[1:]), filled, dtype=values.dtype)
        chains.append(np.concatenate([values, missing]))
    values = np.array(chains)
    return ("chain", "draw", *(f"{name}_{i}" for i in range(values.ndim - 2))), values
