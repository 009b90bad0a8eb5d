"""The specification of a mixture density network."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from .. import components
from ..components import Component
from .network import ACTIVATIONS


@dataclass(frozen=True)
class MDN:
    r"""A mixture density network (Bishop 1994): a mixture whose weights and parameters are outputs of a network.

    .. math:: p(y \mid x) = \sum_{k=1}^K \pi_k(x)\, p(y \mid \theta_k(x))

    A specification: it holds no data and no weights, and is fitted by `bayesmix.map_estimate`, or, with a variational
    posterior over the network's weights, by `bayesmix.advi`. Covariates and responses are standardised inside; all
    densities are those of the responses as they were given.

    Parameters
    ----------
    component : Component or list of Component
        The family of the components: one of one column, ``bm.MvNormal()`` (or ``covariance="diag"``) for several
        responses, or a ``bm.Product`` of such. A list names one family per component.
    n_components : int, optional
        Number of components K, 3 unless a list says how many.
    hidden : tuple of int
        Units of the hidden layers; an empty tuple makes weights and parameters functions of linear predictors.
    activation : {"relu", "tanh", "silu"}
        What hidden units do with their input.
    residual, normalise : bool
        Should hidden layers of equal size be added to the one before (He et al. 2016), and their inputs be brought to mean
        0 and variance 1 over the units of a row (Ba, Kiros & Hinton 2016)? For deep networks.
    prior_scale : float
        Standard deviation of the normal prior of weights; that of the offsets of the last layer is twice as much.
    floor : float or "auto"
        Least width of a component, in units of the width of one component for all responses: repeated responses
        would make the density unbounded. "auto" takes the standard deviation of rounding, delta / sqrt(12), where all
        responses are multiples of some delta, and at least 0.001. The result states it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or size.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.MDN(bm.Normal(), n_components=5))
    MDN of 5 Normal() components, 50 hidden units
    """

    component: Any  # a Component, or a tuple of them
    n_components: Any = None
    hidden: tuple[int, ...] = (50,)
    activation: str = "relu"
    residual: bool = False
    normalise: bool = False
    prior_scale: float = 1.0
    floor: float | str = "auto"

    def __post_init__(self):
        several = isinstance(self.component, list | tuple)
        given = tuple(self.component) if isinstance(self.component, list | tuple) else (self.component,)
        if not given:
            raise ValueError("component is an empty list; name at least one family, such as bm.Normal().")
        for one in given:
            if not isinstance(one, Component):
                raise TypeError(
                    f"component must be a family such as bm.Normal(), or a list of them, but it holds {one!r}."
                )
        if len({one.discrete for one in given}) > 1:
            raise ValueError(
                f"components {', '.join(map(str, given))} are discrete and continuous: their densities have no common unit."
            )
        k = self.n_components if self.n_components is not None else len(given) if several else 3
        if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
            raise ValueError(f"n_components={k!r} but it must be a whole number, at least 1.")
        if several and k != len(given):
            raise ValueError(f"n_components={k} but the list names {len(given)} families; leave n_components out.")
        hidden = (self.hidden,) if isinstance(self.hidden, Integral) else tuple(self.hidden)
        if any(isinstance(h, bool) or not isinstance(h, Integral) or int(h) < 1 for h in hidden):
            raise ValueError(f"hidden={self.hidden!r} but it must be a tuple of numbers of units, (50,) for example.")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation={self.activation!r} but it must be one of {', '.join(map(repr, ACTIVATIONS))}."
            )
        for name in ("prior_scale", "floor"):
            value = getattr(self, name)
            if name == "floor" and isinstance(value, str) and value == "auto":
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 < float(value) < np.inf:
                raise ValueError(f"{name}={value!r} but it must be a positive number.")
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "component", given if several else given[0])
        object.__setattr__(self, "n_components", int(k))
        object.__setattr__(self, "hidden", tuple(int(h) for h in hidden))

    @property
    def families(self) -> tuple[Component, ...]:
        """The different families."""
        return tuple(dict.fromkeys(self._listed))

    @property
    def kinds(self) -> np.ndarray:
        """Which of the families each component is of, (cluster,)."""
        found = self.families
        listed = self._listed if len(self._listed) > 1 else self._listed * (self.n_components or 1)
        return np.array([found.index(one) for one in listed])

    @property
    def _listed(self):
        return self.component if isinstance(self.component, tuple) else (self.component,)

    def __str__(self):
        words = " + ".join(map(str, self._listed)) if isinstance(self.component, tuple) else str(self.component)
        layers = " and ".join(map(str, self.hidden))
        units = f"{layers} hidden unit{'s' * (self.hidden != (1,))}" if self.hidden else "no hidden units"
        return f"MDN of {self.n_components} {words} component{'s' * (self.n_components != 1)}, {units}"

    __repr__ = __str__

    # -- persistence -----------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict:
        """Write the specification as nested dicts, lists and numbers, for JSON."""
        own = {name: getattr(self, name) for name in ("activation", "residual", "normalise", "prior_scale", "floor")}
        return {
            "components": [components.to_plain(one) for one in self._listed],
            "several": isinstance(self.component, tuple),
            "n_components": self.n_components,
            "hidden": list(self.hidden),
            **own,
        }

    @classmethod
    def from_dict(cls, plain: dict) -> "MDN":
        """Inverse of `to_dict`."""
        own: Any = dict(plain)
        listed = [components.from_plain(one) for one in own.pop("components")]
        several = own.pop("several")
        own["hidden"] = tuple(own["hidden"])
        return cls(listed if several else listed[0], **own)
