"""Normal components between bounds that are known, or estimated."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE
from .base import Parameter
from .normal import ends
from .univariate import Univariate, location_scale_priors

FARTHEST = 5.0  # widths between two bounds that mu may lie outside, and sigma may be: beyond, components look alike


@dataclass(frozen=True)
class TruncatedNormal(Univariate):
    r"""Normal components on one column, cut off at bounds that are known, or estimated by EM.

    :math:`p(x) = \frac{\phi(z) / \sigma}{\Phi(b) - \Phi(a)}` for lower <= x <= upper, where z, a and b are x, `lower` and
    `upper` less `mu`, over `sigma`: mean `mu` and standard deviation `sigma` > 0 before the cut, each of shape (cluster,)
    and in the units of the data (Johnson, Kotz & Balakrishnan 1994, sec. 13.10). Rows beyond a bound are not seen at all;
    rows that are, but are known only to lie beyond, are censored, which is another family. Far from a bound mu and sigma
    say little apart from each other: a component that falls off from the lower bound like an exponential one is matched
    by ever larger -mu and sigma.

    Parameters
    ----------
    mu, sigma : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component; by default those of `Normal`. EM does not use them;
        between two bounds its estimates of mu and sigma go up to 5 widths away, where a component is nearly uniform or
        exponential.
    lower, upper : float or None, optional
        The bounds, the same for all components: known numbers; infinite where they are not given. None stands for a bound
        that is estimated: whatever mu and sigma are, the likelihood rises as the bound draws near the rows, so that its
        maximum-likelihood estimate is the most extreme row (Cohen 1950), which counts as one parameter. The estimate
        lies inside the bound by about 1 / (n p), p the density there, less than any standard error of mu and sigma, which
        are as if the bound were known (Smith 1985). The likelihood jumps at the bound, so that engines which follow
        gradients do not sample it: they need known bounds, and say so.
    estimated : tuple of str
        Which bounds were estimated; a fit states this, users do not.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a number, the lower one is not below the upper one, or a prior is not a distribution, or puts
        mass where its parameter cannot be.
    """

    mu: object = None
    sigma: object = None
    lower: float | None = -np.inf
    upper: float | None = np.inf
    estimated: tuple = ()
    closed = True

    def __post_init__(self):
        check_bounds(self, infinite=True)
        super().__post_init__()

    @property
    def _ends(self) -> tuple[float, float]:
        """The bounds; infinite where they are not known yet."""
        return -np.inf if self.lower is None else self.lower, np.inf if self.upper is None else self.upper

    @property
    def n_profiled(self):
        """Bounds that are estimated."""
        return len(self.estimated)

    def resolved(self, data):
        """With the most extreme rows as the bounds that are estimated."""
        found = {
            n: float(end[0]) for n, end in zip(("lower", "upper"), ends(data), strict=True) if getattr(self, n) is None
        }
        return replace(self, **found, estimated=(*self.estimated, *found)) if found else self

    @property
    def parameters(self):
        """Mu and sigma, (cluster,) each."""
        lower, upper = self._ends
        if not (np.isfinite(lower) and np.isfinite(upper)):
            return Parameter("mu", moves=True), Parameter("sigma", support=POSITIVE)
        far = FARTHEST * (upper - lower)
        mu = Parameter("mu", moves=True, reach=(lower - far, upper + far))
        return mu, Parameter("sigma", support=POSITIVE, reach=(0.0, far))

    def support(self):
        """Between the bounds, which belong to it."""
        return self._ends

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        mu, sigma = params["mu"], params["sigma"]
        z = (x - mu) / sigma
        normal = -0.5 * z * z - 0.5 * np.log(2.0 * np.pi) - xp.log(sigma)
        lower, upper = self._ends
        a, b = (lower - mu) / sigma, (upper - mu) / sigma
        inside = (x >= lower) & (x <= upper)
        return xp.where(inside, normal - self._log_share(xp, a, b), -np.inf)

    def _log_share(self, xp, a, b):
        """Log of the probability between a and b, before the cut: from the tail that is nearer."""
        lower, upper = self._ends
        if not np.isfinite(upper):
            return xp.log_ndtr(-a) if np.isfinite(lower) else 0.0
        if not np.isfinite(lower):
            return xp.log_ndtr(b)
        right = a + b > 0
        most, least = xp.log_ndtr(xp.where(right, -a, b)), xp.log_ndtr(xp.where(right, -b, a))
        return most + xp.log(-xp.expm1(least - most))

    def _standard_bounds(self, params):
        mu, sigma = params["mu"], params["sigma"]
        lower, upper = self._ends
        return (lower - mu) / sigma, (upper - mu) / sigma

    def scipy(self, params):
        """`scipy.stats.truncnorm`."""
        from scipy.stats import truncnorm

        return truncnorm(*self._standard_bounds(params), params["mu"], params["sigma"])

    def sample(self, params, rng):
        """One value per row of the parameters, (rows, 1), by the quantile function."""
        return self.marginal_quantile(rng.uniform(size=params["mu"].shape), params)

    def start(self, moments):
        """Mean and standard deviation as they are."""
        return {"mu": moments.mean, "sigma": np.sqrt(moments.variance)}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def default_priors(self, data, n_components):
        """See the class."""
        unknown = [n for n in ("lower", "upper") if getattr(self, n) is None or n in self.estimated]
        if unknown:
            (low,), (high,) = ends(data)
            raise ValueError(
                f"{' and '.join(unknown)} of TruncatedNormal {'is' if len(unknown) == 1 else 'are'} to be estimated, which bm.em "
                "does: the likelihood jumps at a bound, and Bayesian engines, which follow its gradient, need known ones. "
                f"Give numbers no farther in than the rows, which lie between {low:g} and {high:g}."
            )
        return location_scale_priors(data, n_components, "mu", "sigma")

    def pymc_dist(self, params):
        """PyMC's distribution of the same name, with the bounds that there are."""
        import pymc as pm

        bounds = dict(zip(("lower", "upper"), self._ends, strict=True))
        given = {name: np.asarray(bound) for name, bound in bounds.items() if np.isfinite(bound)}
        return pm.TruncatedNormal.dist(params["mu"], params["sigma"], **given)


def check_bounds(component, infinite):
    """Make the bounds of a family floats, or say what is wrong; None stands for those of the data."""
    name = type(component).__name__
    for which in ("lower", "upper"):
        bound = getattr(component, which)
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, int | float | np.number):
            raise TypeError(
                f"{which}={bound!r} but {name} needs a known number, the same for all components, or None for that of the "
                "data: the most extreme row, its maximum likelihood estimate."
            )
        object.__setattr__(component, which, float(bound))
    lower, upper = component.lower, component.upper
    if None not in (lower, upper) and not lower < upper:
        raise ValueError(f"lower={lower:g} must be below upper={upper:g}.")
    if not infinite and not all(np.isfinite(bound) for bound in (lower, upper) if bound is not None):
        raise ValueError(f"{name} needs finite bounds, but lower={lower} and upper={upper}.")
