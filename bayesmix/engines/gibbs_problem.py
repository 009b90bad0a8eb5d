"""From a specification and data to what the compiled Gibbs sampler reads, and from its draws back to parameters."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Data
from ..components.covariance.base import diagonal_matrices
from ..finite_mixtures import MFM
from ..likelihood.likelihood import Likelihood
from ..mixture import Mixture
from ..posterior.direct import _entry_prior
from ..priors import (
    POSITIVE,
    HierarchicalGamma,
    HierarchicalInverseGamma,
    HierarchicalInverseWishart,
    InverseWishart,
    Prior,
    ScaledInverseChiSquared,
    gamma_of,
)
from ..stick_breaking import StickBreaking
from ..weight_priors import Dirichlet
from .gibbs_kernels import FACTOR, RATE, SCALE, Problem, State
from .telescope import DYNAMIC, STATIC, STICKS, VECTOR

LAYOUTS = {"scale": SCALE, "factor": FACTOR, "rate": RATE}
MOST_AT_START = 10  # components at the start of a chain whose number of components is random


@dataclass(frozen=True, eq=False)
class Setup:
    """The problem of the compiled sampler, and how its arrays translate to the family's parameters."""

    mixture: Mixture
    data: Data
    likelihood: Likelihood
    problem: Problem
    scale: np.ndarray  # (feature, E), at the start of a chain
    hyper_name: str  # of the random rate in sample_stats; "" if there is none

    @property
    def room(self) -> int:
        """Largest number of components."""
        return self.mixture.n_components

    @property
    def random_partition(self) -> bool:
        """Is the number of components random, by itself or through that of the occupied ones (random concentration)?

        Not of a process cut off at `room` components, all of which are shown.
        """
        prior = self.mixture.weights
        return not prior.fixed_n_components or (bool(prior.hyper) and not isinstance(prior, StickBreaking))

    def state(self, params: dict, rng: np.random.Generator) -> State:
        """A chain's first state: parameters as they are, hyperparameters drawn from their priors."""
        component, room, (d, e) = self.mixture.component, self.room, self.scale.shape
        k = len(params["weights"])
        a, b = component.kernel_arguments(params)
        location, factor, spread = np.zeros((room, d)), np.zeros((room, d, e)), np.zeros((room, d, e))
        if self.problem.layout == RATE:
            location[:k, 0] = np.maximum(b, 1e-3 * b.max() + 1e-290)
        else:
            location[:k], factor[:k] = a, b.reshape(k, d, e)
            spread[:k] = params["cov"] if self.problem.layout == FACTOR else factor[:k] ** -2.0
        log_weights = np.full(room, -np.inf)
        log_weights[:k] = np.log(np.maximum(params["weights"], 1e-6) / np.maximum(params["weights"], 1e-6).sum())
        scale = self.scale.copy()
        if self.problem.hyper.size and self.problem.layout != FACTOR:
            scale[:, 0] = rng.gamma(self.problem.hyper[0] + 1.0) / self.problem.hyper[1]
        prior = self.mixture.weights.alpha
        alpha = prior.draw(rng) if isinstance(prior, Prior) else np.ravel(prior)[0]
        return State(
            location=location, factor=factor, spread=spread, scale=scale, log_weights=log_weights, n=np.zeros(room),
            first=np.zeros((room, d)), second=np.zeros((room, d, e)), n_components=np.array([k, k]),
            alpha=np.array([max(float(alpha), 1e-100) if isinstance(prior, Prior) else float(alpha)]),
            walk=np.array([0.0, 0.0]), exchanges=np.zeros(2),
        )  # fmt: skip

    def params(self, log_weights: np.ndarray, location: np.ndarray, spread: np.ndarray) -> dict:
        """The family's parameters by name, from arrays (..., feature) and (..., feature, E)."""
        weights, layout = np.exp(log_weights), self.problem.layout
        if layout == RATE:
            return {"weights": weights, "mu": location[..., 0]}
        if layout == FACTOR:
            return {"weights": weights, "mu": location, "cov": spread}
        if self.mixture.component.multivariate:
            return {"weights": weights, "mu": location, "cov": diagonal_matrices(spread[..., 0])}
        return {"weights": weights, "mu": location[..., 0], "sigma": np.sqrt(spread[..., 0, 0])}


