"""Rows of tables of any kind."""

import numpy as np


def take_rows(table, rows: np.ndarray):
    """Some rows of covariates or responses, of the same kind as all of them."""
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if hasattr(table, "dims"):  # xarray
        first = next(iter(table.data_vars.values())) if hasattr(table, "data_vars") else table
        return table.isel({first.dims[0]: rows})
    if isinstance(table, dict):
        return {name: take_rows(column, rows) for name, column in table.items()}
    if hasattr(table, "columns"):  # polars
        return table[rows]
    if isinstance(table, np.ma.MaskedArray):
        return table[rows]
    return np.asarray(table)[rows]


def n_rows(table) -> int:
    """How many rows there are."""
    if hasattr(table, "data_vars"):
        table = next(iter(table.data_vars.values()))
    if isinstance(table, dict):
        table = next(iter(table.values()))
    return len(table)
