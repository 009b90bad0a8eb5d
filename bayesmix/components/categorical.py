"""Categorical components for one column of categories."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import check_counts, check_one_column, namespace
from ..priors import Priors
from ..weight_priors import Dirichlet
from ..whole_numbers import is_whole
from .normal import midrange
from .simplex import Simplex


@dataclass(frozen=True)
class Categorical(Simplex):
    r"""Categorical components for one column of categories, numbered 0, 1, ..., C - 1.

    :math:`p(x) = p_x`, with probabilities `p` of shape (cluster, category) (Johnson, Kotz & Balakrishnan 1997, ch. 35, of
    one trial). Off the support the log probability is -inf.

    A mixture on one column is categorical itself, and the data say nothing of its components. A product of several
    columns is latent class analysis (Lazarsfeld & Henry 1968): ``bm.Product(a=bm.Categorical(), b=bm.Categorical())``.

    Parameters
    ----------
    n_categories : int, optional
        Number of categories C, at least 2. Left out it is taken from the data, the largest value plus 1; the mixture of
        the fit then states it.
    p : Dirichlet, optional
        Prior of each component's probabilities, ``bm.Dirichlet`` or PreliZ's: one concentration, or one for each category.
        By default Dirichlet(1), uniform. EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the number of categories is not a whole number, or the prior not a Dirichlet distribution.
    """

    n_categories: int | None = None
    p: object = None
    discrete = True
    mixes_to_itself = True
    dim = "category"

    def __post_init__(self):
        super().__post_init__()
        if self.n_categories is not None and not is_whole(self.n_categories, 2):
            raise ValueError(f"n_categories={self.n_categories!r} but it must be a whole number, at least 2, or None.")

    def resolved(self, data):
        """With the number of categories that the data have."""
        if self.n_categories is not None:
            return self
        middle, width = midrange(data)
        return replace(self, n_categories=max(2, int(np.rint(middle[0] + 0.5 * width[0])) + 1))

    def n_outcomes(self, n_features):
        """Number of categories."""
        if self.n_categories is None:
            raise ValueError("the number of categories is not known: give it, bm.Categorical(n_categories=...).")
        return self.n_categories

    def coords(self, data):
        """The categories."""
        return {"category": np.arange(self.n_outcomes(1))}

    def check_data(self, data, n_components):
        """One column of whole numbers, less than the number of categories."""
        check_one_column(data, self)
        check_counts(data, self)
        x, c = data.values[:, 0], self.n_categories
        if c is not None and np.any(x >= c):
            row = int(np.argmax(x >= c))
            raise ValueError(
                f"Categorical(n_categories={c}) describes categories 0 to {c - 1}, but {int(np.sum(x >= c))} of {len(x)} "
                f"rows are larger; the first is {x[row]:g}, in row {row}. Number the categories from 0, or leave "
                "n_categories out."
            )

    def statistics(self, x):
        """One column for each category: 1 where the row is of it."""
        n = int(np.max(x, initial=1.0)) + 1 if self.n_categories is None else self.n_categories
        return (x == np.arange(n)).astype(float)

    def log_density(self, x, params):
        """Log probability, in nats; x (..., obs, 1), p (..., cluster, category) -> (..., obs, cluster)."""
        p = params["p"]
        xp = namespace(x, p)
        categories = np.arange(np.shape(p)[-1] if self.n_categories is None else self.n_categories)
        is_own = xp.equal(x[..., None], categories.astype(float))  # (..., obs, 1, category)
        own = xp.where(is_own, 1.0, 0.0)
        return xp.where(xp.sum(own, -1) > 0, xp.sum(xp.xlogy(own, p), -1), -np.inf)

    def cdf(self, x, params):
        """Sum of the probabilities up to x."""
        p = params["p"]
        return np.sum(np.where(np.arange(p.shape[-1]) <= np.asarray(x)[..., None], p, 0.0), axis=-1)

    def marginal_cdf(self, x, params, feature):
        """The cdf itself: there is one feature."""
        return self.cdf(np.asarray(x)[:, None], params)

    def marginal_quantile(self, q, params):
        """First category at which the cdf reaches q, (..., cluster, 1)."""
        p = params["p"]
        below = (np.cumsum(p, axis=-1) < q).sum(axis=-1)
        return np.minimum(below, p.shape[-1] - 1).astype(float)[..., None]

    def sample(self, params, rng):
        """One category per row of the parameters, (rows, 1)."""
        cumulative = np.cumsum(params["p"], axis=-1)
        points = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
        return (points >= cumulative).sum(axis=-1, keepdims=True).astype(float)

    def default_priors(self, data, n_components):
        """See the class."""
        return Priors({"p": Dirichlet(1.0)}, {"p": "uniform over the simplex"})

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.Categorical.dist(p=params["p"])
