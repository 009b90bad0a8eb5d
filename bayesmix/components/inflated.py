r"""What zero-inflated and hurdle families share: counts that are zero for a reason of their own.

With :math:`f` the law of counts and :math:`\psi` a probability, as in PyMC,

- zero-inflated: :math:`p(0) = 1 - \psi + \psi f(0)` and :math:`p(x) = \psi f(x)`: some zeros are the law's own (Lambert
  1992);
- hurdle: :math:`p(0) = 1 - \psi` and :math:`p(x) = \psi f(x) / (1 - f(0))`: no zero is (Mullahy 1986).
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import namespace
from ..priors import UNIT, Prior, Priors
from .base import Parameter
from .binomial import check_most, check_trials
from .counts import EDGE, BinomialLaw, Law, NegativeBinomialLaw, PoissonLaw
from .univariate import Univariate

PSI = Parameter("psi", support=UNIT, reach=(EDGE, 1.0 - EDGE))


class Inflated(Univariate):
    """A law of counts, and zeros besides: parameters psi and those of the law, (cluster,) each."""

    discrete = True
    zeros_are_its_own: ClassVar[bool]  # are some zeros the law's?

    @property
    @abstractmethod
    def law(self) -> Law:
        """The law of counts."""

    @property
    def parameters(self):
        """Psi and the parameters of the law, (cluster,) each."""
        return (PSI, *self.law.parameters)

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1) counts, parameters (..., cluster) -> (..., obs, cluster)."""
        xp, law, psi = namespace(x, *params.values()), self.law, params["psi"]
        count = xp.where(law.is_possible(xp, x) & (x > 0), x, 1.0)
        some = xp.log(psi) + law.log_pmf(xp, count, params)
        zero = xp.log1p(-psi)
        if self.zeros_are_its_own:
            zero = xp.logaddexp(zero, xp.log(psi) + law.log_zero(xp, params))
        else:
            some = some - law.log_some(xp, params)
        return xp.where(law.is_possible(xp, x), xp.where(xp.equal(x, 0.0), zero, some), -np.inf)

    def scipy(self, params):
        """The distribution, with the methods of one of SciPy's that are used here."""
        law = {name: value for name, value in params.items() if name != "psi"}
        return _Distribution(self.law.scipy(law), params["psi"], self.zeros_are_its_own)

    def start(self, moments):
        """From the moments of a zero-inflated Poisson distribution: variance / mean = 1 + (1 - psi) mu, mean = psi mu."""
        mean = np.maximum(moments.mean, 1e-6)
        some = np.maximum(mean + moments.variance / mean - 1.0, np.maximum(mean, 0.1))
        psi = np.clip(mean / some, 0.05, 0.95)
        return {"psi": psi, **self.law.start(some, some * (1.0 + 0.2 * some))}

    def default_priors(self, data, n_components):
        """Those of the law, and psi uniform."""
        law = self.law.default_priors(data, n_components)
        psi = Prior.of("Beta", UNIT, alpha=1.0, beta=1.0)
        return Priors({"psi": psi, **law}, {"psi": "uniform", **law.notes})


@dataclass(frozen=True)
class _Distribution:
    """Counts with other zeros: a frozen SciPy distribution, psi, and whether some zeros are its own."""

    law: Any
    psi: Any
    zeros_are_its_own: bool

    @property
    def _some(self):
        """Probability by which that of large counts is divided."""
        return 1.0 if self.zeros_are_its_own else self.law.sf(0)

    def cdf(self, x):
        """P(X <= x)."""
        above = self.psi * self.law.sf(np.maximum(x, 0.0)) / self._some
        return np.where(np.asarray(x) >= 0, 1.0 - above, 0.0)

    def ppf(self, q):
        """Smallest count whose cdf reaches q."""
        above = (1.0 - np.asarray(q)) / self.psi
        return np.where(above < 1.0, np.maximum(self.law.isf(np.minimum(above, 1.0) * self._some), 0.0), 0.0)

    def rvs(self, size, random_state):
        """Draw counts: of the law, of its counts above 0 where none of the zeros is its own, or zeros."""
        rng = random_state
        is_law = rng.random(size) < self.psi
        if self.zeros_are_its_own:
            return np.where(is_law, self.law.rvs(size=size, random_state=rng), 0)
        return np.where(is_law, np.maximum(self.law.isf(rng.random(size) * self._some), 1.0), 0.0)


class OfPoisson(Inflated):
    """The law is Poisson's."""

    law = PoissonLaw()  # pyright: ignore[reportAssignmentType]


class OfNegativeBinomial(Inflated):
    """The law is the negative binomial one."""

    law = NegativeBinomialLaw()  # pyright: ignore[reportAssignmentType]


class OfBinomial(Inflated):
    """The law is the binomial one, of a known number of trials."""

    n: int

    def __post_init__(self):
        check_trials(self.n, type(self).__name__)
        if self.n < 2:
            raise ValueError(
                f"n={self.n} but {type(self).__name__} needs at least 2 trials: of one trial all zeros look alike; use "
                "bm.Bernoulli."
            )
        object.__setattr__(self, "n", int(self.n))
        super().__post_init__()

    @property
    def law(self):
        """Binomial, of n trials."""
        return BinomialLaw(self.n)

    def check_data(self, data, n_components):
        """One column of whole numbers from 0 to n."""
        super().check_data(data, n_components)
        check_most(data, self.n, type(self).__name__)
