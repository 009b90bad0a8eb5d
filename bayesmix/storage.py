"""Fits in files: netCDF or Zarr, never pickle."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import xarray as xr

from .fit import Fit
from .mdn.fit import MDNFit
from .mixture import Mixture

FORMAT = 1  # raise when the layout of the tree changes so that older versions cannot read it


def save(fit: Fit, path) -> None:
    """Write a fit; see `Fit.save`."""
    write(fit.tree, Path(path))


def write(tree: xr.DataTree, path: Path) -> None:
    """Write a tree, whole or not at all."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first.")
    tree = tree.copy()
    tree.attrs = {**tree.attrs, "bayesmix_format": FORMAT}
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        if path.suffix == ".zarr":
            tree.to_zarr(partial, mode="w", consolidated=False)
            _remove(path)
        else:
            tree.to_netcdf(partial, engine="h5netcdf")
        os.replace(partial, path)
    finally:
        _remove(partial)


def load(path) -> Any:
    """Read a fit that `Fit.save` wrote.

    Parameters
    ----------
    path : str or path
        A netCDF file or Zarr store.

    Returns
    -------
    Fit or MDNFit
        With the specification and every group of the tree, in memory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, or was not written by bayesmix.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}.")
    try:
        folder = path.is_dir()
        opened = (
            xr.open_datatree(path, engine="zarr", consolidated=False)
            if folder
            else xr.open_datatree(path, engine="h5netcdf")
        )
        with opened:
            tree = opened.load()
    except Exception as error:  # each backend has exceptions of its own for broken files
        raise ValueError(
            f"{path} ({_size(path)}) cannot be read as a saved fit: it is truncated, or of another format "
            f"({type(error).__name__}: {error}). Save the fit again with fit.save(...)."
        ) from error
    if "bayesmix_format" not in tree.attrs or not {"mixture", "mdn"} & set(tree.attrs):
        raise ValueError(f"{path} holds data, but not a fit that bayesmix saved: the specification is missing.")
    if int(tree.attrs["bayesmix_format"]) > FORMAT:
        raise ValueError(
            f"{path} has format {tree.attrs['bayesmix_format']}, but this version of bayesmix reads up to {FORMAT}; upgrade it."
        )
    tree.attrs = {name: value for name, value in tree.attrs.items() if name != "bayesmix_format"}
    if "mdn" in tree.attrs:
        return MDNFit.from_tree(tree)
    return Fit(Mixture.from_dict(json.loads(tree.attrs["mixture"])), tree)


def _size(path):
    return f"{path.stat().st_size} bytes" if path.is_file() else "a folder"


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
