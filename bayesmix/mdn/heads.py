"""From the outputs of a network to the parameters of components, and to the log density of a row.

A head knows how many outputs u a component needs, and maps them to its parameters by links that start at parameters for
all of the data: u = 0 is one component for all rows, outputs of a few units reach every place and width the data have. The
same links, written once with the namespace, are traced for the compiled likelihood and evaluated for prediction.
"""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import components
from ..arrays import Data, namespace
from ..components import Categorical, Component, MvNormal, Product
from ..expressions import column, constant, parameter
from ..likelihood.rowwise import Rowwise
from ..priors import REAL

ONE = float(np.log(np.e - 1.0))  # softplus(ONE) = 1
NEAR = 1e-6  # a probability for all of the data is taken to be so far from 0 and 1


class Head(ABC):
    """What a component is made of: outputs, settings read off the data, links.

    Attributes
    ----------
    component : Component
        The family, resolved.
    n_outputs : int
        Outputs u of the network for one component.
    settings : ndarray
        Numbers that the links need: place and width of the data.
    """

    component: Any
    n_outputs: int
    settings: np.ndarray

    @abstractmethod
    def parameters(self, xp, u: list, settings: list) -> dict:
        """Parameters by name from outputs and settings, one symbol or array each; lists for those with axes of their own."""

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Responses (obs, column) as `log_density` reads them."""
        return y

    @property
    def scales(self) -> slice:
        """Which settings are the scales that responses are divided by; none of a family that reads them as they are."""
        return slice(0, 0)

    @abstractmethod
    def log_density(self, xp, y: list, u: list, settings: list) -> Any:
        """Log density, in nats, of the responses that `encode` made y, a list of columns, of; given outputs and settings."""

    @abstractmethod
    def start(self, y: np.ndarray, quantile: float) -> np.ndarray:
        """Outputs (n_outputs,) of a component that lies at this quantile of encoded responses y (obs, column)."""

    def family_parameters(self, u: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters as the family takes them: u (..., cluster, output) -> (..., cluster, ...) each."""
        columns = [u[..., j] for j in range(self.n_outputs)]
        found = self.parameters(namespace(np.ones(1)), columns, list(self.settings))
        return {name: _stacked(value) for name, value in found.items()}


def _stacked(value):
    return np.stack([_stacked(one) for one in value], axis=-1) if isinstance(value, list) else np.asarray(value)


def softplus(xp, u):
    """log(1 + exp(u)), with a derivative everywhere."""
    positive = u > 0.0
    return xp.where(positive, u, 0.0) + xp.log1p(xp.exp(-xp.abs(xp.where(positive, u, -u))))


def expit(xp, u):
    """1 / (1 + exp(-u)), of which no part overflows."""
    small = xp.exp(-xp.abs(u))
    return xp.where(u > 0.0, 1.0, small) / (1.0 + small)


