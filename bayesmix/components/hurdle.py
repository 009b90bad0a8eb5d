"""Hurdle components: counts whose zeros are apart from all others."""

from dataclasses import dataclass
from typing import Any

from .inflated import OfBinomial, OfNegativeBinomial, OfPoisson


@dataclass(frozen=True)
class HurdlePoisson(OfPoisson):
    r"""Hurdle Poisson components for counts in one column: zeros, and Poisson counts above zero.

    :math:`p(0) = 1 - \psi` and :math:`p(x) = \psi f(x) / (1 - f(0))` for x > 0, with

    .. math:: f(x) = \mu^x e^{-\mu} / x!

    of rate `mu` > 0: psi is the share of rows above zero, as in PyMC. All parameters have shape (cluster,) (Mullahy
    1986). Off the support the log probability is -inf.

    To which component a zero belongs, one column hardly says: of a mixture only weights times psi are identified,
    unless further columns (`Product`) or a prior say more.

    Parameters
    ----------
    psi, mu : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default psi is uniform, and mu as for
        `Poisson`. EM does not use them; its estimate of psi stays 1e-8 from 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    psi: object = None
    mu: object = None
    zeros_are_its_own = False


@dataclass(frozen=True)
class HurdleNegativeBinomial(OfNegativeBinomial):
    r"""Hurdle negative binomial components for counts in one column: zeros, and negative binomial counts above zero.

    :math:`p(0) = 1 - \psi` and :math:`p(x) = \psi f(x) / (1 - f(0))` for x > 0, with

    .. math:: f(x) = \frac{\Gamma(x + \alpha)}{x!\, \Gamma(\alpha)}
              \left(\frac{\alpha}{\mu + \alpha}\right)^\alpha \left(\frac{\mu}{\mu + \alpha}\right)^x

    of mean `mu` > 0 and variance mu + mu^2 / alpha, `alpha` > 0: psi is the share of rows above zero, as in PyMC. All
    parameters have shape (cluster,) (Mullahy 1986). Off the support the log probability is -inf.

    To which component a zero belongs, one column hardly says: of a mixture only weights times psi are identified,
    unless further columns (`Product`) or a prior say more.

    Parameters
    ----------
    psi, mu, alpha : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default psi is uniform, and mu and alpha as
        for `NegativeBinomial`. EM does not use them; its estimate of psi stays 1e-8 from 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be.
    """

    psi: object = None
    mu: object = None
    alpha: object = None
    zeros_are_its_own = False


@dataclass(frozen=True)
class HurdleBinomial(OfBinomial):
    r"""Hurdle binomial components for counts in one column: zeros, and binomial counts above zero.

    :math:`p(0) = 1 - \psi` and :math:`p(x) = \psi f(x) / (1 - f(0))` for x > 0, with

    .. math:: f(x) = \binom{n}{x} p^x (1 - p)^{n - x}

    of `n` trials, each a success with probability `p`: psi is the share of rows above zero, as in PyMC. All
    parameters have shape (cluster,) (Mullahy 1986). Off the support the log probability is -inf.

    To which component a zero belongs, one column hardly says: of a mixture only weights times psi are identified,
    unless further columns (`Product`) or a prior say more.

    Parameters
    ----------
    n : int
        Number of trials behind every row, known, at least 2.
    psi, p : PreliZ distribution, optional
        Priors of the Bayesian engines, the same for every component. By default psi is uniform, and p as for
        `Binomial`. EM does not use them; its estimate of psi stays 1e-8 from 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If a prior is not a distribution, or puts mass where its parameter cannot be; if n is no number of trials.
    """

    n: int
    psi: object = None
    p: object = None
    zeros_are_its_own = False

    def pymc_dist(self, params):
        """Draws without rejection, which PyMC gives up where a success is rare: nothing, or a first success and those behind it."""
        import pymc as pm
        import pytensor.tensor

        pt: Any = pytensor.tensor
        psi, p = (pt.as_tensor_variable(params[name]) for name in ("psi", "p"))
        # The first success is the j-th trial with odds of a geometric distribution cut at n; the trials behind it are free.
        u: Any = pm.Uniform.dist(0, 1, size=p.shape)
        first = pt.clip(pt.ceil(pt.log1p(u * pt.expm1(self.n * pt.log1p(-p))) / pt.log1p(-p)), 1, self.n)
        count = 1 + pm.Binomial.dist(n=pt.cast(self.n - first, "int64"), p=p)
        return pt.where(pt.eq(pm.Bernoulli.dist(psi), 1), count, 0)
