"""Multivariate t components."""

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import namespace
from ..likelihood.generate import kernel_of, score_of
from ..likelihood.student import log_gamma_ratio
from ..priors import POSITIVE, Prior, Priors
from . import incomplete
from .base import Component, Parameter, Statistics, full_shape
from .covariance.base import diagonal_of
from .mvnormal import MvNormal
from .normal import is_empty, recentre
from .student_t import MOST_NORMAL, StudentT

TYPICAL_NU = 8.0  # degrees of freedom to start from
NEARLY_NORMAL = 50.0  # degrees of freedom from which the limit may be the maximum
BY_ITSELF = ("VVV", "VVI", "VII")  # structures in which no component's matrix depends on another's
FIRST_UPDATES = 10  # on given responsibilities, before quasi-Newton steps
MOST_STEPS = 200
STOP_NU = 1e-14  # relative change of 1 / nu


@dataclass(frozen=True)
class MvStudentT(Component):
    r"""Multivariate t components: normal ones with heavy tails, which outliers move little.

    .. math:: p(x) = \frac{\Gamma((\nu + D) / 2)}{\Gamma(\nu / 2) (\nu \pi)^{D/2} |\Sigma|^{1/2}}
              \left(1 + \frac{(x - \mu)' \Sigma^{-1} (x - \mu)}{\nu}\right)^{-(\nu + D) / 2}

    with locations `mu` (cluster, feature), scale matrices `scale` (cluster, feature, feature) and degrees of freedom `nu` > 0
    (cluster,) (Peel & McLachlan 2000). The covariance matrix is nu / (nu - 2) times `scale`, for nu > 2. Cells that are
    there, of a row of which some are missing, have a t distribution of the same nu; features are uncorrelated, but not
    independent, where `scale` is diagonal.

    EM takes a row to be normal with covariance scale / u, u unknown, in the parameter-expanded form of Kent, Tyler & Vardi
    (1994), with `nu` estimated beside (Liu & Rubin 1995); that of Liu, Rubin & Wu (1998).

    Parameters
    ----------
    covariance : str, or a list of names
        Structure of the scale matrices: "full", "tied", "diag", "spherical" or three of mclust's letters, as of `MvNormal`
        (Andrews & McNicholas 2012). A list stands for as many families, for `bayesmix.sweep` to choose from.
    nu : float or PreliZ distribution, optional
        A number: the degrees of freedom, known, the same for all components. A distribution: the prior of nu, by default
        Gamma(2, 0.1) (Juárez & Steel 2010). EM's estimate goes up to 10 000, where a component is normal.
    mu, scale, sigma, corr, shape : optional
        Priors, as `mu`, `cov`, `sigma`, `corr` and `shape` of `MvNormal`, of the scale matrix in place of the covariance
        matrix; defaults are the same.

    Raises
    ------
    TypeError, ValueError
        If nu is not positive, the structure is unknown, or priors do not go together.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.MvStudentT(covariance="diag", nu=4), n_components=2))
    Mixture of 2 MvStudentT(covariance='diag', nu=4.0) components, weights ~ Dirichlet(1)
    """

    covariance: str | tuple[str, ...] = "full"
    nu: object = None
    mu: object = None
    scale: object = None
    sigma: object = None
    corr: object = None
    shape: object = None
    multivariate = True
    sufficient = False

    def __post_init__(self):
        nu = self.nu
        if isinstance(nu, int | float | np.number) and not isinstance(nu, bool):
            if not 0 < nu < np.inf:
                raise ValueError(f"nu={nu:g} but degrees of freedom are a positive number.")
            object.__setattr__(self, "nu", float(nu))
        else:
            self._check_priors(nu=POSITIVE)
        with _about(self):
            made = MvNormal(self.covariance, self.mu, self.scale, self.sigma, self.corr, self.shape)
        for name in ("covariance", "mu", "sigma", "corr", "shape"):
            object.__setattr__(self, name, getattr(made, name))

    @cached_property
    def _normal(self) -> MvNormal:
        """The normal family of the same locations and structure."""
        return MvNormal(self.covariance, self.mu, self.scale, self.sigma, self.corr, self.shape)

    def alternatives(self):
        """One family for each structure."""
        if isinstance(self.covariance, str):
            return (self,)
        return tuple(replace(self, covariance=structure) for structure in self.covariance)

    @property
    def letters(self) -> str:
        """The structure by mclust's letters."""
        return self._normal.letters

    @property
    def takes_missing(self):
        """The likelihood of the cells that are there is of a t distribution again."""
        return True

    @property
    def _known_nu(self) -> float | None:
        return self.nu if isinstance(self.nu, float) else None

    @property
    def parameters(self):
        """Mu (cluster, feature), scale (cluster, feature, feature) and nu (cluster,)."""
        reach = (0.0, MOST_NORMAL) if self._known_nu is None else (self._known_nu,) * 2
        nu = Parameter("nu", support=POSITIVE, reach=reach)
        return Parameter("mu", ("feature",)), Parameter("scale", ("feature", "feature_2")), nu

    @property
    def kernel(self):
        """The pass with full matrices, or with diagonal ones."""
        return f"student_{self._normal.kernel}"

    def check_data(self, data, n_components):
        """As of `MvNormal`."""
        with _about(self):
            self._normal.check_data(data, n_components)

    def check_parameters(self, params, n_components):
        """Mu of shape (K, D); scale of shape (K, D, D) or the structure's compact form; nu of shape (K,) or a number."""
        with _about(self):
            checked = self._normal.check_parameters(_as_normal(params), n_components)
        nu = np.asarray(params["nu"], dtype=float)
        nu = np.full(n_components, float(nu)) if nu.ndim == 0 else nu
        nu = full_shape(nu, (n_components,), "nu", f"{n_components} components")
        if np.any(nu <= 0):
            raise ValueError(f"nu must be positive, but it holds {nu.min():g}.")
        if self._known_nu is not None and np.any(nu != self._known_nu):
            raise ValueError(
                f"nu is {self._known_nu:g}, a setting of {self}, but it holds {nu[nu != self._known_nu][0]:g}."
            )
        return _from_normal(checked, nu)

    # -- the formula -----------------------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density, in nats.

        x (..., obs, feature); mu (..., cluster, feature), nu (..., cluster), scale (..., cluster, feature, feature), or in
        its place `precision_factor`, the lower triangular P with Sigma^-1 = P'P. Returns (..., obs, cluster).
        """
        xp = namespace(x, *params.values())
        factor = params.get("precision_factor")
        if factor is None:
            factor = xp.inverse_lower(xp.cholesky(params["scale"]))
        z = xp.matvec(factor, x[..., None, :] - params["mu"])
        log_det = xp.sum(xp.log(xp.diagonal(factor)), axis=-1)
        return _log_density(xp, log_det, xp.sum(z**2, axis=-1), params["nu"], x.shape[-1])

    def observed_log_density(self, x, missing, params):
        """Of a t distribution again, with the rows and columns of Sigma that belong to the cells that are there."""
        own = _as_normal(params)
        log_det, squared = incomplete.observed_distance(x, missing, own)
        seen = (~missing).sum(axis=1)[:, None]
        xp = namespace(squared, params["nu"])
        some = _log_density(xp, log_det, squared, params["nu"], np.maximum(seen, 1))
        return xp.where(seen > 0, some, 0.0)

    def missing_moments(self, x, gone, params):
        """Conditional mean, and variances: infinite where nu and the number of cells that are there are 2 or less."""
        mean, scale, nu = self._conditional(x, gone, params)
        with np.errstate(divide="ignore", invalid="ignore"):
            inflation = np.where(nu > 2.0, nu / (nu - 2.0), np.inf)
        return mean, np.broadcast_to(inflation[..., None] * diagonal_of(scale), mean.shape)

    def sample_missing(self, x, gone, params, labels, rng):
        """From the conditional distribution."""
        mean, scale, nu = self._conditional(x, gone, params)
        at = np.arange(len(labels))[:, None], np.arange(len(x)), labels
        scale, nu = (np.broadcast_to(part, (*mean.shape[:3], *part.shape[3:]))[at] for part in (scale, nu))
        return self._draw(mean[at], scale, nu, rng)

    def _conditional(self, x, gone, params):
        """Mean, scale and nu of the missing cells of rows of one pattern, given the others: a t distribution again.

        Its scale is that of the normal distribution times (nu + delta) / (nu + d), with d cells that are there and their
        squared distance delta (Ding 2016, *The American Statistician* 70).
        """
        own = _as_normal(params)
        mean, scale = incomplete.conditional_moments(x, gone, own)
        _, squared = incomplete.observed_distance(x, np.broadcast_to(gone, x.shape), own)
        nu, d = params["nu"], int((~gone).sum())
        return mean, scale * ((nu + squared) / (nu + d))[..., None, None], np.broadcast_to(nu + d, squared.shape)

    def marginal(self, kept, params):
        """A t distribution of the same nu, with the entries of mu and scale that belong to these columns."""
        where = np.asarray(kept)
        own = params["mu"][..., where], params["scale"][..., where[:, None], where]
        return self._of_columns(*own, params["nu"])

    def conditional(self, given, params):
        """A t distribution again, of nu + the number of given columns; see `missing_moments`."""
        d = params["mu"].shape[-1]
        x, gone = np.zeros((1, d)), np.array([j not in given for j in range(d)])
        x[0, list(given)] = list(given.values())
        axis = {"mu": -2, "scale": -3, "nu": -1}
        at_row = {name: np.expand_dims(value, axis[name] - 1) for name, value in params.items() if name in axis}
        mean, scale, nu = self._conditional(x, gone, at_row)
        return self._of_columns(mean[..., 0, :, :], scale[..., 0, :, :, :], nu[..., 0, :])

    def _of_columns(self, mu, scale, nu):
        """Family and parameters of t distributed columns: one column is `StudentT`."""
        if mu.shape[-1] == 1:
            return StudentT(), {"mu": mu[..., 0], "sigma": np.sqrt(scale[..., 0, 0]), "nu": nu}
        kind = "diag" if self._normal.kernel == "diagonal" else "full"
        return MvStudentT(kind), {"mu": mu, "scale": 0.5 * (scale + np.swapaxes(scale, -1, -2)), "nu": nu}

    def cdf(self, x, params):
        """P(X_1 <= x_1, ..., X_D <= x_D) for each component, by SciPy's quasi-Monte Carlo, to about 1e-4."""
        from scipy.stats import multivariate_t

        law: Any = multivariate_t
        x, mu, scale, nu = (np.asarray(a, dtype=float) for a in (x, params["mu"], params["scale"], params["nu"]))
        lead = np.broadcast_shapes(x.shape[:-1] + (1,), nu.shape)
        d = x.shape[-1]
        points, means = np.broadcast_to(x[..., None, :], (*lead, d)), np.broadcast_to(mu, (*lead, d))
        scales, nus = np.broadcast_to(scale, (*lead, d, d)), np.broadcast_to(nu, lead)
        out = np.empty(lead)
        for at in np.ndindex(*lead):
            out[at] = law.cdf(points[at], means[at], scales[at], nus[at], random_state=0)
        return out

    def marginal_cdf(self, x, params, feature):
        """Distribution function of t for one feature."""
        from scipy.special import stdtr

        sd = np.sqrt(params["scale"][..., feature, feature])
        return stdtr(params["nu"], (np.asarray(x)[:, None] - params["mu"][..., feature]) / sd)

    def marginal_quantile(self, q, params):
        """Mu + sigma times the quantile of t, feature by feature."""
        from scipy.stats import t

        quantile = np.asarray(t.ppf(q, params["nu"]))
        return params["mu"] + np.sqrt(diagonal_of(params["scale"])) * quantile[..., None]

    def sample(self, params, rng):
        """One row per row of the parameters: mu + L z / sqrt(u), with Sigma = L L' and nu u chi-squared."""
        return self._draw(params["mu"], params["scale"], params["nu"], rng)

    @staticmethod
    def _draw(mu, scale, nu, rng):
        z = rng.standard_normal(mu.shape)
        u = rng.chisquare(nu) / nu
        return mu + np.matmul(np.linalg.cholesky(scale), z[..., None])[..., 0] / np.sqrt(u)[..., None]

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The columns as they are; rows in which the same cells are missing together."""
        return self._normal.rows(data)

    def kernel_arguments(self, params):
        """Mu and nu side by side, and P or 1 / sigma."""
        mu, b = self._normal.kernel_arguments(_as_normal(params))
        return np.concatenate([mu, np.asarray(params["nu"], dtype=float)[..., None]], axis=-1), b

    def initial_params(self, data, n_components):
        """Mean of the data, and the scale that gives their covariance, for every component."""
        params = self._normal.initial_params(data, n_components)
        nu = TYPICAL_NU if self._known_nu is None else self._known_nu
        params["cov"] = params["cov"] * (1.0 - 2.0 / max(nu, 4.0))
        return _from_normal(params, np.full(n_components, nu))

    def m_step(self, params, statistics, guard=None):
        """Weighted means, scale matrices as the structure has them, and nu; a component without rows keeps what it had."""
        n, first, second = statistics.n, statistics.first, statistics.second
        d, weight = params["mu"].shape[1], first[:, -1]
        mean, scatter = recentre(params["mu"], Statistics(np.nan, weight, first[:, :d], second))
        expanded = guard is None and self.letters in BY_ITSELF  # scale over the sum of r u: Kent, Tyler & Vardi (1994)
        scale = self._normal._structure.m_step(scatter, weight if expanded else n, guard, params["scale"])
        left = is_empty(n, guard) & ~scale.any(axis=(1, 2))
        scale = np.where(left[:, None, None], params["scale"], scale)
        if self._known_nu is not None:
            return {"mu": mean, "scale": scale, "nu": params["nu"]}
        some = n > 0
        rows = np.where(some, n, 1.0)
        wanted = _digamma_gap(params["nu"]) - 2.0 * first[:, d] / rows
        if expanded:
            share = np.where(some, weight / rows, 1.0)
            wanted = wanted - (share - 1.0 - np.log(share))
        return {"mu": mean, "scale": scale, "nu": np.where(some, _nu_with_gap(wanted), params["nu"])}

    def maximise_given(self, data, responsibilities, guard=None):
        """Parameters that maximise the expected log-likelihood: a few updates, then quasi-Newton steps."""
        from scipy.optimize import minimize

        k, d = responsibilities.shape[1], data.n_features
        x, order = np.ascontiguousarray(data.values), slice(None)
        if data.missing:
            order = np.lexsort(np.isnan(x).T)
            x = np.ascontiguousarray(x[order])
        weights = np.ascontiguousarray(responsibilities[order].T, dtype=float)
        name = self.kernel_for(data.missing)
        run, score = kernel_of(name), score_of(name)

        def statistics_at(params):
            a, b = map(np.ascontiguousarray, self.kernel_arguments(params))
            every = [run(x, weights[j], np.zeros(1), a[j : j + 1], b[j : j + 1]) for j in range(k)]
            found = Statistics(
                sum(one[0] for one in every), *(np.concatenate([o[i] for o in every]) for i in (1, 2, 3))
            )
            return found, a, b

        def objective(vector):
            params = self.from_vector(start + unit * vector, k, d)
            try:
                found, a, b = statistics_at(params)
                value, d_a, d_b = found.log_likelihood, *score(a, b, *found[1:4])
                if guard is not None:
                    of_a, of_b = self.guard_score(params, guard)
                    value, d_a, d_b = value + self.guard_value(params, guard), d_a + of_a, d_b + of_b
            except np.linalg.LinAlgError:
                return np.inf, np.zeros_like(vector)
            gradient = unit * self.vector_gradient(params, d_a, d_b)
            usable = np.isfinite(value) and np.all(np.isfinite(gradient))
            return (-value, -gradient) if usable else (np.inf, np.zeros_like(vector))

        params = self.initial_params(data, k)
        for _ in range(FIRST_UPDATES):
            new = self.m_step(params, statistics_at(params)[0], guard)
            if not all(np.all(np.isfinite(value)) for value in new.values()) or self._singular(new["scale"]):
                return new
            params = new
        start = self.to_vector(params)
        unit = self.coordinate_scale(params) / np.sqrt(max(responsibilities.sum(), 1.0))
        options = {"maxcor": 20, "maxiter": MOST_STEPS, "ftol": 1e-15, "gtol": 1e-6}
        with np.errstate(all="ignore"):
            best = minimize(objective, np.zeros(len(start)), jac=True, method="L-BFGS-B", options=options)
        return self.from_vector(start + unit * best.x, k, d) if np.isfinite(best.fun) else params

    def beside_saddle(self, params):
        """Each component of large nu, made normal: on the way there the likelihood hardly rises, and the way is long."""
        if self._known_nu is not None:
            return []
        near = np.flatnonzero((params["nu"] > NEARLY_NORMAL) & (params["nu"] < MOST_NORMAL))
        return [params | {"nu": np.where(np.arange(len(params["nu"])) == k, MOST_NORMAL, params["nu"])} for k in near]

    @staticmethod
    def _singular(scale):
        sd = np.sqrt(diagonal_of(scale))
        with np.errstate(all="ignore"):
            smallest = np.linalg.eigvalsh(np.nan_to_num(scale / (sd[:, :, None] * sd[:, None, :])))[:, 0]
        return bool(np.any(smallest < 1e-12))

    def guard(self, data, strength):
        """Rows of the data's own covariance (Chen & Tan 2009)."""
        return self._normal.guard(data, strength)

    def guard_around(self, params, strength):
        """Rows of the scale matrix pooled within the components."""
        return self._normal.guard_around(_as_normal(params), strength)

    def collapsed(self, params, data):
        """Smallest eigenvalue of each scale matrix, every column scaled to unit scale within components."""
        return self._normal.collapsed(_as_normal(params), data)

    def thin_direction(self, params, k):
        """Eigenvector of that smallest eigenvalue."""
        return self._normal.thin_direction(_as_normal(params), k)

    # -- free coordinates: those of the normal family, then log nu -----------------------------------------------------------
    def n_free(self, n_components, n_features):
        """Those of the normal family, and one for each nu that is estimated."""
        return self._normal.n_free(n_components, n_features) + (n_components if self._known_nu is None else 0)

    def to_vector(self, params):
        """Means, the structure's coordinates, then log nu."""
        own = self._normal.to_vector(_as_normal(params))
        return own if self._known_nu is not None else np.concatenate([own, np.log(params["nu"])])

    def from_vector(self, vector, n_components, n_features):
        """Split the coordinates; nu goes no farther than EM does."""
        if self._known_nu is not None:
            nu, own = np.full((*vector.shape[:-1], n_components), self._known_nu), vector
        else:
            nu = np.exp(np.minimum(vector[..., -n_components:], np.log(MOST_NORMAL)))
            nu, own = np.where(nu >= MOST_NORMAL * (1.0 - 1e-12), MOST_NORMAL, nu), vector[..., :-n_components]
        return _from_normal(self._normal.from_vector(own, n_components, n_features), nu)

    def _of_nu(self, params, d_a):
        """Gradient in log nu; none where EM goes no farther."""
        if self._known_nu is not None:
            return np.empty(0)
        return np.where((params["nu"] >= MOST_NORMAL) & (d_a[:, -1] > 0), 0.0, d_a[:, -1] * params["nu"])

    def vector_gradient(self, params, d_a, d_b):
        """Those of the normal family, then nu times the gradient in nu."""
        own = self._normal.vector_gradient(_as_normal(params), d_a[:, :-1], d_b)
        return np.concatenate([own, self._of_nu(params, d_a)])

    def gradient_at(self, vector, params, d_a, d_b):
        """At these coordinates themselves: axes have several."""
        own = self._normal.gradient_at(self._own(vector, params), _as_normal(params), d_a[:, :-1], d_b)
        return np.concatenate([own, self._of_nu(params, d_a)])

    def vector_curvature(self, params, d_a, d_b):
        """That of the normal family; diagonal in log nu."""
        return self._with_nu(self._normal.vector_curvature(_as_normal(params), d_a[:, :-1], d_b), params, d_a)

    def curvature_at(self, vector, params, d_a, d_b):
        """At these coordinates themselves."""
        own = self._normal.curvature_at(self._own(vector, params), _as_normal(params), d_a[:, :-1], d_b)
        return self._with_nu(own, params, d_a)

    def _own(self, vector, params):
        return vector if self._known_nu is not None else vector[: -len(params["nu"])]

    def _with_nu(self, curvature, params, d_a):
        of_nu = self._of_nu(params, d_a)
        size = len(curvature)
        whole = np.zeros((size + len(of_nu),) * 2)
        whole[:size, :size], whole[size:, size:] = curvature, np.diag(of_nu)
        return whole

    def vector_jacobian(self, params):
        """That of the normal family; nu in log nu."""
        own = self._normal.vector_jacobian(_as_normal(params))
        k, size = len(params["nu"]), own["mu"].shape[-1]
        free = 0 if self._known_nu is not None else k
        found = {n: np.concatenate([v, np.zeros((*v.shape[:-1], free))], axis=-1) for n, v in own.items()}
        nu = np.zeros((k, size + free))
        if free:
            nu[:, size:] = np.diag(params["nu"])
        return _from_normal(found, nu)

    def coordinate_scale(self, params):
        """That of the normal family; 1 for log nu."""
        own = self._normal.coordinate_scale(_as_normal(params))
        return own if self._known_nu is not None else np.concatenate([own, np.ones_like(params["nu"])])

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        own = self._normal.default_priors(data, n_components)
        priors = {"scale" if name == "cov" else name: prior for name, prior in own.items()}
        notes = {"scale" if name == "cov" else name: note for name, note in own.notes.items()}
        if self._known_nu is None:
            priors["nu"] = Prior.of("Gamma", POSITIVE, alpha=2.0, beta=0.1)
            notes["nu"] = "Juárez & Steel (2010)"
        return Priors(priors, notes)

    def pymc_variables(self, priors, n_components, n_features):
        """Mu, scale and nu, with P beside them."""
        import pymc as pm
        import pytensor.tensor as pt

        own = {"cov" if name == "scale" else name: prior for name, prior in priors.items() if name != "nu"}
        params, (mu, b) = self._normal.pymc_variables(Priors(own, {}), n_components, n_features, "scale")
        nu: Any
        if self._known_nu is None:
            nu = priors["nu"].variable("nu", dims="cluster")
        else:
            nu = pm.Deterministic("nu", pt.as_tensor(np.full(n_components, self._known_nu)), dims="cluster")
        made = {"mu": mu, "scale": params["cov"], "nu": nu, "precision_factor": params["precision_factor"]}
        return made, (pt.concatenate([mu, nu[:, None]], axis=1), b)

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.MvStudentT.dist(nu=params["nu"], mu=params["mu"], scale=params["scale"])