def setup(mixture: Mixture, data: Data) -> Setup:
    """Translate a mixture and its data, or say why there is no Gibbs sampler for them.

    Raises
    ------
    ValueError
        If a prior is not conditionally conjugate, or row weights are not whole numbers.
    """
    component, k = mixture.component, mixture.n_components
    if component.posterior_layout not in LAYOUTS:
        raise ValueError(f"bm.gibbs has no full conditionals for {component} components; use bm.nuts.")
    data = _counted(data)
    likelihood = Likelihood(component, data, k)
    layout, d = LAYOUTS[component.posterior_layout], data.n_features
    priors = component.priors(data, mixture.stated_n_components)
    hyper, shared = np.empty((2, 0)), False
    if layout == RATE:
        shape, rate, hyper = _rate_prior(priors["mu"])
        location = np.array([[shape], [0.0]])
        scale = np.array([[rate]])
    elif layout == SCALE:
        location = _mean_prior(priors["mu"], d)
        shared = getattr(component, "letters", "") == "VII"
        shape, scale, hyper = _scale_prior(priors["sigma"], d, shared)
    else:
        location = _mean_prior(priors["mu"], d)
        shared = getattr(component, "letters", "") == "EEE"
        prior = priors.get("cov")
        if isinstance(prior, HierarchicalInverseWishart):
            scale = np.array(prior.psi, dtype=float)
            hyper = np.vstack([np.full((1, d), prior.psi_nu), prior.psi_nu * np.linalg.inv(scale)])
        elif isinstance(prior, InverseWishart):
            scale = np.array(prior.psi, dtype=float)
        else:
            raise _refused("sigma", f"{priors['sigma']} with {priors['corr']}", "cov=bm.InverseWishart(nu, psi)")
        shape = prior.nu
    kind, concentration, log_prior_k, alpha_prior = _weights_prior(mixture)
    x, counts = likelihood.rows.x, np.rint(likelihood.rows.weights).astype(np.int64)
    problem = Problem(
        x=np.ascontiguousarray(x.T), counts=counts, layout=layout, shared=shared, location_prior=location,
        shape=float(shape), hyper=hyper, kind=kind, concentration=concentration, log_prior_k=log_prior_k,
        alpha_prior=alpha_prior,
    )  # fmt: skip
    name = {SCALE: "sigma_rate", FACTOR: "cov_psi", RATE: "mu_rate"}[layout] if hyper.size else ""
    return Setup(mixture, data, likelihood, problem, np.ascontiguousarray(scale), name)


def _counted(data: Data) -> Data:
    """Rows with their weights as counts; those that count nothing are left out."""
    if data.weights is None:
        return data
    wrong = np.flatnonzero(data.weights != np.rint(data.weights))
    if len(wrong):
        raise ValueError(
            f"bm.gibbs draws the component of every row, so that weights are counts of rows, but {len(wrong)} of "
            f"{data.n_obs} are not whole numbers, the first {data.weights[wrong[0]]:g} of row {wrong[0]}; use bm.nuts."
        )
    return data.take(np.flatnonzero(data.weights > 0)) if np.any(data.weights == 0) else data


# -- priors -----------------------------------------------------------------------------------------------------------------
def _refused(name, prior, instead):
    return ValueError(
        f"the prior of {name} is {prior}, under which {name} has no full conditional that bm.gibbs could draw from; "
        f"use {instead}, or bm.nuts, which takes any prior."
    )


