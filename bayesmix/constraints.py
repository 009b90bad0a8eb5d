"""What a parameter of the components may be instead of free: known, or one value for all components."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .priors import REAL, _floats, _immutable, _text, as_prior, storable


@storable
@dataclass(frozen=True)
class Fixed:
    """A parameter that is known: it is not estimated, and counts as none.

    Parameters
    ----------
    value : array_like
        One value for all components, or one for each, the component axis first: ``bm.Normal(mu=bm.Fixed(0))``,
        ``bm.Normal(mu=bm.Fixed([0, 5, 10]))``. Components with different values cannot change places: their labels mean
        something.

    Raises
    ------
    TypeError, ValueError
        If the values are no finite numbers; where the mixture is made, if they are not as many as it has components, or
        where the parameter cannot be.
    """

    value: Any

    def __post_init__(self):
        value = _floats(self.value, "Fixed", "a parameter that is known needs numbers, such as bm.Fixed(0)")
        if value.size == 0 or not np.all(np.isfinite(value)):
            raise ValueError(f"Fixed({self.value!r}) needs finite numbers.")
        object.__setattr__(self, "value", _immutable(value))

    def checked(self, name: str, support: tuple, ends: bool) -> "Fixed":
        """The same, or `ValueError` if a value is outside of the support, whose ends belong to it or do not."""
        value, (low, high) = np.asarray(self.value), support
        outside = (value < low) | (value > high) if ends else (value <= low) | (value >= high)
        if np.any(outside):
            raise ValueError(
                f"{name} must lie between {low:g} and {high:g}, but it is fixed at {value[outside].flat[0]:g}."
            )
        return self

    def full(self, n_components: int, shape: tuple, name: str) -> np.ndarray:
        """The values of all components, (cluster, ...), or `ValueError`."""
        value = np.asarray(self.value, dtype=float)
        wanted = (n_components, *shape)
        if value.shape in ((), shape, wanted):
            return np.broadcast_to(value, wanted).copy()
        raise ValueError(
            f"{name} is fixed at values of shape {value.shape}, but {n_components} components need shape {wanted}, one value "
            f"for each, or {shape}, the same for all."
        )

    def by_component(self, n_components: int, own: int) -> np.ndarray:
        """What is known of each component alone, (cluster, number), of a parameter with `own` dims: nothing of all."""
        value = np.asarray(self.value, dtype=float)
        return value.reshape(n_components, -1) if value.ndim > own else np.empty((n_components, 0))

    def __str__(self):
        return f"Fixed({_text(self.value)})"


@storable
@dataclass(frozen=True)
class Shared:
    """A parameter with one value for all components, which is estimated and counts once.

    ``bm.Normal(sigma=bm.Shared())`` has components of one size, ``bm.Normal(mu=bm.Shared())`` is a scale mixture.

    Parameters
    ----------
    prior : PreliZ distribution, optional
        Its prior; by default what each component would have.

    Raises
    ------
    TypeError, ValueError
        If the prior is none of this parameter.
    """

    prior: Any = None

    def checked(self, name: str, support: tuple = REAL, ends: bool = False) -> "Shared":
        """With the prior as a record."""
        return Shared(as_prior(self.prior, name, support))

    def __str__(self):
        return f"Shared({'' if self.prior is None else self.prior})"
