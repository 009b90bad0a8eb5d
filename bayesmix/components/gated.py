"""Components of any family with weights that depend on covariates: what `bayesmix.Gating` makes of a family."""

from abc import update_abstractmethods
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Data, as_data, namespace
from ..priors import Prior, Priors
from . import design as designs
from .base import Component, Parameter, Rows, full_shape
from .design import Design
from .regression import DesignedData, Regression, coefficients

PRIOR_NOTE = (
    "differences from another component are 2.5 over the standard deviation of the covariate (Gelman et al. 2008)"
)


@dataclass(frozen=True, eq=False)
class GatedData(DesignedData):
    """Data with the columns that weights depend on behind them, and what their formula has learnt."""

    gate: Any = None
    gate_basis: tuple = ()


@dataclass(frozen=True)
class Gated(Component):
    """A family whose components have weights that depend on covariates; the coefficients are the parameter `gating`."""

    base: Any  # a Component
    gating: Any  # a Gating
    n_components: int
    design: Design | None = None
    basis: tuple = ()
    gated = True
    reads_frames = True
    numeric = True
    posterior_layout = None
    compiled_step = None
    kernel = "gated"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    stands_for = None

    def __post_init__(self):
        name = type(self.base).__name__
        of_parts = self.base.numeric and self.base.multivariate
        known = of_parts or not self.base.smooth or self.base.constraints or not self.base.sufficient
        if known or name in ("Constrained", "Heterogeneous"):
            raise TypeError(
                f"weights that depend on covariates are for families without kinks, parts or constraints; {self.base} is not "
                "one of them."
            )

    # -- what it is ----------------------------------------------------------------------------------------------------
    @cached_property
    def parameters(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Those of the family, and the coefficients of the weights."""
        return (*self.base.parameters, Parameter("gating", ("gating_term",)))

    @property
    def terms(self) -> tuple:
        """Names of the covariates' columns."""
        if self.design is None:
            raise ValueError(f"the columns of {self.gating} are not known before it has seen data.")
        return self.design.terms

    @property
    def given(self):
        """What the family conditions on, and the covariates."""
        own = () if self.design is None else tuple(f"gating {term}" for term in self.terms)
        return (*self.base.given, *own)

    def for_components(self, n_components):
        """The same, for as many as it is."""
        return self

    def alternatives(self):
        """One for each of the family's."""
        return tuple(replace(self, base=one) for one in self.base.alternatives())

    def resolved(self, data: Any):
        """With what both formulas have learnt."""
        gate = getattr(data, "gate", None)
        base = self.base.resolved(self.without_gate(data) if gate is not None else data)
        return (
            replace(self, base=base) if gate is None else replace(self, base=base, design=gate, basis=data.gate_basis)
        )

    def reported(self, values, lead):
        """The coefficients as differences from those of the first component."""
        gating = values["gating"]
        return values | {"gating": gating - np.take(gating, [0], axis=lead)}

    def once(self, values, lead):
        """What is shared once."""
        return self.base.once(values, lead)

    def for_each(self, values, lead, n_components):
        """What is shared repeated."""
        return self.base.for_each(values, lead, n_components)

    def coords(self, data):
        """Those of the family, and the names of the terms."""
        return self.base.coords(self.without_gate(data)) | {"gating_term": np.array(self.terms)}

    # -- data in -------------------------------------------------------------------------------------------------------
    def read(self, data, weights=None, needs_response=True):
        """What the family reads, with the covariates of the weights behind it."""
        if isinstance(data, Data) and self.design is not None and data.given == self.given:
            return data
        frame, obs = designs.frame_of(data)
        if self.design is None:
            gate, matrix = Design.learn(self.gating.right, frame)
            if gate.has_offset or "Intercept" not in gate.terms:
                raise ValueError(
                    f"the formula of the weights, {self.gating.formula!r}, needs an intercept and takes no offset."
                )
        else:
            gate, matrix = self.design, self.design.matrix(frame)
        own = self._own_data(data, frame, obs, weights, needs_response)
        made = GatedData(
            values=np.concatenate([own.values, matrix], axis=1),
            feature=own.feature,
            named=own.named,
            obs=own.obs,
            weights=own.weights,
            given=(*own.given, *(f"gating {term}" for term in gate.terms)),
            design=getattr(own, "design", None),
            basis=getattr(own, "basis", ()),
            gate=gate,
            gate_basis=self.basis,
        )
        if self.design is not None:
            return made
        rows = np.ones(own.n_obs) if own.weights is None else own.weights
        basis = designs.orthogonal(matrix[rows > 0], rows[rows > 0], gate.terms, list(range(len(gate.terms))))
        return replace(made, gate_basis=tuple(map(tuple, basis.tolist())))

    def _own_data(self, data, frame, obs, weights, needs_response):
        if isinstance(self.base, Regression):
            return self.base.read(data, weights, needs_response)
        rest = frame.drop(columns=designs.variables(self.gating.right))
        if obs is not None:
            rest.index = obs
        if not rest.shape[1]:
            raise ValueError(
                f"all columns of the data are covariates of the weights, {self.gating.formula!r}; none is left to model."
            )
        own = as_data(rest, weights=weights, missing=self.base.takes_missing, given=self.base.given)
        return self.base.arrange(own)

    def read_rows(self, data, needs_response=True):
        """New rows, their columns made by what the formulas have learnt."""
        if self.design is None:
            raise ValueError(
                f"{self.gating} has seen no data; pass data= to Fit.from_parameters, so that its columns are known."
            )
        return self.read(data, needs_response=needs_response)

    def arrange(self, data):
        """As it is."""
        return data

    def without_gate(self, data: Data) -> Data:
        """The data as the family gets them."""
        q = len(data.given) - len(self.base.given) if self.design is None else len(self.terms)
        if not q or len(data.given) < q or not str(data.given[-1]).startswith("gating "):
            return data
        return replace(data, values=np.ascontiguousarray(data.values[:, :-q]), given=data.given[:-q])

    def _without(self, x):
        return x[..., : -len(self.terms)]

    def own(self, params: dict) -> dict:
        """Parameters of the family alone."""
        return {name: value for name, value in params.items() if name not in ("gating", "weights")}

    def check_data(self, data, n_components):
        """What the family asks."""
        self.base.check_data(self.without_gate(data), n_components)

    def check_priors(self, data):
        """What the family asks."""
        self.base.resolved(self.without_gate(data)).check_priors(self.without_gate(data))

    def check_parameters(self, params, n_components):
        """What the family asks; coefficients for each component and term."""
        gating = full_shape(
            params["gating"],
            (n_components, len(self.terms)),
            "gating",
            f"{n_components} components and {len(self.terms)} terms",
        )
        return self.base.check_parameters(self.own(params), n_components) | {"gating": gating - gating[:1]}

    # -- the formula ---------------------------------------------------------------------------------------------------
    def log_rows(self, x, params):
        """Log weights of the components at each row, (..., obs, cluster)."""
        gating, z = params["gating"], x[..., -len(self.terms) :]
        eta = sum(z[..., j : j + 1] * gating[..., j] for j in range(len(self.terms)))
        return eta - namespace(eta).logsumexp(eta, axis=-1, keepdims=True)

    def log_density(self, x, params):
        """The family's."""
        return self.base.log_density(self._without(x), self.own(params))

    def observed_log_density(self, x, missing, params):
        """The family's."""
        return self.base.observed_log_density(self._without(x), missing, self.own(params))

    def cdf(self, x, params):
        """The family's."""
        return self.base.cdf(self._without(x), self.own(params))

    def mean(self, x, params):
        """The family's."""
        return self.base.mean(self._without(x), self.own(params))

    def quantile(self, q, x, params):
        """The family's; without covariates of its own the same for all rows."""
        if self.base.given:
            return self.base.quantile(q, self._without(x), self.own(params))
        return self.base.marginal_quantile(q, self.own(params))[..., 0]

    def marginal_quantile(self, q, params):
        """The family's."""
        return self.base.marginal_quantile(q, self.own(params))

    def marginal_cdf(self, x, params, feature):
        """The family's."""
        return self.base.marginal_cdf(x, self.own(params), feature)

    def mean_and_variance(self, params):
        """The family's."""
        return self.base.mean_and_variance(self.own(params))

    def sample(self, params, rng, given=None):
        """The family's, given what it conditions on."""
        return self.sample_rows(params, rng, given)

    def sample_rows(self, params, rng, given=None):
        """The family's, given what it conditions on."""
        rest = None if given is None else given[..., : len(self.base.given)]
        return self.base.sample_rows(self.own(params), rng, rest)

    def missing_moments(self, x, gone, params):
        """The family's."""
        return self.base.missing_moments(self._without(x), gone, self.own(params))

    def sample_missing(self, x, gone, params, labels, rng):
        """The family's."""
        return self.base.sample_missing(self._without(x), gone, self.own(params), labels, rng)

    # -- EM: see bayesmix.likelihood.gated -----------------------------------------------------------------------------
    def rows(self, data):
        """The rows as they are, for the formula."""
        return Rows(data.values, np.empty(0) if data.weights is None else data.weights, 0.0)

    def kernel_for(self, missing):
        """None that is compiled."""
        return self.kernel

    def initial_params(self, data, n_components):
        """The family's; weights that do not depend on the covariates."""
        found = self.base.initial_params(self.without_gate(data), n_components)
        return found | {"gating": np.zeros((n_components, len(self.terms)))}

    def partition(self, data, n_components, rng):
        """The family's."""
        return self.base.partition(self.without_gate(data), n_components, rng)

    def canonical(self, params):
        """The family's, and coefficients about those of the first component."""
        own = {"weights": params["weights"]} | self.own(params)
        return self.base.canonical(own) | {"gating": params["gating"] - params["gating"][:1]}

    def beside_saddle(self, params):
        """None are known."""
        return []

    def guard(self, data, strength):
        """The family's."""
        return self.base.guard(self.without_gate(data), strength)

    def collapsed(self, params, data):
        """The family's."""
        return self.base.collapsed({"weights": params["weights"]} | self.own(params), self.without_gate(data))

    # -- free coordinates: the family's, then those of the weights -------------------------------------------------------
    @cached_property
    def _basis(self):
        return np.array(self.basis)

    @cached_property
    def _inverse_basis(self):
        return np.linalg.inv(self._basis)

    def n_free(self, n_components, n_features):
        """The family's, and the slopes: intercepts are counted as weights."""
        return self.base.n_free(n_components, n_features) + (n_components - 1) * (len(self.terms) - 1)

    def gate_to_vector(self, gating: np.ndarray) -> np.ndarray:
        """Coefficients of orthonormal columns, relative to the first component: ((cluster - 1) term,)."""
        return ((gating[1:] - gating[:1]) @ self._inverse_basis.T).ravel()

    def gate_from_vector(self, vector: np.ndarray) -> np.ndarray:
        """Inverse of `gate_to_vector`, with leading axes."""
        theta = vector.reshape(*vector.shape[:-1], self.n_components - 1, len(self.terms))
        first = np.zeros((*vector.shape[:-1], 1, len(self.terms)))
        return np.concatenate([first, theta @ self._basis.T], axis=-2)

    def to_vector(self, params):
        """Coordinates of the family, and of the weights."""
        return np.concatenate([self.base.to_vector(self.own(params)), self.gate_to_vector(params["gating"])])

    def from_vector(self, vector, n_components, n_features):
        """Parameters of both."""
        vector = np.asarray(vector)
        size = (n_components - 1) * len(self.terms)
        found = self.base.from_vector(vector[..., :-size], n_components, n_features)
        return found | {"gating": self.gate_from_vector(vector[..., -size:])}

    def coordinate_scale(self, params):
        """The family's; 1 for logits."""
        ones = np.ones((self.n_components - 1) * len(self.terms))
        return np.concatenate([self.base.coordinate_scale(self.own(params)), ones])

    # -- priors and PyMC -----------------------------------------------------------------------------------------------
    def priors(self, data, n_components):
        """The family's, and those of the coefficients."""
        rows = data.observed()
        own = self.base.priors(self.without_gate(rows), n_components)
        z = rows.values[:, -len(self.terms) :]
        sd = np.sqrt(np.average((z - np.average(z, axis=0, weights=rows.weights)) ** 2, axis=0, weights=rows.weights))
        mean = np.average(z, axis=0, weights=rows.weights)
        constant = sd <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
        width = 2.5 / np.sqrt(2.0) / np.where(constant, 1.0, sd)
        width[constant] = np.sqrt(2.5**2 / 2.0 + np.sum((mean * width)[~constant] ** 2))
        prior = self.gating.coef or Prior.of("Normal", mu=np.zeros(len(width)), sigma=width)
        notes = {} if self.gating.coef is not None else {"gating": PRIOR_NOTE}
        return Priors({**own, "gating": prior}, own.notes | notes)

    def default_priors(self, data, n_components):
        """Those in force."""
        return self.priors(data, n_components)

    def pymc_variables(self, priors, n_components, n_features):
        """The family's variables, and the coefficients of all components, of which differences are identified."""
        own = Priors({name: prior for name, prior in priors.items() if name != "gating"}, {})
        params, arguments = self.base.pymc_variables(own, n_components, n_features)
        gating = coefficients(priors["gating"], "gating", ("cluster", "gating_term"), self._basis)
        return params | {"gating": gating}, arguments

    def pymc_weights(self, params, x):
        """Average weights over rows, as variable ``weights`` of the open model."""
        import pymc as pm
        import pytensor.tensor

        pt: Any = pytensor.tensor
        shares = pt.exp(self.log_rows(pt.as_tensor(x), params))
        return pm.Deterministic("weights", shares.mean(axis=0), dims="cluster")

    def pymc_dist(self, params, given=None):
        """The family's, given what it conditions on."""
        n = len(self.base.given)
        return self.base.pymc_dist(self.own(params), **({"given": np.asarray(given)[:, :n]} if n else {}))

    def __str__(self):
        return str(self.base)


def _delegate(name):
    return property(lambda self: getattr(self.base, name), doc="The family's own.")


for _name in vars(Component):
    if not _name.startswith("__") and _name not in ("defined", "_abc_impl", "_settings") and _name not in vars(Gated):
        setattr(Gated, _name, _delegate(_name))
update_abstractmethods(Gated)
