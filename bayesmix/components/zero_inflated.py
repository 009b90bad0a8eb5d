"""Zero-inflated components: counts of which more are zero than their law says."""

from dataclasses import dataclass

from .inflated import OfBinomial, OfNegativeBinomial, OfPoisson


@dataclass(frozen=True)
class ZeroInflatedPoisson(OfPoisson):
    r"""Zero-inflated Poisson components for counts in one column: Poisson counts with further zeros.

    :math:`p(0) = 1 - \psi + \psi f(0)` and :math:`p(x) = \psi f(x)` for x > 0, with

    .. math:: f(x) = \mu^x e^{-\mu} / x!

    of rate `mu` > 0: psi is the share of rows of the law, its own zeros included, as in PyMC. All parameters have
    shape (cluster,) (Lambert 1992). Off the support the log probability is -inf.

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
    zeros_are_its_own = True


@dataclass(frozen=True)
class ZeroInflatedNegativeBinomial(OfNegativeBinomial):
    r"""Zero-inflated negative binomial components for counts in one column: overdispersed counts with further zeros.

    :math:`p(0) = 1 - \psi + \psi f(0)` and :math:`p(x) = \psi f(x)` for x > 0, with

    .. math:: f(x) = \frac{\Gamma(x + \alpha)}{x!\, \Gamma(\alpha)}
              \left(\frac{\alpha}{\mu + \alpha}\right)^\alpha \left(\frac{\mu}{\mu + \alpha}\right)^x

    of mean `mu` > 0 and variance mu + mu^2 / alpha, `alpha` > 0: psi is the share of rows of the law, its own zeros
    included, as in PyMC. All parameters have shape (cluster,) (Greene 1994). Off the support the log probability is
    -inf.

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
    zeros_are_its_own = True


@dataclass(frozen=True)
class ZeroInflatedBinomial(OfBinomial):
    r"""Zero-inflated binomial components for counts in one column: binomial counts with further zeros.

    :math:`p(0) = 1 - \psi + \psi f(0)` and :math:`p(x) = \psi f(x)` for x > 0, with

    .. math:: f(x) = \binom{n}{x} p^x (1 - p)^{n - x}

    of `n` trials, each a success with probability `p`: psi is the share of rows of the law, its own zeros included,
    as in PyMC. All parameters have shape (cluster,) (Hall 2000). Off the support the log probability is -inf.

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
    zeros_are_its_own = True

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.ZeroInflatedBinomial.dist(n=self.n, **params)
