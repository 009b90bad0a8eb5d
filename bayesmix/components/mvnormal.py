"""Multivariate normal components."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import check_full_rank, check_not_constant, namespace
from ..constraints import Fixed, Shared
from ..priors import (
    LKJ,
    POSITIVE,
    REAL,
    HierarchicalInverseGamma,
    HierarchicalInverseWishart,
    InverseWishart,
    Prior,
    Priors,
    dim,
)
from . import incomplete
from .base import Component, Guard, Parameter, Rows, full_shape
from .covariance import ALIASES, LETTERS, ONE_COLUMN, STRUCTURES, Structure
from .covariance.base import diagonal_of
from .normal import Normal, _weights, is_empty, midrange, moments, recentre

# what is left of a structure in some of the columns; of those not listed, nothing that is common to the components
STRUCTURE_OF_COLUMNS = {name: name for name in ("EII", "VII", "EEI", "VEI", "VVI", "EEE", "VEE")} | {"EVI": "VVI"}


@dataclass(frozen=True)
class MvNormal(Component):
    r"""Multivariate normal components.

    :math:`p(x) = (2\pi)^{-D/2} |\Sigma|^{-1/2} \exp(-(x-\mu)'\Sigma^{-1}(x-\mu)/2)`, with means `mu` of shape
    (cluster, feature) and covariance matrices `cov` of shape (cluster, feature, feature) whatever their structure.

    Parameters
    ----------
    covariance : str, or a list of names
        Structure of the covariance matrices. "full" (VVV): one free matrix per component; "tied" (EEE): one matrix
        shared by all; "diag" (VVI): diagonal matrices; "spherical" (VII): multiples of the identity. In all, mclust's
        fourteen, by three letters that say of volume, shape and orientation whether they are equal (E) among components,
        variable (V), or those of the identity (I): EII, VII, EEI, VEI, EVI, VVI, EEE, VEE, EVE, VVE, EEV, VEV, EVV, VVV
        (Banfield & Raftery 1993; Celeux & Govaert 1995). For one column E and V. A list stands for as many families, for
        `bayesmix.sweep` to choose from, and "all" for the fourteen.
    mu : PreliZ distribution, optional
        Prior of every entry of the means. Default: Normal(midrange, range), feature by feature
        (after Richardson & Green 1997).
    cov : InverseWishart or HierarchicalInverseWishart, optional
        Prior of the covariance matrices (full, tied). Default: inverse Wishart with D + 2 degrees of freedom and
        scale S / K^(2/D), where S is the covariance matrix of the data (Fraley & Raftery 2007); with a random number of
        components a hierarchical one.
    sigma : PreliZ distribution, optional
        Prior of the standard deviations. With "diag" and "spherical" in place of the default (scaled inverse
        chi-squared, 3 degrees of freedom, scale as above); with "full" and "tied" it replaces `cov` by
        standard deviations and correlations. With the ten structures that have no such name it is the prior of the
        geometric mean of the standard deviations along the axes, :math:`|\Sigma_k|^{1/2D}`.
    corr : LKJ, optional
        Prior of the correlations when `sigma` is given for "full" or "tied". Default: LKJ(2).
    shape : PreliZ Normal, optional
        EEI, VEI, EVI, EVE, VVE, EEV, VEV: prior of the log standard deviations along the axes, one number for all or one
        for each, before their mean is taken off. Default: those of the data, with standard deviation 1. Orientations are
        uniform. In VEE and EVV shape and orientation are those of an inverse Wishart matrix, whose prior is `cov`.
    error : sequence of str, optional
        For each column of the data, in their order, the column that holds the standard deviations :math:`s_n` of
        independent measurement errors, 0 where there is none. Rows then have the density
        :math:`N(\mu, \Sigma + \mathrm{diag}(s_n^2))`; `mu` and `cov` are those of what was measured (extreme
        deconvolution, Bovy, Hogg & Roweis 2011).

    Raises
    ------
    ValueError
        For an unknown structure, or priors that do not go together.
    TypeError
        If a prior is not a distribution.
    """

    covariance: str | tuple[str, ...] = "full"  # several: a list, kept as a tuple
    mu: object = None
    cov: object = None
    sigma: object = None
    corr: object = None
    shape: object = None
    error: tuple | None = None
    multivariate = True

    def __new__(cls, *args, error=None, **settings):
        """The family with errors, where there are some."""
        if error is None or cls is not MvNormal:
            return object.__new__(cls)
        from .noisy import NoisyMvNormal

        return object.__new__(NoisyMvNormal)

    def __post_init__(self):
        if isinstance(self.covariance, str) and self.covariance.lower() == "all":
            object.__setattr__(self, "covariance", LETTERS)
        if isinstance(self.covariance, list | tuple):
            self._check_several()
            return
        object.__setattr__(self, "covariance", _known(self.covariance))
        self._check_priors(mu=REAL, sigma=POSITIVE, shape=REAL)
        if isinstance(self.cov, Fixed):
            self._check_known(np.asarray(self.cov.value))
            return
        if isinstance(self.cov, Shared):
            raise ValueError(f'cov={self.cov}: one matrix for all components is bm.MvNormal(covariance="tied").')
        if self.cov is not None and not isinstance(self.cov, InverseWishart | HierarchicalInverseWishart):
            raise TypeError(
                f"the prior of cov must be bm.InverseWishart(nu, psi), but it is {self.cov!r}; for a prior on "
                "standard deviations and correlations give sigma=pz.HalfNormal(...) and corr=bm.LKJ(eta)."
            )
        if self.corr is not None and not isinstance(self.corr, LKJ):
            raise TypeError(f"the prior of corr must be bm.LKJ(eta), but it is {self.corr!r}.")
        on_matrix, takes = self._structure.prior_on == "cov", self._structure.takes
        if (self.cov is not None and "cov" not in takes) or (self.corr is not None and "corr" not in takes):
            raise ValueError(
                f'covariance="{self.covariance}" has no correlations: give a prior for {" and ".join(takes)} instead of '
                "cov or corr."
            )
        self._check_shape(takes)
        if on_matrix and self.cov is not None and (self.sigma is not None or self.corr is not None):
            raise ValueError(
                "give a prior for cov, or priors for sigma and corr, not both: they describe the same matrix."
            )
        if self.corr is not None and self.sigma is None:
            raise ValueError(
                "corr needs a prior of the standard deviations beside it, for example sigma=pz.HalfNormal(2)."
            )
        one_scale = self.letters == "VII" or self._structure.compiled is None
        if one_scale and getattr(self.sigma, "n_features", None) is not None:
            raise ValueError(
                f'covariance="{self.covariance}" has one standard deviation for all features: give a prior of sigma with single '
                f"numbers instead of {self.sigma}."
            )
        if on_matrix and self.sigma is not None:
            if not isinstance(self.sigma, Prior):
                raise ValueError(f"beside correlations sigma needs a PreliZ distribution, but it is {self.sigma}.")
            object.__setattr__(self, "corr", self.corr or LKJ(2.0))

    def _check_known(self, cov):
        """Raise `ValueError` unless matrices that are known can be, and have no priors beside them."""
        if given := [name for name in ("sigma", "corr", "shape") if getattr(self, name) is not None]:
            raise ValueError(f"cov is {self.cov}: it takes no prior of {' and '.join(given)} beside it.")
        if cov.ndim not in (2, 3) or cov.shape[-1] != cov.shape[-2]:
            raise ValueError(
                f"cov is fixed at values of shape {cov.shape}, but needs one matrix, (D, D), or (K, D, D)."
            )
        matrices = cov.reshape(-1, *cov.shape[-2:])
        mu = np.zeros(matrices.shape[:2])
        self.check_parameters({"mu": mu, "cov": matrices}, len(matrices))

    def _check_shape(self, takes):
        """Raise `ValueError` if there is a prior of the shape that cannot be."""
        if self.shape is None:
            return
        if "shape" not in takes:
            raise ValueError(
                f'covariance="{self.covariance}" has no shape by itself: it takes priors of {" and ".join(takes)}.'
            )
        family, values = getattr(self.shape, "family", ""), getattr(self.shape, "kwargs", {})
        if family != "Normal" or set(values) != {"mu", "sigma"}:
            raise ValueError(
                f"the prior of shape is {self.shape}, but logarithms that are centred need pz.Normal(mu, sigma)."
            )

    def _check_several(self):
        """Keep a list of structures as a tuple; raise what any of the families would raise by itself."""
        if not self.covariance:
            raise ValueError(f"covariance=[] names no structure; use some of {_NAMES}.")
        several = tuple(_known(name) for name in self.covariance)
        meant = [_letters(name) for name in several]
        if twice := next((name for name in several if meant.count(_letters(name)) > 1), None):
            raise ValueError(f"covariance={list(several)} names {twice!r} more than once.")
        object.__setattr__(self, "covariance", several)
        self.alternatives()

    def alternatives(self):
        """One family for each structure."""
        if isinstance(self.covariance, str):
            return (self,)
        return tuple(replace(self, covariance=structure) for structure in self.covariance)

    @property
    def _structure(self) -> Structure:
        return STRUCTURES[self.letters]

    @property
    def letters(self) -> str:
        """The structure by mclust's letters, under whatever name it was given."""
        return _letters(str(self.covariance))

    @property
    def posterior_layout(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Compiled posterior: by standard deviations, or by factors of the precision; None for most structures."""
        if self._structure.compiled is None:
            return None
        return "scale" if self.kernel == "diagonal" else "factor"

    @property
    def compiled_step(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Compiled M-step, for some structures."""
        return self._structure.compiled

    @property
    def takes_missing(self):
        """The likelihood of the cells that are there is normal again."""
        return True

    @property
    def parameters(self):
        """Mu (cluster, feature) and cov (cluster, feature, feature)."""
        return Parameter("mu", ("feature",)), Parameter("cov", ("feature", "feature_2"))

    @property
    def kernel(self):
        """The pass with full matrices, or with independent features."""
        return self._structure.kernel

    def check_data(self, data, n_components):
        """No constant column; where features are not independent no column that the others determine."""
        if self.covariance in ONE_COLUMN and data.n_features > 1:
            raise ValueError(
                f'covariance="{self.covariance}" is for one column, but the data have {data.n_features}; use '
                f"{' or '.join(name for name in LETTERS if name[0] == self.covariance and name[1] != 'E')}, ..., or "
                f"{ONE_COLUMN[str(self.covariance)]}."
            )
        check_not_constant(data, self)
        if self._structure.kernel == "full":
            check_full_rank(data, self)

    def check_parameters(self, params, n_components):
        """Mu of shape (K, D); cov of shape (K, D, D) or the structure's compact form: (D, D), (K, D) or (K,)."""
        mu = np.asarray(params["mu"], dtype=float)
        if mu.ndim != 2 or len(mu) != n_components:
            raise ValueError(f"mu has shape {mu.shape}, but {n_components} components need ({n_components}, features).")
        d = mu.shape[1]
        mu = full_shape(mu, (n_components, d), "mu", f"{n_components} components")
        cov = np.asarray(params["cov"], dtype=float)
        expanded = self._structure.expand(cov, n_components, d)
        cov = full_shape(
            cov if expanded is None else expanded,
            (n_components, d, d),
            "cov",
            f"{n_components} components of {d} features",
        )
        variance = diagonal_of(cov)
        scale = np.sqrt(np.abs(variance[:, :, None] * variance[:, None, :]))
        if np.any(np.abs(cov - np.swapaxes(cov, 1, 2)) > 1e-8 * scale):
            raise ValueError("cov must hold symmetric matrices, but entries above and below the diagonal differ.")
        cov = 0.5 * (cov + np.swapaxes(cov, 1, 2))
        bad = [k for k in range(n_components) if not _is_positive_definite(cov[k])]
        if bad:
            raise ValueError(f"cov must be positive definite, but the matrices of components {bad} are not.")
        if not self._structure.belongs(cov):
            raise ValueError(f'these covariance matrices do not have the structure "{self.covariance}" of the mixture.')
        return {"mu": mu, "cov": cov}

    # -- the formula -----------------------------------------------------------------------------------------------------
    def log_density(self, x, params):
        """Log density, in nats.

        x (..., obs, feature); mu (..., cluster, feature); cov (..., cluster, feature, feature), or in its place
        `precision_factor`, the lower triangular P with Sigma^-1 = P'P. Returns (..., obs, cluster).
        """
        xp = namespace(x, *params.values())
        factor = params.get("precision_factor")
        if factor is None:
            factor = xp.inverse_lower(xp.cholesky(params["cov"]))
        z = xp.matvec(factor, x[..., None, :] - params["mu"])
        log_det = xp.sum(xp.log(xp.diagonal(factor)), axis=-1)
        return log_det - 0.5 * xp.sum(z**2, axis=-1) - 0.5 * np.log(2 * np.pi) * x.shape[-1]

    def observed_log_density(self, x, missing, params):
        """Normal again, with the rows and columns of Sigma that belong to the cells that are there."""
        return incomplete.observed_log_density(x, missing, params)

    def missing_moments(self, x, gone, params):
        """Conditional mean and variances."""
        mean, cov = incomplete.conditional_moments(x, gone, params)
        return mean, np.broadcast_to(diagonal_of(cov), mean.shape)

    def sample_missing(self, x, gone, params, labels, rng):
        """From the conditional distribution."""
        return incomplete.sample(x, gone, params, labels, rng)

    def marginal(self, kept, params):
        """Normal again: the entries of mu and cov that belong to these columns."""
        where = np.asarray(kept)
        return self._of_columns(params["mu"][..., where], params["cov"][..., where[:, None], where])

    def conditional(self, given, params):
        """Normal again, with the conditional mean and covariance (Anderson 2003, sec. 2.5)."""
        d = params["mu"].shape[-1]
        x, gone = np.zeros((1, d)), np.array([j not in given for j in range(d)])
        x[0, list(given)] = list(given.values())
        with_rows = {"mu": params["mu"][..., None, :, :], "cov": params["cov"][..., None, :, :, :]}
        mean, cov = incomplete.conditional_moments(x, gone, with_rows)
        return self._of_columns(mean[..., 0, :, :], cov[..., 0, :, :, :])

    def _of_columns(self, mu, cov):
        """Family and parameters of normal columns with these moments: one column is `Normal`."""
        if mu.shape[-1] == 1:
            return Normal(), {"mu": mu[..., 0], "sigma": np.sqrt(cov[..., 0, 0])}
        letters = STRUCTURE_OF_COLUMNS.get(self.letters, "VVV")
        name = next((word for word, own in ALIASES.items() if own == letters), letters)
        return MvNormal(covariance=name), {"mu": mu, "cov": 0.5 * (cov + np.swapaxes(cov, -1, -2))}

    def cdf(self, x, params):
        """P(X_1 <= x_1, ..., X_D <= x_D) for each component, by SciPy's quasi-Monte Carlo, to about 1e-5."""
        from scipy.stats import multivariate_normal

        x, mu, cov = (np.asarray(a, dtype=float) for a in (x, params["mu"], params["cov"]))
        lead = np.broadcast_shapes(x.shape[:-1], mu.shape[:-2]) + mu.shape[-2:-1]
        d = x.shape[-1]
        points = np.broadcast_to(x[..., None, :], (*lead, d))
        means = np.broadcast_to(mu, (*lead, d))
        covs: Any = np.broadcast_to(cov, (*lead, d, d))
        out = np.empty(lead)
        for index in np.ndindex(*lead):
            out[index] = multivariate_normal.cdf(points[index], means[index], covs[index], rng=np.random.default_rng(0))
        return out

    def marginal_cdf(self, x, params, feature):
        """Normal distribution function of one feature."""
        from scipy.special import ndtr

        sd = np.sqrt(params["cov"][..., feature, feature])
        return ndtr((np.asarray(x)[:, None] - params["mu"][..., feature]) / sd)

    def marginal_quantile(self, q, params):
        """Mu + sigma times the standard normal quantile, feature by feature."""
        from scipy.special import ndtri

        return params["mu"] + np.sqrt(diagonal_of(params["cov"])) * ndtri(q)

    def sample(self, params, rng):
        """One row per row of the parameters: mu + L z with Sigma = L L'."""
        z = rng.standard_normal(params["mu"].shape)
        return params["mu"] + np.matmul(np.linalg.cholesky(params["cov"]), z[..., None])[..., 0]

    # -- the pass --------------------------------------------------------------------------------------------------------
    def rows(self, data):
        """The columns as they are; rows in which the same cells are missing together."""
        if data.missing:
            data = data.take(np.lexsort(np.isnan(data.values).T))
        return Rows(data.values, _weights(data), 0.0)

    def kernel_arguments(self, params):
        """mu, and P or 1 / sigma."""
        return params["mu"], self._structure.factor(params["cov"])

    def initial_params(self, data, n_components):
        """Mean and covariance of the data, for every component."""
        mean, cov = covariance(data)
        cov = self._structure.m_step(
            np.repeat(cov[None] if self._structure.kernel == "full" else np.diag(cov)[None], n_components, axis=0),
            np.ones(n_components),
            None,
        )
        return {"mu": np.repeat(mean[None], n_components, axis=0), "cov": cov}

    def m_step(self, params, statistics, guard=None):
        """Weighted means; covariances as the structure has them. A component without rows keeps what it had."""
        mean, scatter = recentre(params["mu"], statistics)
        cov = self._structure.m_step(scatter, statistics.n, guard, params["cov"])
        left = is_empty(statistics.n, guard) & ~cov.any(axis=(1, 2))  # a tied matrix is there without rows too
        return {"mu": mean, "cov": np.where(left[:, None, None], params["cov"], cov)}

    def guard(self, data, strength):
        """Rows of the data's own covariance (Chen & Tan 2009)."""
        cov = covariance(data)[1]
        return Guard(strength, strength * (cov if self._structure.kernel == "full" else np.diag(cov)))

    def guard_around(self, params, strength):
        """Rows of the covariance pooled within the components."""
        cov = np.einsum("k,kij->ij", params["weights"], params["cov"])
        return Guard(strength, strength * (cov if self._structure.kernel == "full" else np.diag(cov)))

    def collapsed(self, params, data):
        """Smallest eigenvalue of each covariance, every column scaled to unit variance within components.

        Zero where a matrix is not finite: there the arithmetic did not survive the collapse.
        """
        finite = np.isfinite(params["cov"]).all(axis=(1, 2))
        cov = np.where(finite[:, None, None], params["cov"], 0.0)
        sd = np.sqrt(params["weights"] @ diagonal_of(cov))
        if not finite.all():
            sd = np.where(sd > 0, sd, 1.0)
        return np.linalg.eigvalsh(cov / (sd[:, None] * sd))[:, 0]

    def thin_direction(self, params, k):
        """Eigenvector of that smallest eigenvalue."""
        sd = np.sqrt(params["weights"] @ diagonal_of(params["cov"]))
        scaled = params["cov"][k] / (sd[:, None] * sd)
        return np.linalg.eigh(scaled)[1][:, 0] if np.isfinite(scaled).all() else None

    # -- free coordinates --------------------------------------------------------------------------------------------------
    def n_free(self, n_components, n_features):
        """Means, and what the structure leaves free."""
        return n_components * n_features + self._structure.n_free(n_components, n_features)

    def to_vector(self, params):
        """Means, then the structure's coordinates."""
        return np.concatenate([params["mu"].ravel(), self._structure.to_vector(params["cov"])])

    def from_vector(self, vector, n_components, n_features):
        """Split the coordinates into mu and cov."""
        size = n_components * n_features
        mu = vector[..., :size].reshape(*vector.shape[:-1], n_components, n_features)
        return {"mu": mu, "cov": self._structure.from_vector(vector[..., size:], n_components, n_features)}

    def vector_gradient(self, params, d_a, d_b):
        """Gradient in the means, then in the structure's coordinates."""
        return np.concatenate([d_a.ravel(), self._structure.vector_gradient(params["cov"], d_b)])

    def gradient_at(self, vector, params, d_a, d_b):
        """At these coordinates themselves: axes have several."""
        return np.concatenate([d_a.ravel(), self._structure.gradient_at(vector[d_a.size :], params["cov"], d_b)])

    def vector_curvature(self, params, d_a, d_b):
        """None in the means; as the structure has it."""
        return self._curvature(d_a.size, self._structure.vector_curvature(params["cov"], d_b))

    def curvature_at(self, vector, params, d_a, d_b):
        """At these coordinates themselves."""
        return self._curvature(d_a.size, self._structure.curvature_at(vector[d_a.size :], params["cov"], d_b))

    @staticmethod
    def _curvature(size, own):
        curvature = np.zeros((size + len(own),) * 2)
        curvature[size:, size:] = own if own.ndim == 2 else np.diag(own)
        return curvature

    def vector_jacobian(self, params):
        """1 for the means; as the structure has it."""
        mu, of_cov = params["mu"], self._structure.jacobian(params["cov"])
        of_mu = np.eye(mu.size).reshape(*mu.shape, mu.size)
        return {
            "mu": np.concatenate([of_mu, np.zeros((*mu.shape, of_cov.shape[-1]))], axis=-1),
            "cov": np.concatenate([np.zeros((*of_cov.shape[:-1], mu.size)), of_cov], axis=-1),
        }

    def coordinate_scale(self, params):
        """Standard deviations for the means, and as the structure has it."""
        sd = np.sqrt(diagonal_of(params["cov"]))
        return np.concatenate([sd.ravel(), self._structure.coordinate_scale(params["cov"])])

    # -- priors ----------------------------------------------------------------------------------------------------------
    def default_priors(self, data, n_components):
        """See the class."""
        middle, width = midrange(data)
        priors: dict[str, Any] = {"mu": Prior.of("Normal", mu=middle, sigma=width)}
        notes = {"mu": "midrange and range of each column (Richardson & Green 1997)"}
        on = self._structure.prior_on
        if self.sigma is not None and on == "cov":
            return Priors(priors | {"sigma": self.sigma, "corr": self.corr}, notes)
        if n_components is None:
            priors[on] = self._structure.shared_prior(width)
            notes[on] = "one scale for all components, itself random (Richardson & Green 1997; Stephens 2000)"
            return Priors(priors, notes)
        variance = covariance(data)[1]
        priors |= {on: self._structure.default_prior(variance, n_components)} | self._structure.further_priors(variance)
        notes[on] = "the data's covariance, shared out over K components (Fraley & Raftery 2007)"
        return Priors(priors, notes)

    def pymc_variables(self, priors, n_components, n_features, matrix="cov"):
        """Mu and cov, with P beside it; the variable of the matrices may have another name."""
        for name, prior in priors.items():
            if isinstance(prior, HierarchicalInverseGamma | HierarchicalInverseWishart):
                raise ValueError(
                    f"the prior of {name} is {prior}, whose scale is random: for MvNormal only bm.gibbs takes it, PyMC "
                    "does not."
                )
        mu = priors["mu"].variable("mu", dims=("cluster", dim("feature")))
        structure: Any = self._structure
        cov, factor = structure.pymc_variable(priors, n_components, n_features, matrix)
        square = factor if self._structure.kernel == "full" else factor[:, :, None] * np.eye(n_features)
        return {"mu": mu, "cov": cov, "precision_factor": square}, (mu, factor)

    def pymc_dist(self, params):
        """PyMC's distribution of the same name."""
        import pymc as pm

        return pm.MvNormal.dist(params["mu"], cov=params["cov"])


_NAMES = f"{', '.join(ALIASES)}, {', '.join(LETTERS)}, and for one column {' and '.join(ONE_COLUMN)}"


def _known(name) -> str:
    """The name of a structure, letters in capitals."""
    if isinstance(name, str):
        if name.lower() in ALIASES:
            return name.lower()
        if name.upper() in STRUCTURES or name.upper() in ONE_COLUMN:
            return name.upper()
    raise ValueError(f"covariance={name!r} is not known; use one of {_NAMES}.")


def _letters(name: str) -> str:
    """Letters, as in mclust, of a known name."""
    return ALIASES.get(name) or ONE_COLUMN.get(name) or name


def covariance(data):
    """Weighted mean (feature,) and covariance (feature, feature) of the data, divided by the total weight.

    Where cells are missing, mean and variances are those of the cells that are there; covariances are sums over the rows
    that have both, divided by all, so that the matrix is positive definite, with correlations nearer to zero.
    """
    mean = moments(data)[0]
    if not hasattr(data, "values"):
        return mean, data.covariance
    centred = data.modelled - mean
    if data.missing:
        centred = np.where(np.isnan(centred), 0.0, centred)
    weighted = centred if data.weights is None else centred * data.weights[:, None]
    cov = weighted.T @ centred / data.total_weight
    if data.missing:
        np.fill_diagonal(cov, moments(data)[1])
    return mean, cov


def _is_positive_definite(matrix):
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if np.any(scale == 0):
        return False
    try:
        np.linalg.cholesky(matrix / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return False
    return bool(np.all(np.diag(matrix) > 0))
