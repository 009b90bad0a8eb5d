"""Von Mises components: directions in the plane."""

from dataclasses import dataclass

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE, Prior, Priors
from .base import Parameter
from .univariate import Univariate

LEAST_KAPPA = 1e-6  # below, a component is uniform
NEARLY_ONE = 1.0 - 1e-12  # mean resultant length that components start from, at most
PER_COMPONENT = 3.0  # how many components narrow the default prior, where their number is random


@dataclass(frozen=True)
class VonMises(Univariate):
    r"""Von Mises components on one column of angles: normal ones on the circle.

    :math:`p(x) = \frac{e^{\kappa \cos(x - \mu)}}{2 \pi I_0(\kappa)}` for angles x in radians from -pi to pi, with the
    mean direction `mu`, an angle as well, and the concentration `kappa` > 0, each of shape (cluster,) (Mardia & Jupp 2000,
    sec. 3.5.4). For large kappa 1 / sqrt(kappa) is the standard deviation in radians; for kappa near 0 all directions are
    alike. The circle has no ends: a component about pi goes on at -pi. Means, intervals and cumulative probabilities are
    those of numbers from -pi to pi, so turn the data where one of the components lies there.

    Parameters
    ----------
    mu, kappa : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default mu is uniform over the circle, but for one
        hundredth, and kappa ~ Gamma(1.5, 1.5 s^2), where 1 / s^2 is the concentration of K components that make up the
        data: :math:`s^2 = -2 \log R / K^2` with R the mean resultant length of all rows. EM does not use them.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    mu: object = None
    kappa: object = None
    closed = True

    @property
    def parameters(self):
        """Mu and kappa, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("kappa", support=POSITIVE, reach=(LEAST_KAPPA, np.inf))

    def support(self):
        """From -pi to pi."""
        return -np.pi, np.pi

    def check_data(self, data, n_components):
        """Angles in radians from -pi to pi, not all the same."""
        x = data.values
        if x.shape[1] == 1 and np.nanmax(np.abs(x)) > np.pi:
            raise ValueError(
                f"VonMises needs angles in radians from -pi to pi, but the data go from {x.min():g} to {x.max():g}; bring "
                "them there by (x + np.pi) % (2 * np.pi) - np.pi, degrees by np.deg2rad before."
            )
        super().check_data(data, n_components)

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 1), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        mu, kappa = params["mu"], params["kappa"]
        half = xp.sin(0.5 * (x - mu))
        inside = (x >= -np.pi) & (x <= np.pi)
        # kappa (cos(x - mu) - 1), without the difference
        return xp.where(inside, -2.0 * kappa * half * half - xp.log_i0e(kappa) - np.log(2.0 * np.pi), -np.inf)

    # -- the circle ------------------------------------------------------------------------------------------------------
    def canonical(self, params):
        """Directions from -pi to pi; on its way EM may turn beyond, so that its steps are continuous."""
        return params | {"mu": wrapped(params["mu"])}

    def check_parameters(self, params, n_components):
        """Directions as angles from -pi to pi, and positive concentrations."""
        checked = super().check_parameters(params, n_components)
        return checked | {"mu": wrapped(checked["mu"])}

    def start_given(self, data, responsibilities):
        """Mean direction, and the concentration of the mean resultant length (Banerjee et al. 2005, eq. 4.4)."""
        x, w = data.values, np.asarray(responsibilities, dtype=float)
        total = w.sum(axis=0)
        mean = (w * np.exp(1j * x)).sum(axis=0) / np.where(total > 0, total, 1.0)
        length = np.minimum(np.abs(mean), NEARLY_ONE)
        kappa = np.maximum(length * (2.0 - length**2) / (1.0 - length**2), LEAST_KAPPA)
        return {"mu": np.angle(mean), "kappa": np.where(total > 0, kappa, 1.0)}

    def start(self, moments):
        """Not from moments of numbers, see `start_given`."""
        raise NotImplementedError("directions start from their mean direction, not from means of numbers.")

    def spread(self, params):
        """1 / sqrt(kappa), the standard deviation of a concentrated component."""
        return 1.0 / namespace(params["kappa"]).sqrt(params["kappa"])

    # -- prediction: numbers from -pi to pi ------------------------------------------------------------------------------
    def scipy(self, params):
        """`scipy.stats.vonmises`, which winds around the circle."""
        from scipy.stats import vonmises

        return vonmises(params["kappa"], params["mu"])

    def cdf(self, x, params):
        """Probability of an angle from -pi to x."""
        line = self.scipy(params)
        return line.cdf(np.clip(x, -np.pi, np.pi)) - line.cdf(-np.pi)

    def marginal_quantile(self, q, params):
        """Quantile from -pi on, (..., cluster, 1)."""
        line = self.scipy(params)
        turns = q + line.cdf(-np.pi)
        whole = np.floor(turns)
        return (line.ppf(turns - whole) + 2.0 * np.pi * whole)[..., None]

    def sample(self, params, rng):
        """One angle per row of the parameters, (rows, 1)."""
        return wrapped(rng.vonmises(params["mu"], params["kappa"]))[:, None]

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        weights = np.ones(data.n_obs) if data.weights is None else data.weights
        length = np.abs(weights @ np.exp(1j * data.values[:, 0])) / weights.sum()
        width = -2.0 * np.log(np.clip(length, 1e-2, NEARLY_ONE)) / (n_components or PER_COMPONENT) ** 2
        return Priors(
            {
                "mu": Prior.of("VonMises", (-np.pi, np.pi), mu=0.0, kappa=0.01),
                "kappa": Prior.of("Gamma", POSITIVE, alpha=1.5, beta=1.5 * width),
            },
            {"mu": "uniform over the circle", "kappa": "3 rows' worth of the data's circular variance / K^2"},
        )


def wrapped(angle):
    """An angle from -pi to pi; those that are there stay as they are."""
    angle = np.asarray(angle, dtype=float)
    return np.where(np.abs(angle) <= np.pi, angle, (angle + np.pi) % (2.0 * np.pi) - np.pi)