@dataclass(frozen=True, eq=False)
class Numbers(Head):
    """Parameters that are single numbers, of a family of one column.

    Families with a location read standardised responses: the location is ``center + scale u``, where u = 0 is the mean,
    and widths are those of one component for all of the data times softplus(u + 0.54), which is 1 at u = 0. Other
    positive numbers follow the same curve above their end, those between two ends a logistic one. Widths are kept from zero.
    """

    component: Component
    settings: np.ndarray  # center, scale and floor, then one for each parameter
    kinds: tuple[
        str, ...
    ]  # of each parameter: "location", "number", "positive", "width", "precision", "between", "known"

    @classmethod
    def of(cls, component: Component, data: Data, floor: np.ndarray, moments) -> "Numbers":
        """The head whose zero outputs are one component for all of the data."""
        center, scale = 0.0, 1.0
        if any(_is_location(p) for p in component.parameters) and getattr(component, "support", lambda: REAL)() == REAL:
            center, scale = (float(one[0]) for one in moments)
            data = replace(data, values=rounded((data.values - center) / scale))
        whole = component.initial_params(data, 1)
        kinds, settings = [], [center, scale, floor[0]]
        for p in component.parameters:
            low, high = p.support
            value = float(np.ravel(whole[p.name])[0])
            if p.known is not None:
                kind = "known"
            elif np.isfinite(high):
                kind, value = "between", float(np.clip((value - low) / (high - low), NEAR, 1.0 - NEAR))
                value = float(np.log(value) - np.log1p(-value))
            elif np.isfinite(low):
                kind, value = _collapse(component, whole, p.name), value - low
            else:
                kind = "location" if _is_location(p) else "number"
            kinds.append(kind)
            settings.append(value)
        return cls(component, np.array(settings), tuple(kinds))

    @property
    def n_outputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """One for each parameter that is not known."""
        return sum(kind != "known" for kind in self.kinds)

    def encode(self, y):
        """Standardised, of a family with a location."""
        center, scale = self.settings[:2]
        return y if (center, scale) == (0.0, 1.0) else (y - center) / scale

    @property
    def scales(self):
        """One."""
        return slice(1, 2)

    def _standard(self, xp, u, settings):
        """Parameters of the encoded responses."""
        floor, *whole = settings[2:]
        found, at = {}, 0
        for p, kind, own in zip(self.component.parameters, self.kinds, whole, strict=True):
            if kind == "known":
                found[p.name] = own + 0.0 * u[0]
                continue
            z, (low, high), at = u[at], p.support, at + 1
            if kind in ("location", "number"):
                value = own + z
            elif kind == "between":
                value = low + (high - low) * expit(xp, z + own)
            else:
                grown = softplus(xp, z + ONE)
                if kind == "width":
                    grown = grown + floor
                elif kind == "precision":
                    grown = grown / (1.0 + floor * floor * grown)
                value = low + own * grown
            found[p.name] = value
        return found

    def parameters(self, xp, u, settings):
        """See the class."""
        center, scale = settings[:2]
        found = self._standard(xp, u, settings)
        for p, kind in zip(self.component.parameters, self.kinds, strict=True):
            if kind == "location":
                found[p.name] = center + scale * found[p.name]
            elif kind == "width":
                found[p.name] = scale * found[p.name]
        return found

    def log_density(self, xp, y, u, settings):
        """That of the family, in the units of the responses."""
        return self.component.log_density(y[0], self._standard(xp, u, settings)) - xp.log(settings[1])

    def start(self, y, quantile):
        """A location at the quantile, numbers above an end around that of the whole, half as wide as all of the data."""
        z = (np.quantile(y[:, 0], quantile) - np.mean(y[:, 0])) / _sd(y[:, 0])
        away = {"location": z, "width": -0.7, "precision": 0.7, "positive": z, "between": z}
        return np.array([away.get(kind, 0.0) for kind in self.kinds if kind != "known"])


@dataclass(frozen=True, eq=False)
class Simplex(Head):
    """Probabilities of categories, a softmax of as many outputs."""

    component: Any
    settings: np.ndarray

    @classmethod
    def of(cls, component: Categorical, data: Data) -> "Simplex":
        """The head whose zero outputs are the shares in the data, one more row of each category counted."""
        component = component.resolved(data)
        counts = component.statistics(data.values).sum(axis=0) + 1.0
        return cls(component, np.log(counts / counts.sum()))

    @property
    def n_outputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """One for each category."""
        return len(self.settings)

    def _log_p(self, xp, u, settings):
        logits = [z + own for z, own in zip(u, settings, strict=True)]
        total = functools.reduce(xp.logaddexp, logits)
        return [logit - total for logit in logits]

    def parameters(self, xp, u, settings):
        """The probabilities, a list."""
        return {"p": [xp.exp(log_p) for log_p in self._log_p(xp, u, settings)]}

    def log_density(self, xp, y, u, settings):
        """The logarithm of the category's own probability."""
        found: Any = -np.inf
        for j, log_p in enumerate(self._log_p(xp, u, settings)):
            found = xp.where(xp.equal(y[0], float(j)), log_p, found)
        return found

    def start(self, y, quantile):
        """The shares in the data."""
        return np.zeros(self.n_outputs)


