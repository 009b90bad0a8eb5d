"""The pass of components of several kinds: each kind has columns of the rows, arguments and statistics of its own.

What the pass of parts side by side does for a component (`bayesmix.likelihood.joined`) is written once for each kind, and
every component takes the lines of its kind. The columns that the kinds read stand behind one another; a, b and the
statistics begin at zero for each kind, and what a kind does not fill stays zero.
"""

import functools
from dataclasses import dataclass

import numpy as np

from .generate import Written
from .joined import Joined, Lines, lines_of, module_of

ARRAYS = ("a", "b", "first", "second")


@dataclass(frozen=True, eq=False)
class Kinds(Written):
    """Components of several kinds in one pass.

    Attributes
    ----------
    members : tuple of Joined
        The pass of each kind.
    kinds : tuple of int
        The kind of each component.
    with_base : tuple of bool
        Has a kind a last column, of what its log density is besides what the pass works out?
    missing : bool
        May cells be missing? Second statistics then have one number more, by which they are known.
    """

    members: tuple[Joined, ...]
    kinds: tuple[int, ...]
    with_base: tuple[bool, ...]
    missing: bool = False

    @functools.cached_property
    def columns(self) -> tuple[slice, ...]:
        """Columns of the rows of each kind, that of the base measure included."""
        widths = [member.sizes("x") + base for member, base in zip(self.members, self.with_base, strict=True)]
        stops = np.cumsum([0, *widths]).tolist()
        return tuple(slice(i, j) for i, j in zip(stops, stops[1:], strict=False))

    def sizes(self, name: str) -> int:
        """Length of one of the flat arrays: that of the kind with most."""
        return max(member.sizes(name) for member in self.members) + (self.missing and name == "second")

    @functools.cached_property
    def clusters(self) -> tuple[np.ndarray, ...]:
        """Components of each kind."""
        kinds = np.array(self.kinds)
        return tuple(np.flatnonzero(kinds == which) for which in range(len(self.members)))

    def split(self, name: str, values: np.ndarray) -> list[np.ndarray]:
        """What each kind has in an array (cluster, number) of all: (own cluster, own number)."""
        return [
            np.ascontiguousarray(values[own, : member.sizes(name)])
            for member, own in zip(self.members, self.clusters, strict=True)
        ]

    def together(self, name: str, pieces: list[np.ndarray]) -> np.ndarray:
        """Inverse of `split`, zero elsewhere."""
        values = np.zeros((len(self.kinds), self.sizes(name)))
        for own, piece in zip(self.clusters, pieces, strict=True):
            flat = np.reshape(piece, (len(own), -1))
            values[own, : flat.shape[1]] = flat
        return values

    @functools.cached_property
    def source(self) -> str:
        """The module."""
        return _module(self)


def _module(kinds: Kinds) -> str:
    every, named = [], 0
    for member, own, base in zip(kinds.members, kinds.columns, kinds.with_base, strict=True):
        lines = lines_of(member, own.start, named)
        if base:
            lines.density += ["for i in range(rows):", f"    joint[k, i] += x[start + i, {own.stop - 1}]"]
        every.append(lines)
        named += len(member.segments)
    joined = Lines(
        _by_kind([lines.prepare for lines in every]),
        _by_kind([lines.density for lines in every]),
        (_by_kind([lines.sums[0] for lines in every]), _by_kind([lines.sums[1] for lines in every])),
        _by_kind([lines.score for lines in every]),
        _by_kind([lines.closing for lines in every]),
        max(lines.n_constants for lines in every),
    )
    return module_of(joined, {name: kinds.sizes(name) for name in ("first", "second")}, kinds.kinds)


def _by_kind(every: list[list[str]]) -> list[str]:
    """The lines of each kind where a component is of that kind."""
    found = []
    for which, lines in enumerate(every):
        found.append(f"{'elif' if which else 'if'} KINDS[k] == {which}:")
        found += [f"    {line}" for line in lines or ["pass"]]
    return found
