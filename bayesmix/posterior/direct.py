"""The log posterior without PyTensor: for priors of a documented list nothing is compiled after the first run."""

from dataclasses import dataclass, field

import numpy as np

from ..arrays import Data
from ..likelihood.likelihood import Likelihood, interruptible
from ..mixture import Mixture
from ..priors import POSITIVE, REAL, InverseWishart, Prior, ScaledInverseChiSquared
from ..weight_priors import Dirichlet
from . import kernel

_REAL_PRIORS = ("Normal", "StudentT", "Cauchy", "Laplace")


@dataclass(frozen=True, eq=False)
class DirectPosterior:
    """Log posterior of a mixture in the free coordinates of `Likelihood`, with its gradient, from compiled code.

    Available when every prior is one of `bayesmix.posterior.kernel.PRIOR_CODES`, or an inverse Wishart on full or tied
    covariances; `applies` tells.
    """

    mixture: Mixture
    data: Data
    likelihood: Likelihood = field(init=False)
    layout: str = field(init=False)
    block: np.ndarray = field(init=False)

    def __post_init__(self):
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        set_("likelihood", Likelihood.of(self.mixture, self.data))
        priors = self.mixture.component.priors(self.data, self.mixture.n_components)
        layout, block = _block(self.mixture, self.likelihood, priors)
        set_("layout", layout)
        set_("block", block)

    @staticmethod
    def applies(mixture: Mixture, data: Data) -> bool:
        """Does the family have a compiled layout, and are all priors of the documented list, and all cells there?"""
        layout = mixture.component.posterior_layout
        if layout is None or not isinstance(mixture.weights, Dirichlet) or mixture.weights.hyper:
            return False
        if data.units is not None or data.observed().missing:
            return False
        priors = mixture.component.priors(data, mixture.n_components)
        if layout == "factor" and not isinstance(priors.get("cov"), InverseWishart):
            return False
        supports = {p.name: p.support for p in mixture.component.parameters} | {"sigma": POSITIVE}
        return all(_entry_prior(prior, supports[name]) is not None for name, prior in priors.items() if name != "cov")

    @property
    def n_dim(self) -> int:
        """Number of free coordinates."""
        return self.likelihood.n_parameters

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior up to the evidence, in nats, with the Jacobian of the coordinates; and its gradient."""
        if len(vector) != self.n_dim:
            raise ValueError(f"the vector has {len(vector)} coordinates, but the posterior {self.n_dim}.")
        gradient = np.empty(len(vector))
        with interruptible():
            value = kernel.LAYOUTS[self.layout](np.ascontiguousarray(vector, dtype=float), gradient, self.block)
        return float(value), gradient

    def to_vector(self, params: dict) -> np.ndarray:
        """Free coordinates of parameters."""
        return self.likelihood.to_vector(params)

    def from_vector(self, vector: np.ndarray) -> dict:
        """Parameters at free coordinates (..., n_dim)."""
        return self.likelihood.from_vector(vector)

    def step_lengths(self, vector: np.ndarray) -> np.ndarray:
        """Lengths over which the density changes, for finite differences."""
        return 1e-4 * self.likelihood.coordinate_scale(vector)

    def on_rows(self, rows: np.ndarray, factor: float) -> "DirectPosterior":
        """Make the same posterior with the likelihood of some rows only, each counting `factor` times."""
        data = self.data.take(rows).observed()
        weights = np.full(data.n_obs, factor) if data.weights is None else data.weights * factor
        part = DirectPosterior.__new__(DirectPosterior)
        likelihood = Likelihood.of(self.mixture, data.reweighted(weights))
        head = self.block[: len(self.block) - _data_length(self.likelihood)].copy()
        for name, value in (
            ("mixture", self.mixture),
            ("data", likelihood.data),
            ("likelihood", likelihood),
            ("layout", self.layout),
            ("block", _with_data(head, likelihood)),
        ):
            object.__setattr__(part, name, value)
        return part

    def nutpie_model(self, mode, jitter: float):
        """Make a model for nutpie in coordinates u, with vector = mode + A u, that starts near u = 0.

        This is the one place that knows nutpie's inside: `CompiledPyMCModel` takes any C functions. The starting point
        is made from the seed that nutpie hands to each chain: `jitter` times standard normal.
        """
        from nutpie.compile_pymc import CompiledPyMCModel

        n = self.n_dim
        block = self.block.copy()
        begin = len(block) - _data_length(self.likelihood) - n - n * n
        block[begin : begin + n] = mode.vector
        block[begin + n : begin + n + n * n] = mode.basis.ravel()
        logp, expand = kernel.c_functions(self.layout)
        return CompiledPyMCModel(
            dims={}, reparameterized_names=[], compiled_logp_func=logp, compiled_expand_func=expand,
            initial_point_func=lambda seed: jitter * np.random.default_rng(seed).standard_normal(n),
            shared_data={}, shared_var_keys={}, user_data=block, n_expanded=n,
            shape_info=(["vector"], [slice(0, n)], [(n,)]), logp_func=None, expand_func=None, _n_dim=n,
            _shapes={"vector": (n,)}, _coords={},
        )  # fmt: skip

    def read_nutpie(self, posterior) -> dict:
        """Parameters (chain, draw, cluster, ...) from the posterior group that nutpie returns."""
        return self.from_vector(posterior["vector"].values)


# -- writing the block -----------------------------------------------------------------------------------------------------
def _entry_prior(prior, support):
    """(code, hyperparameters) of a prior on single entries, or None if it is not of the list."""
    if isinstance(prior, ScaledInverseChiSquared):
        return kernel.PRIOR_CODES["ScaledInverseChiSquared"][0], (prior.nu, prior.scale)
    if not isinstance(prior, Prior) or prior.family not in kernel.PRIOR_CODES:
        return None
    if (prior.family in _REAL_PRIORS) != (support == REAL) or (support != REAL and support != POSITIVE):
        return None
    code, names = kernel.PRIOR_CODES[prior.family]
    kwargs = prior.kwargs
    if prior.family == "Exponential" and set(kwargs) == {"scale"}:
        kwargs = {"lam": 1.0 / np.asarray(kwargs["scale"])}
    return (code, tuple(kwargs[name] for name in names)) if set(kwargs) == set(names) else None


def _block(mixture, likelihood, priors):
    from scipy import special
    from scipy.special import multigammaln  # pyright: ignore[reportAttributeAccessIssue]

    component, k = mixture.component, mixture.n_components
    d, n = likelihood.data.n_features, likelihood.n_parameters
    assert isinstance(mixture.weights, Dirichlet)  # `applies` has seen to it
    alpha = mixture.weights.concentration(k)
    head = np.zeros(kernel.HEAD)
    head[3], head[4] = k, n
    head[7] = special.gammaln(alpha.sum()) - special.gammaln(alpha).sum()
    table = np.zeros((n - k + 1, 4))
    psi = np.empty(0)

    def fill(start, prior, support, shape):
        found = _entry_prior(prior, support)
        assert found is not None  # `applies` has seen to it
        code, hyper = found
        stop = start + int(np.prod(shape))
        table[start:stop, 0] = code
        for i, value in enumerate(hyper):
            table[start:stop, 1 + i] = np.broadcast_to(value, shape).ravel()

    layout = component.posterior_layout
    if layout == "rate":
        fill(0, priors["mu"], POSITIVE, (k,))
    elif layout == "scale":
        per = (n - (k - 1) - k * d) // k
        head[5] = per if d > 1 else 1
        fill(0, priors["mu"], REAL, (k, d))
        fill(k * d, priors["sigma"], POSITIVE, (k, per))
    else:
        prior = priors["cov"]
        if prior.n_features != d:
            raise ValueError(f"the prior of cov is for {prior.n_features} features, but the data have {d}.")
        psi = np.asarray(prior.psi, dtype=float)
        head[5] = k if n - (k - 1) - k * d == k * d * (d + 1) // 2 else 1
        head[8], head[9] = 1, prior.nu
        # density of the lower triangle of P with logarithms on the diagonal, normalised
        log_det = np.linalg.slogdet(psi)[1]
        head[10] = (
            0.5 * prior.nu * log_det
            - 0.5 * prior.nu * d * np.log(2.0)
            - multigammaln(0.5 * prior.nu, d)
            + d * np.log(2.0)
        )
        fill(0, priors["mu"], REAL, (k, d))
    fixed = np.concatenate([head, alpha, table.ravel(), psi.ravel(), np.zeros(n), np.eye(n).ravel()])
    return layout, _with_data(fixed, likelihood)


def _data_length(likelihood):
    return likelihood.rows.x.size + likelihood.rows.weights.size


def _with_data(fixed, likelihood):
    x, weights, log_base_measure = likelihood.rows
    fixed[0], fixed[1], fixed[2], fixed[6] = x.shape[0], x.shape[1], weights.size > 0, log_base_measure
    fixed[11] = fixed.size + x.size + weights.size
    return np.concatenate([fixed, x.ravel(), weights])
