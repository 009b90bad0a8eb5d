"""Normal components behind measurement errors of known size, which differ from row to row."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import namespace
from ..priors import POSITIVE
from . import incomplete
from .base import Parameter, Rows
from .covariance.base import diagonal_of
from .mvnormal import MvNormal
from .univariate import Univariate, location_scale_priors

FIRST_UPDATES = 20  # of EM, on given responsibilities


def check_errors(component, data):
    """Raise `ValueError` unless the given columns are standard deviations."""
    for name, column in zip(data.given, data.values[:, data.n_features :].T, strict=True):
        bad = np.flatnonzero(~((column >= 0) & np.isfinite(column)))
        if bad.size:
            raise ValueError(
                f"{component}: {name!r} holds standard deviations of errors, 0 or more and finite, but {bad.size} of "
                f"{len(column)} are not; in row {bad[0]} it is {column[bad[0]]:g}."
            )


@dataclass(frozen=True)
class NoisyNormal(Univariate):
    """What ``bm.Normal(error=...)`` makes: see `Normal`.

    The likelihood is bounded, but sigma may go to zero where the errors explain all that varies.
    """

    mu: Any = None
    sigma: Any = None
    error: Any = None
    stands_for = "Normal"

    def __post_init__(self):
        if not isinstance(self.error, str | int) or isinstance(self.error, bool):
            raise TypeError(
                f"error={self.error!r}, but it is the name of the column with the standard deviation of each row's error; "
                "put a single number into a column of the data."
            )
        super().__post_init__()

    @property
    def given(self):
        """The errors."""
        return (self.error,)

    @property
    def parameters(self):
        """Mu and sigma, (cluster,) each."""
        return Parameter("mu", moves=True), Parameter("sigma", support=POSITIVE)

    def check_data(self, data, n_components):
        """One column, and errors that can be."""
        super().check_data(data, n_components)
        check_errors(self, data)

    def _total(self, x, params):
        """Standard deviation of rows, errors included."""
        xp = namespace(x, *params.values())
        return xp.sqrt(params["sigma"] ** 2 + x[..., 1:] ** 2)

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, 2), parameters (..., cluster) -> (..., obs, cluster)."""
        xp = namespace(x, *params.values())
        variance = params["sigma"] ** 2 + x[..., 1:] ** 2
        off = x[..., :1] - params["mu"]
        return -0.5 * (off * off / variance + xp.log(variance) + np.log(2.0 * np.pi))

    def cdf(self, x, params):
        """Normal distribution function, errors included."""
        from scipy.special import ndtr

        return ndtr((x[..., :1] - params["mu"]) / self._total(x, params))

    def scipy(self, params):
        """`scipy.stats.norm`, of what was measured."""
        from scipy.stats import norm

        return norm(params["mu"], params["sigma"])

    def sample(self, params, rng, given=None):
        """One value per row of the parameters, with its error; what was measured itself where none are given."""
        error = 0.0 if given is None else given[:, 0]
        return rng.normal(params["mu"], np.hypot(params["sigma"], error))[:, None]

    def missing_moments(self, x, gone, params):
        """Mu, and both variances."""
        shape = (*np.broadcast_shapes(params["mu"].shape, (1, len(x), 1)), 1)
        mean, sd = params["mu"][..., None], self._total(x, params)[..., None]
        return np.broadcast_to(mean, shape), np.broadcast_to(sd**2, shape)

    def start(self, moments):
        """Mean and standard deviation."""
        return {"mu": moments.mean, "sigma": np.sqrt(moments.variance)}

    def spread(self, params):
        """Sigma."""
        return params["sigma"]

    def default_priors(self, data, n_components):
        """Those of `Normal`."""
        return location_scale_priors(data, n_components, "mu", "sigma")

    def pymc_dist(self, params, given=None):
        """PyMC's normal distribution, errors included."""
        import pymc as pm

        variance = params["sigma"] ** 2 + (0.0 if given is None else given[:, 0] ** 2)
        return pm.Normal.dist(params["mu"], variance**0.5)

    def __str__(self):
        return super().__str__().replace(type(self).__name__, "Normal", 1)


