"""Draws on disk while a sampler runs, so that a run that is killed keeps what it has."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ..arrays import Data
from ..mixture import Mixture

RECORD = "run.json"


@dataclass(frozen=True)
class RunStore:
    """A folder with the specification and the settings of a run, and one Zarr store for each mode it started from."""

    folder: Path
    record: dict

    @classmethod
    def create(cls, path, mixture: Mixture, data: Data, **settings) -> "RunStore":
        """Make the folder; raise `FileExistsError` if there is one already, `FileNotFoundError` without its parent."""
        record = {"mixture": mixture.to_dict(), "data": fingerprint(data), **settings}
        return cls(make_folder(path, record, "read what it holds with bm.recover(path, data)"), record)

    @classmethod
    def open(cls, path) -> "RunStore":
        """Read the record of a folder that `create` made."""
        record = record_of(path)
        if "mixture" not in record:
            raise ValueError(
                f"{path} holds the run of a network; go on with it: bm.{record['engine']}(..., resume={str(path)!r})."
            )
        return cls(Path(path), record)

    def for_mode(self, i: int):
        """Where nutpie writes the chains of mode i."""
        import nutpie

        folder = self.folder / f"mode-{i}.zarr"
        folder.mkdir()
        return nutpie.zarr_store.LocalStore(str(folder))

    def trees(self) -> list:
        """Open what has been written: one tree for each mode, from the first on. Draws that were not made are NaN."""
        import xarray as xr

        found = sorted(self.folder.glob("mode-*.zarr"), key=lambda folder: int(folder.stem.split("-")[1]))
        return [
            xr.open_datatree(folder, engine="zarr", consolidated=False)
            for folder in found
            if (folder / "posterior").is_dir()
        ]


def make_folder(path, record: dict, advice: str) -> Path:
    """Make the folder of a run, with its record; `advice` says what to do with one that exists already."""
    folder = Path(path)
    if folder.exists():
        raise FileExistsError(f"store={str(path)!r} exists already; {advice}, or take another name.")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder.parent} does not exist; make it first.")
    folder.mkdir()
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def record_of(path) -> dict:
    """Read the record of a folder that `make_folder` made."""
    record = Path(path) / RECORD
    if not record.is_file():
        raise FileNotFoundError(f"{path} is no folder of a stored run: there is no {RECORD} in it.")
    return json.loads(record.read_text())


def fingerprint(data: Data) -> str:
    """Tell whether data are the same: a digest of the values, weights, groups and known labels of the rows."""
    digest = hashlib.sha256(data.values.tobytes())
    if data.weights is not None:
        digest.update(data.weights.tobytes())
    if data.units is not None:
        digest.update(data.units.group.tobytes())
        digest.update(data.units.known.tobytes())
    return digest.hexdigest()