def _mean_prior(prior, d) -> np.ndarray:
    """Mean and precision of a normal prior, (2, feature)."""
    values = prior.kwargs if isinstance(prior, Prior) and prior.family == "Normal" else {}
    if set(values) == {"mu", "sigma"}:
        precision = 1.0 / np.asarray(values["sigma"]) ** 2
    elif set(values) == {"mu", "tau"}:
        precision = np.asarray(values["tau"])
    else:
        raise _refused("mu", prior, "pz.Normal(mu, sigma)")
    return np.stack([np.broadcast_to(values["mu"], d), np.broadcast_to(precision, d)]).astype(float)


def _scale_prior(prior, d, spherical) -> tuple[float, np.ndarray, np.ndarray]:
    """Shape a and rate b (feature, 1) of the gamma prior of 1 / sigma^2, and the prior of b."""
    size = 1 if spherical else d
    if isinstance(prior, ScaledInverseChiSquared):
        rate = np.broadcast_to(0.5 * prior.nu * np.asarray(prior.scale) ** 2, size)
        return 0.5 * prior.nu, np.resize(rate, d)[:, None].astype(float), np.empty((2, 0))
    if isinstance(prior, HierarchicalInverseGamma):
        return prior.alpha, np.ones((d, 1)), _hyper(prior.beta, size)
    raise _refused("sigma", prior, "bm.ScaledInverseChiSquared(nu, scale) or bm.HierarchicalInverseGamma(alpha, beta)")


def _rate_prior(prior) -> tuple[float, float, np.ndarray]:
    """Shape and rate of the gamma prior of a Poisson rate, and the prior of the rate of that."""
    if isinstance(prior, HierarchicalGamma):
        return prior.alpha, 1.0, _hyper(prior.beta, 1)
    found = gamma_of(prior)
    if found is None:
        raise _refused("mu", prior, "pz.Gamma(alpha, beta)")
    return float(found[0]), float(found[1]), np.empty((2, 0))


def _hyper(prior, size) -> np.ndarray:
    found = gamma_of(prior)
    assert found is not None  # the record has seen to it
    return np.stack([np.broadcast_to(value, size) for value in found]).astype(float)


def _weights_prior(mixture):
    """Kind of the concentrations, their values, log prior of K, and prior of alpha as the kernel has them."""
    prior, k = mixture.weights, mixture.n_components
    if not isinstance(prior, Dirichlet | MFM | StickBreaking):
        raise ValueError(
            f"the prior of the weights is {prior}; bm.gibbs takes bm.Dirichlet, bm.MFM and bm.StickBreaking; use bm.nuts."
        )
    alpha_prior = np.zeros(5)
    if prior.hyper:
        found = _entry_prior(prior.alpha, POSITIVE)
        if found is None:
            raise ValueError(
                f"the prior of the concentration is {prior.alpha}, which bm.gibbs does not know; use Gamma, LogNormal, "
                "InverseGamma, Exponential, Weibull, HalfNormal, HalfStudentT or HalfCauchy."
            )
        code, values = found
        alpha_prior[: 1 + len(values)] = code, *values
    if isinstance(prior, MFM):
        log_prior_k = np.asarray(prior.log_prior_k(k), dtype=float)
        return DYNAMIC if prior.dynamic else STATIC, np.ones(k), log_prior_k, alpha_prior
    log_prior_k = np.full(k, -np.inf)
    log_prior_k[-1] = 0.0
    if isinstance(prior, StickBreaking):
        alpha_prior[4] = prior.discount
        return STICKS, np.ones(k), log_prior_k, alpha_prior
    if prior.exchangeable and prior.hyper:
        return STATIC, np.ones(k), log_prior_k, alpha_prior
    return VECTOR, prior.concentration(k), log_prior_k, alpha_prior


# -- where chains start -------------------------------------------------------------------------------------------------------
def few_components(setup: Setup) -> Likelihood:
    """The likelihood with the number of components that chains start with."""
    mass = np.flatnonzero(setup.problem.log_prior_k > -np.inf)[-1] + 1
    k = min(MOST_AT_START, int(mass), len(np.unique(setup.data.values, axis=0)))
    return replace(setup.likelihood, n_components=k)