@dataclass(frozen=True)
class NoisyMvNormal(MvNormal):
    """What ``bm.MvNormal(error=...)`` makes, by the pass of `bayesmix.likelihood.deconvolution`: see `MvNormal`."""

    stands_for = "MvNormal"
    sufficient = False
    behind_errors = True
    posterior_layout = None  # pyright: ignore[reportAssignmentType]
    compiled_step = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self):
        given = (self.error,) if isinstance(self.error, str | int) else self.error
        if not isinstance(given, list | tuple) or not all(isinstance(name, str | int) for name in given) or not given:
            raise TypeError(
                f"error={self.error!r}, but it must name, for each column of the data, the column with the standard "
                'deviations of its errors: bm.MvNormal(error=["sd_a", "sd_b"]).'
            )
        object.__setattr__(self, "error", tuple(given))
        super().__post_init__()

    @property
    def given(self):
        """The errors of the columns; one column may serve several."""
        return tuple(dict.fromkeys(self.error or ()))

    @property
    def kernel(self):
        """With full matrices or with diagonal ones."""
        return f"noisy_{self._structure.kernel}"

    def _with_errors(self, x):
        """Rows and their errors: x (..., obs, D + given) -> (..., obs, D) each."""
        names, d = self.given, len(self.error or ())
        own = [d + names.index(name) for name in self.error or ()]
        return x[..., :d], x[..., own]

    def check_data(self, data, n_components):
        """As of `MvNormal`; an error for each column."""
        names = self.error or ()
        if len(names) != data.n_features:
            columns = ", ".join(map(repr, data.feature[:12]))
            raise ValueError(
                f"error names {len(names)} columns, {', '.join(map(repr, names))}, but there are {data.n_features} columns to "
                f"model: {columns}. Name one for each, the same for several if they share it."
            )
        check_errors(self, data)
        with_full = "full" if self._structure.kernel == "full" else "diag"
        MvNormal(with_full).check_data(data, n_components)

    # -- the formula -----------------------------------------------------------------------------------------------------
    def _totals(self, x, params):
        """Rows (..., obs, D), and covariances of rows (..., obs, cluster, D, D), errors included."""
        xp = namespace(x, *params.values())
        values, error = self._with_errors(x)
        cov = params.get("cov")
        if cov is None:
            lower = xp.inverse_lower(params["precision_factor"])
            cov = xp.sum(lower[..., :, None, :] * lower[..., None, :, :], axis=-1)
        own = np.eye(len(self.error or ()))
        return values, cov + (error**2)[..., None, :, None] * own

    def log_density(self, x, params):
        """Log density, in nats; x (..., obs, feature + given) -> (..., obs, cluster)."""
        values, total = self._totals(x, params)
        xp = namespace(x, *params.values())
        factor = xp.inverse_lower(xp.cholesky(total))
        z = xp.matvec(factor, values[..., None, :] - params["mu"])
        log_det = xp.sum(xp.log(xp.diagonal(factor)), axis=-1)
        return log_det - 0.5 * xp.sum(z**2, axis=-1) - 0.5 * np.log(2.0 * np.pi) * len(self.error or ())

    def observed_log_density(self, x, missing, params):
        """Of the cells that are there: a missing one gets variance 1, no covariances, and no distance."""
        values, total = self._totals(x, params)
        xp = namespace(x, *params.values())
        seen, gone = (~missing).astype(float)[:, None], missing.astype(float)[:, None]
        total = total * (seen[..., :, None] * seen[..., None, :]) + gone[..., None] * np.eye(missing.shape[1])
        factor = xp.inverse_lower(xp.cholesky(total))
        z = xp.matvec(factor, xp.where(missing[:, None], 0.0, values[..., None, :] - params["mu"]))
        log_det = xp.sum(xp.log(xp.diagonal(factor)), axis=-1)
        return log_det - 0.5 * xp.sum(z**2, axis=-1) - 0.5 * np.log(2.0 * np.pi) * seen.sum(axis=-1)

    def _conditional(self, x, gone, params):
        values, total = self._totals(x, params)
        return incomplete.conditional_moments(values, gone, {"mu": params["mu"], "cov": total})

    def missing_moments(self, x, gone, params):
        """Conditional mean and variances of what would have been measured, its error included."""
        mean, cov = self._conditional(x, gone, params)
        return mean, np.broadcast_to(diagonal_of(cov), mean.shape)

    def sample_missing(self, x, gone, params, labels, rng):
        """From the conditional distribution."""
        mean, cov = self._conditional(x, gone, params)
        at = np.arange(len(labels))[:, None], np.arange(len(x)), labels
        root = np.linalg.cholesky(np.broadcast_to(cov, (*mean.shape[:3], *cov.shape[3:]))[at])
        return mean[at] + np.matmul(root, rng.standard_normal((*labels.shape, int(gone.sum()), 1)))[..., 0]

    def marginal(self, kept, params):
        """Not as a family: errors belong to rows."""
        raise ValueError(
            f"columns of {self} have errors that differ from row to row, so that they are of no family by themselves; "
            "make a fit of bm.MvNormal() from the estimates, bm.Fit.from_parameters, for what was measured without error."
        )

    def conditional(self, given, params):
        """Not as a family, as `marginal`."""
        return self.marginal((), params)

    def cdf(self, x, params):
        """P(X_1 <= x_1, ..., X_D <= x_D) for each component, errors included, to about 1e-5."""
        values, total = self._totals(np.asarray(x, dtype=float), params)
        return super().cdf(values, {"mu": params["mu"], "cov": total})

    def sample(self, params, rng, given=None):
        """One row per row of the parameters, with its errors; what was measured itself where none are given."""
        drawn = super().sample(params, rng)
        if given is None:
            return drawn
        error = self._with_errors(np.concatenate([drawn, given], axis=1))[1]
        return drawn + error * rng.standard_normal(drawn.shape)

    def pymc_dist(self, params, given=None):
        """PyMC's normal distribution, errors included."""
        import pymc as pm

        cov = params["cov"]
        if given is not None:
            d = len(self.error or ())
            error = self._with_errors(np.concatenate([np.zeros((len(given), d)), given], axis=1))[1]
            cov = cov + (error**2)[:, None, :] * np.eye(d)
        return pm.MvNormal.dist(params["mu"], cov=cov)

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The columns and their errors beside them."""
        values = np.concatenate(self._with_errors(data.values), axis=1)
        return Rows(np.ascontiguousarray(values), np.empty(0) if data.weights is None else data.weights, 0.0)

    def statistics_given(self, x, responsibilities, params):
        """By one pass for each component: of what is not seen they are expected."""
        return self._statistics_with_missing(np.concatenate(self._with_errors(x), axis=1), responsibilities, params)

    def maximise_given(self, data, responsibilities, guard=None):
        """Some updates of EM, each of which raises the expected log-likelihood."""
        params = self.initial_params(data, responsibilities.shape[1])
        for _ in range(FIRST_UPDATES):
            params = self.m_step(params, self.statistics_given(data.values, responsibilities, params), guard)
        return params

    def __str__(self):
        return super().__str__().replace(type(self).__name__, "MvNormal", 1)