def _as_normal(params: dict) -> dict:
    """Parameters by the names of `MvNormal`, and the weights if they are there."""
    own = {"mu": params["mu"], "cov": params["scale"]}
    return own | {"weights": params["weights"]} if "weights" in params else own


def _from_normal(params: dict, nu) -> dict:
    return {"mu": params["mu"], "scale": params["cov"], "nu": nu}


@contextmanager
def _about(component: MvStudentT):
    """Let what the normal family has to say be said of this one."""
    try:
        yield
    except (TypeError, ValueError) as error:
        words = re.sub(r"\bcov\b", "scale", str(error)).replace("MvNormal", type(component).__name__)
        raise type(error)(words.replace("covariance matrices", "scale matrices")) from None


def _log_density(xp, log_det, squared, nu, d):
    """Log density of d cells at a squared distance, with the log determinant of P."""
    constant = log_gamma_ratio(xp, 0.5 * nu, 0.5 * d) - 0.5 * d * xp.log(np.pi * nu)
    return constant + log_det - 0.5 * (nu + d) * xp.log1p(squared / nu)


def _digamma_gap(nu):
    """log(nu / 2) - digamma(nu / 2), which falls from infinity to 0."""
    from scipy.special import psi

    return np.log(0.5 * nu) - psi(0.5 * nu)


def _nu_with_gap(gap):
    """The nu of this `_digamma_gap`, at most where EM goes: Newton's method on 1 / nu (Minka 2002, of gamma shapes)."""
    from scipy.special import polygamma, psi

    gap = np.maximum(gap, _digamma_gap(MOST_NORMAL))
    half = (3.0 - gap + np.sqrt((gap - 3.0) ** 2 + 24.0 * gap)) / (12.0 * gap)
    for _ in range(30):
        inverse = 1.0 / half + (np.log(half) - psi(half) - gap) / (half**2 * (1.0 / half - polygamma(1, half)))
        settled = np.all(np.abs(inverse * half - 1.0) < STOP_NU)
        half = 1.0 / inverse
        if settled:
            break
    return np.minimum(2.0 * half, MOST_NORMAL)