@dataclass(frozen=True, eq=False)
class Vector(Head):
    r"""Several normal columns: means, and the lower triangular factor P of the precision, ``P'P = Sigma^-1``.

    In standardised columns the diagonal of P is ``1 / (softplus(u) + floor)``, so that neither a matrix is solved nor a
    determinant computed (Williams 1996); the entries below are outputs as they are, none with independent columns.
    """

    component: Any
    settings: np.ndarray  # means, standard deviations and floors
    full: bool

    @classmethod
    def of(cls, component: MvNormal, floor: np.ndarray, moments) -> "Vector":
        """The head whose zero outputs are independent columns with the means and variances of the data."""
        if component.covariance not in ("full", "diag"):
            raise ValueError(
                f'the covariance of {component} is not one that a network can give; take covariance="full" or "diag".'
            )
        settings = np.concatenate([*moments, floor])
        return cls(component, settings, component.covariance == "full")

    @property
    def n_columns(self) -> int:
        """Number of columns D."""
        return len(self.settings) // 3

    @property
    def n_outputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """D means and the factor's D diagonal entries, and D (D - 1) / 2 below."""
        d = self.n_columns
        return 2 * d + self.full * (d * (d - 1) // 2)

    def encode(self, y):
        """Standardised."""
        d = self.n_columns
        return (y - self.settings[:d]) / self.settings[d : 2 * d]

    @property
    def scales(self):
        """One for each column."""
        return slice(self.n_columns, 2 * self.n_columns)

    def _factor(self, xp, u, settings):
        """Widths 1 / P_jj in standardised units, and the rows of P below the diagonal."""
        d = self.n_columns
        widths = [softplus(xp, z + ONE) + least for z, least in zip(u[d : 2 * d], settings[2 * d :], strict=True)]
        rest, rows = list(u[2 * d :]), []
        for j in range(d):
            rows.append([rest.pop(0) for _ in range(j)] if self.full else [])
        return widths, rows

    def log_density(self, xp, y, u, settings):
        """Sum of the log densities of the columns of P (y - mu)."""
        d = self.n_columns
        widths, rows = self._factor(xp, u, settings)
        z = [y[j] - u[j] for j in range(d)]
        total: Any = -0.5 * d * np.log(2.0 * np.pi)
        for j in range(d):
            own = sum((p * z[i] for i, p in enumerate(rows[j])), z[j] / widths[j])
            total = total - 0.5 * own * own - xp.log(widths[j]) - xp.log(settings[d + j])
        return total

    def parameters(self, xp, u, settings):
        """Means, a list, and covariances, a list of rows."""
        d = self.n_columns
        widths, rows = self._factor(xp, u, settings)
        inverse: list = [[0.0 * u[0]] * d for _ in range(d)]  # of P, by forward substitution
        for j in range(d):
            inverse[j][j] = widths[j]
            for i in range(j):
                inverse[j][i] = (
                    -widths[j] * sum(rows[j][m] * inverse[m][i] for m in range(i, j)) if rows[j] else 0.0 * u[0]
                )
        sd = settings[d : 2 * d]
        cov = [
            [sd[i] * sd[j] * sum(inverse[i][m] * inverse[j][m] for m in range(min(i, j) + 1)) for j in range(d)]
            for i in range(d)
        ]
        return {"mu": [settings[j] + sd[j] * u[j] for j in range(d)], "cov": cov}

    def start(self, y, quantile):
        """At the quantile of the first principal component, half as wide as all of the data."""
        d = self.n_columns
        axis = np.linalg.eigh(np.atleast_2d(np.cov(y.T)))[1][:, -1]
        at = np.quantile(y @ axis, quantile) * axis
        return np.concatenate([at, np.full(d, -0.7), np.zeros(self.n_outputs - 2 * d)])


@dataclass(frozen=True, eq=False)
class Parts(Head):
    """Columns that are independent given the component, each part with a head of its own."""

    component: Any
    heads: tuple[Head, ...]

    @classmethod
    def of(cls, component: Product, data: Data, floor: np.ndarray, moments) -> "Parts":
        """The heads of the parts of a product."""
        component = component.resolved(data)
        parts = zip(component.with_data(data), component.slices, strict=True)
        every = ((part.component, own, floor[at], tuple(m[at] for m in moments)) for (part, own), at in parts)
        return cls(component, tuple(head_of(*one) for one in every))

    @property
    def n_outputs(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the parts."""
        return sum(head.n_outputs for head in self.heads)

    @property
    def settings(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of the parts."""
        return np.concatenate([head.settings for head in self.heads])

    def encode(self, y):
        """Those of the parts."""
        each = zip(self.component.slices, self.heads, strict=True)
        return np.concatenate([head.encode(y[:, own]) for own, head in each], axis=1)

    def _each(self, u, settings):
        at, begin = 0, 0
        for part, own, head in zip(self.component.parts, self.component.slices, self.heads, strict=True):
            n, s = head.n_outputs, len(head.settings)
            yield part, own, head, u[at : at + n], settings[begin : begin + s]
            at, begin = at + n, begin + s

    def parameters(self, xp, u, settings):
        """Those of the parts, by the names that the product has for them."""
        return {
            f"{part.name}_{name}": value
            for part, _, head, of_u, of_settings in self._each(u, settings)
            for name, value in head.parameters(xp, of_u, of_settings).items()
        }

    def log_density(self, xp, y, u, settings):
        """Sum over the parts."""
        return sum(head.log_density(xp, y[own], of_u, s) for _, own, head, of_u, s in self._each(u, settings))

    def start(self, y, quantile):
        """Those of the parts."""
        each = zip(self.component.slices, self.heads, strict=True)
        return np.concatenate([head.start(y[:, own], quantile) for own, head in each])


def head_of(component: Component, data: Data, floor: np.ndarray, moments=None) -> Head:
    """The head of a family for these data; `floor` (column,) keeps widths from zero, in units of those of all of the data.

    Data may be a sample, `moments` then the means and standard deviations (column,) of all rows.
    """
    if moments is None:
        moments = np.array([c.mean() for c in data.values.T]), np.array([_sd(c) for c in data.values.T])
    if isinstance(component, MvNormal):
        return Vector.of(component, floor, moments)
    if isinstance(component, Product):
        return Parts.of(component, data, floor, moments)
    if isinstance(component, Categorical):
        return Simplex.of(component, data)
    if component.multivariate or any(p.event_dims for p in component.parameters):
        raise TypeError(
            f"{component} cannot be the component of a network; take a family of one column, bm.MvNormal(), or a bm.Product "
            "of such."
        )
    return Numbers.of(component, data, floor, moments)


def to_plain(head: Head) -> dict:
    """Write a head as nested dicts, lists and numbers, for JSON."""
    found: dict = {"is": type(head).__name__, "component": components.to_plain(head.component)}
    if isinstance(head, Parts):
        return found | {"heads": [to_plain(one) for one in head.heads]}
    found["settings"] = head.settings.tolist()
    more = {"kinds": list(head.kinds)} if isinstance(head, Numbers) else {}
    return found | ({"full": bool(head.full)} if isinstance(head, Vector) else more)


def from_plain(plain: dict) -> Head:
    """Inverse of `to_plain`."""
    component: Any = components.from_plain(plain["component"])
    if plain["is"] == "Parts":
        return Parts(component, tuple(from_plain(one) for one in plain["heads"]))
    settings = np.array(plain["settings"], dtype=float)
    if plain["is"] == "Numbers":
        return Numbers(component, settings, tuple(plain["kinds"]))
    return Simplex(component, settings) if plain["is"] == "Simplex" else Vector(component, settings, plain["full"])


def rowwise_of(heads: tuple[Head, ...], n_columns: int) -> tuple[Rowwise, np.ndarray]:
    """The compiled likelihood of several kinds of components, which reads `encoded` responses, and its settings."""
    p, total = max(head.n_outputs for head in heads), sum(len(head.settings) for head in heads)
    u, symbols = [parameter(i) for i in range(p)], [parameter(p + j) for j in range(total)]
    at, densities = 0, []
    for which, head in enumerate(heads):
        own = symbols[at : at + len(head.settings)]
        y = [column(which * n_columns + j) for j in range(n_columns)]
        densities.append(constant(head.log_density(namespace(y[0]), y, u[: head.n_outputs], own)))
        at += len(head.settings)
    return Rowwise(tuple(densities), p, total), np.concatenate([head.settings for head in heads])


def standard_settings(heads: tuple[Head, ...]) -> tuple[np.ndarray, float]:
    """Settings under which densities are those of encoded responses, and what is then missing from their logarithms."""
    every, missing = [], []
    for head in heads:
        own = head.settings.copy()
        missing.append(-float(np.sum(np.log(own[head.scales]))))
        own[head.scales] = 1.0
        every.append(own)
    if len(set(missing)) > 1:  # the densities have no common unit but that of the responses
        return np.concatenate([head.settings for head in heads]), 0.0
    return np.concatenate(every), missing[0]


def encoded(heads: tuple[Head, ...], y: np.ndarray) -> np.ndarray:
    """Responses (obs, column) as each head reads them, side by side."""
    return np.concatenate([head.encode(y) for head in heads], axis=1)


def rounded(z: np.ndarray) -> np.ndarray:
    """Standardised numbers to six decimals: the unit of the data then changes nothing in training, not even its rounding."""
    return np.round(z, 6)


def _is_location(p) -> bool:
    return p.moves or (p.name == "mu" and p.support == REAL)


def _sd(column: np.ndarray) -> float:
    sd = float(np.std(column))
    return sd if sd > 0.0 else 1.0


def _collapse(component, params, name):
    """Does a component become narrow as this positive parameter goes to zero ("width"), to infinity, or not at all?"""
    spread = getattr(component, "spread", lambda params: params.get("sigma"))

    def width(factor):
        value = spread(params | {name: np.asarray(params[name]) * factor})
        return None if value is None else float(np.ravel(value)[0])

    narrow, wide = width(0.5), width(2.0)
    if narrow is None or wide is None or narrow == wide:
        return "positive"
    return "width" if narrow < wide else "precision"
