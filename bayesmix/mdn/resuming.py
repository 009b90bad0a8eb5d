"""Runs of training that go on where they ended: what was asked, how far it came, and both in a folder while it runs."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..engines.store import make_folder, record_of
from ..randomness import generator
from .fit import MDNFit
from .specification import MDN
from .training import State

STATE = "state.npz"
SECONDS = 10.0  # between two writings of the state, if epochs are short
GROUP = "training_state"  # of the tree of a fit that was interrupted


@dataclass
class Run:
    """A run of `bayesmix.map_estimate` or `bayesmix.advi` on a network.

    Attributes
    ----------
    record : dict
        The specification, a digest of the data, the engine, its arguments, and the generator's state at the beginning.
    rng : Generator
    phase : str
        Which training the state is of: "temperature" or "weights".
    scores : dict
        Held-out log density by temperature, once the temperature has been chosen.
    state : State or None
        To go on from.
    folder : Path or None
        Where the state is written.
    """

    record: dict
    rng: np.random.Generator
    phase: str = ""
    scores: dict = field(default_factory=dict)
    state: State | None = None
    folder: Path | None = None

    @classmethod
    def begin(cls, engine: str, mdn: MDN, data: str, settings: dict, random_seed, store, resume) -> "Run":
        """Begin a run, or go on with `resume`, an interrupted fit or the folder of a stored run.

        Raises
        ------
        TypeError, ValueError
            If the run to go on with was of other data or arguments, or has ended.
        FileExistsError, FileNotFoundError
            If the folder `store` is there already, or its parent or the folder `resume` is not.
        """
        rng = generator(random_seed)
        asked = {"mdn": mdn.to_dict(), "data": data, "engine": engine, "settings": settings}
        asked = json.loads(json.dumps(asked, default=_plain))
        if resume is None:
            return cls(asked | {"generator": _state_of(rng)}, rng).stored(store)
        run = cls._read(resume)
        run._check(asked)
        if random_seed is not None and _state_of(rng) != run.record["generator"]:
            raise ValueError(
                f"random_seed={random_seed!r}, but the run to be resumed had another; leave random_seed out."
            )
        if store is None:
            return run
        if run.folder is not None:
            raise ValueError(
                f"store={str(store)!r}, but the run is stored in {run.folder} and goes on there; leave it out."
            )
        return run.stored(store)

    @classmethod
    def _read(cls, resume) -> "Run":
        if isinstance(resume, MDNFit):
            if GROUP not in resume.tree.children:
                raise ValueError(
                    f"the run of this fit was not interrupted ({resume.message}); there is nothing to go on with."
                )
            about, arrays, folder = resume.tree.attrs, dict(resume.tree[GROUP].dataset.variables), None
            record, phase, scores = json.loads(about["run"]), about["phase"], json.loads(about["scores"])
        elif isinstance(resume, str | os.PathLike):
            folder = Path(resume)
            record = record_of(folder)
            if "mdn" not in record:
                raise ValueError(
                    f"{folder} holds the draws of a mixture, not a network; read it with bm.recover(path, data)."
                )
            if not (folder / STATE).is_file():
                return cls(record, _generator_at(record["generator"]), folder=folder)
            with np.load(folder / STATE, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            phase, scores = str(arrays.pop("phase")), json.loads(str(arrays.pop("scores")))
        else:
            raise TypeError(
                f"resume must be an interrupted fit, or the folder that was given as store=, but it is {resume!r}."
            )
        by_temperature = {float(t): score for t, score in scores.items()}
        rng = _generator_at(record["generator"])
        return cls(record, rng, phase, by_temperature, State.from_arrays(arrays), folder)

    def _check(self, asked):
        own = self.record
        if own["engine"] != asked["engine"]:
            raise ValueError(f"the run to be resumed is one of bm.{own['engine']}, not bm.{asked['engine']}.")
        for what, name in (("specification", "mdn"), ("arguments", "settings")):
            now, then = asked[name], own[name]
            other = [f"{key}={then.get(key)!r}, now {value!r}" for key, value in now.items() if then.get(key) != value]
            if other:
                raise ValueError(
                    f"the run to be resumed had another {what}: {'; '.join(other)}. Give what was given then."
                    if name == "mdn"
                    else f"the run to be resumed had other {what}: {'; '.join(other)}. Give what was given then."
                )
        if own["data"] != asked["data"]:
            raise ValueError(
                "the data differ from those of the run to be resumed; give the same rows and columns of X and y, in the same order."
            )

    def stored(self, path) -> "Run":
        """Make the folder that the state is written to, if one is wanted."""
        if path is not None:
            advice = f"go on with what it holds by bm.{self.record['engine']}(..., resume={str(path)!r})"
            self.folder = make_folder(path, self.record, advice)
            if self.state is not None:
                self._write(self.phase, self.state)
        return self

    def state_for(self, phase: str) -> State | None:
        """The state to go on from in this phase."""
        return self.state if self.phase == phase else None

    def keeper(self, phase: str, n_epochs: int) -> Callable[[State], None]:
        """What training hands its state to: written every few seconds, and after the last epoch."""
        self.phase, last = phase, time.monotonic()

        def keep(state):
            nonlocal last
            self.state = state
            if self.folder is not None and (time.monotonic() - last >= SECONDS or state.epochs == n_epochs):
                self._write(phase, state)
                last = time.monotonic()

        return keep

    def end(self, state: State) -> None:
        """Write the state in which training ended."""
        self.state = state
        if self.folder is not None:
            self._write(self.phase, state)

    def _write(self, phase, state):
        """Write the file, whole or not at all."""
        assert self.folder is not None
        partial = self.folder / f".{STATE}.partial"
        with open(partial, "wb") as file:
            np.savez(file, phase=np.array(phase), scores=np.array(json.dumps(self.scores)), **state.arrays())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.folder / STATE)

    def remains(self) -> tuple[xr.Dataset, dict]:
        """What the tree of an interrupted fit keeps, and attributes."""
        assert self.state is not None
        variables = {}
        for name, value in self.state.arrays().items():
            dims = ("epoch", "network") if name in ("objective", "held_out") else ("network", "weight")
            variables[name] = (dims[: value.ndim], value)
        about = {"run": json.dumps(self.record), "phase": self.phase, "scores": json.dumps(self.scores)}
        return xr.Dataset(variables), about


def _state_of(rng: np.random.Generator) -> dict:
    return json.loads(json.dumps(rng.bit_generator.state, default=_plain))


def _generator_at(state: dict) -> np.random.Generator:
    """A generator of the kind that the state is of, in that state."""
    rng: Any = np.random.Generator(getattr(np.random, state["bit_generator"])())
    rng.bit_generator.state = state
    return rng


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
