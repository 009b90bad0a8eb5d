"""Uniform components between known bounds: noise."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import namespace
from ..priors import Priors
from .base import Parameter
from .normal import ends
from .truncated_normal import check_bounds
from .univariate import Univariate


@dataclass(frozen=True)
class Uniform(Univariate):
    r"""Uniform components on one column: noise that may be anywhere between known bounds.

    :math:`p(x) = 1 / (u - l)` for l <= x <= u, with `lower` l and `upper` u, in the units of the data (Johnson, Kotz &
    Balakrishnan 1995, ch. 26). The bounds are settings, the same for all components, and are not estimated: there is
    nothing else to estimate, so that all uniform components are alike. Beside components of another family one of them
    takes the rows that none of these explains (Banfield & Raftery 1993).

    Parameters
    ----------
    lower, upper : float, optional
        The bounds, known numbers. One that is left out is that of the data that the mixture is fitted to.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a finite number, or the lower one is not below the upper one.
    """

    lower: float | None = None
    upper: float | None = None
    closed = True
    mixes_to_itself = True

    def __post_init__(self):
        check_bounds(self, infinite=False)

    @property
    def parameters(self):
        """The bounds, (cluster,) each, which are known."""
        ends = {"lower": self.lower, "upper": self.upper}
        return tuple(Parameter(n) if v is None else Parameter(n, reach=(v, v)) for n, v in ends.items())

    def resolved(self, data):
        """With the ends of the data as the bounds that were left out."""
        if self.lower is not None and self.upper is not None:
            return self
        (low,), (high,) = ends(data)
        return replace(
            self, lower=low if self.lower is None else self.lower, upper=high if self.upper is None else self.upper
        )

    def support(self):
        """Between the bounds, which belong to it."""
        return -np.inf if self.lower is None else self.lower, np.inf if self.upper is None else self.upper

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), bounds (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        lower, upper = params["lower"], params["upper"]
        return xp.where((x >= lower) & (x <= upper), -xp.log(upper - lower), -np.inf)

    def log_tails(self, x, params):
        """Logarithms of the shares of the interval on either side."""
        xp = namespace(x, *params.values())
        lower, upper = params["lower"], params["upper"]
        above, inside = x > lower, x < upper
        middle = xp.where(above & inside, x, 0.5 * (lower + upper))
        log_width = xp.log(upper - lower)
        below = xp.where(inside, xp.log(middle - lower) - log_width, 0.0)
        beyond = xp.where(inside, xp.log(upper - middle) - log_width, -np.inf)
        return xp.where(above, below, -np.inf), xp.where(above, beyond, 0.0)

    def scipy(self, params):
        """`scipy.stats.uniform`."""
        from scipy.stats import uniform

        return uniform(params["lower"], params["upper"] - params["lower"])

    def start(self, moments):
        """The bounds."""
        ends = (self.lower, moments.smallest), (self.upper, moments.largest)
        return {n: end if known is None else known for n, (known, end) in zip(("lower", "upper"), ends, strict=True)}

    def default_priors(self, data, n_components):
        """There is nothing to give a prior to."""
        return Priors({}, {})
