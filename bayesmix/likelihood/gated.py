r"""The likelihood of a mixture whose weights depend on covariates, :math:`\sum_k \pi_{nk} p(x_n \mid \theta_k)`.

The expected statistics are those of responsibilities that are found by the formula, row by row. With
:math:`\pi_{nk}` = softmax of :math:`z_n'\gamma_k`, the gradient in gamma is :math:`\sum_n w_n (r_{nk} - \pi_{nk}) z_n`, and the
M-step for gamma a multinomial logistic regression on the responsibilities (Dayton & Macready 1988), of which EM makes one
Newton step at a time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..components.base import Statistics
from ..components.regression import Regression
from .ascent import LONGEST
from .formula import log_joint
from .generate import score_of
from .likelihood import Likelihood

RIDGE = 1e-10  # of a row, so that a weight that is next to nothing has a curvature
CELLS = 5_000_000  # weights of rows at draws, at a time


class GatedStatistics(Statistics):
    """Expected statistics, with gradient and curvature of the coefficients of the weights behind them."""

    gate: Any = None


@dataclass(frozen=True, eq=False)
class GatedLikelihood(Likelihood):
    """The log-likelihood where weights depend on covariates; ``weights`` of the parameters are averages over rows.

    Free coordinates are the coefficients of the weights, those of the first component left out, then the family's.
    """

    component: Any
    look_for_repetitions: bool = False

    def __post_init__(self):
        if self.data.units is not None:
            raise ValueError(
                "weights that depend on covariates take no labels= and no group=; leave them out, or the gating."
            )
        super().__post_init__()

    @property
    def has_rows(self):
        """The pass is not compiled."""
        return False

    @property
    def _own_data(self):
        return self.component.without_gate(self.data)

    def _row_weights(self):
        return np.ones(self.data.n_obs) if self.data.weights is None else self.data.weights

    def statistics(self, params):
        """One pass at these parameters."""
        component, x, w = self.component, self.data.values, self._row_weights()
        own = {name: value for name, value in params.items() if name != "weights"}
        joint = log_joint(component, x, 0.0, own)
        top = joint.max(axis=1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        share = np.exp(joint - top)
        total = share.sum(axis=1)
        seen = w > 0
        with np.errstate(divide="ignore"):
            value = float(w[seen] @ (np.log(total[seen]) + top[seen, 0]))
        r = share / np.where(total > 0, total, 1.0)[:, None] * w[:, None]
        n = r.sum(axis=0)
        first, second = self._of_family(component.own(own), r)
        found = GatedStatistics(value, n, first, second)
        found.gate = self._of_gate(own, r, w)
        return found

    def _of_family(self, own, r):
        base, data = self.component.base, self._own_data
        if base.numeric:
            rows = base.rows(data).x if isinstance(base, Regression) else base.formula.prepare(data.values)
            functions = (base.formula_pass if isinstance(base, Regression) else base.formula).functions
            return functions.complete(rows, np.ascontiguousarray(r), base.kernel_arguments(own)[0])[1:]
        found = base.statistics_given(data.values, r, own)
        return found.first, found.second

    def _orthonormal(self):
        return self.data.values[:, -len(self.component.terms) :] @ self.component._basis

    def _of_gate(self, own, r, w):
        """Gradient ((K - 1) q,) and minus the Hessian in the coefficients of orthonormal columns, given responsibilities."""
        z = self._orthonormal()
        weights = np.exp(self.component.log_rows(self.data.values, own))
        gradient = (r - w[:, None] * weights)[:, 1:].T @ z
        k, q = gradient.shape
        curvature = np.empty((k, q, k, q))
        for i in range(k):
            for j in range(i + 1):
                share = w * weights[:, i + 1] * ((i == j) - weights[:, j + 1])
                curvature[i, :, j, :] = curvature[j, :, i, :] = (z * share[:, None]).T @ z
        return gradient.ravel(), curvature.reshape(k * q, k * q)

    def m_step(self, params, statistics, guard=None):
        """The family's M-step, and one Newton step of the logistic regression."""
        base, gate = self.component.base, getattr(statistics, "gate", None)
        plain = Statistics(*statistics)
        new = base.m_step(self.component.own(params), plain, guard)
        assert gate is not None
        gradient, curvature = gate
        step = np.linalg.solve(curvature + RIDGE * np.eye(len(gradient)) * max(1.0, statistics.n.sum()), gradient)
        step *= min(1.0, LONGEST / max(float(np.abs(step).max()), 1e-300))
        gating = self.component.gate_from_vector(self.component.gate_to_vector(params["gating"]) + step)
        return {"weights": statistics.n / statistics.n.sum()} | new | {"gating": gating}

    def maximise_given(self, responsibilities, guard=None):
        """The family's maximum; weights that do not depend on the covariates."""
        weighted = responsibilities * self._row_weights()[:, None]
        n = weighted.sum(axis=0)
        found = self.component.base.maximise_given(self._own_data, weighted, guard)
        gating = np.zeros((self.n_components, len(self.component.terms)))
        floor = np.maximum(n / n.sum(), 0.1 / self.n_components)
        gating[:, self.component.terms.index("Intercept")] = np.log(floor) - np.log(floor[0])
        return {"weights": n / n.sum()} | found | {"gating": gating}

    # -- free coordinates --------------------------------------------------------------------------------------------------
    def _gate_size(self):
        return (self.n_components - 1) * len(self.component.terms)

    def to_vector(self, params):
        """Coefficients of the weights, then the family's coordinates."""
        own = self.component.base.to_vector(self.component.own(params))
        return np.concatenate([self.component.gate_to_vector(params["gating"]), own])

    def from_vector(self, vector):
        """Parameters, with the average weights."""
        vector, size = np.asarray(vector), self._gate_size()
        gating = self.component.gate_from_vector(vector[..., :size])
        own = self.component.base.from_vector(vector[..., size:], self.n_components, self.data.n_features)
        return {"weights": self.average_weights(gating)} | own | {"gating": gating}

    def average_weights(self, gating):
        """Averages over rows of the weights at coefficients (..., cluster, term)."""
        return average_weights(self.component, self.data, gating)

    def value_and_gradient(self, vector, guard=None):
        """L plus the guard, and the gradient in free coordinates."""
        params = self.from_vector(vector)
        statistics: Any = self.statistics(params)
        base, own, size = self.component.base, self.component.own(params), self._gate_size()
        a, b = map(np.ascontiguousarray, base.kernel_arguments(own))
        if base.numeric:
            d_a, d_b = statistics.first, np.zeros_like(b)
        else:
            d_a, d_b = score_of(base.kernel)(a, b, statistics.n, statistics.first, statistics.second)
        if guard is not None:
            of_a, of_b = base.guard_score(own, guard)
            d_a, d_b = d_a + of_a, d_b + of_b
        gradient = np.concatenate([statistics.gate[0], base.gradient_at(vector[size:], own, d_a, d_b)])
        return statistics.log_likelihood + self.guard_value(own, guard), gradient

    def guard_value(self, params, guard):
        """The family's."""
        return 0.0 if guard is None else self.component.base.guard_value(self.component.own(params), guard)

    def information(self, vector, guard=None):
        """Observed information by central differences of the exact gradient, to about 1e-9 of it."""
        return self._differenced(vector, guard)

    def coordinate_scale(self, vector):
        """1 for logits, then the family's."""
        own = self.component.own(self.from_vector(vector))
        return np.concatenate([np.ones(self._gate_size()), self.component.base.coordinate_scale(own)])

    def jacobian(self, params):
        """Derivatives of weights and parameters by name in all free coordinates, each (cluster, ..., number)."""
        k, q, size = self.n_components, len(self.component.terms), self._gate_size()
        own = self.component.base.vector_jacobian(self.component.own(params))
        found = {name: np.concatenate([np.zeros((*v.shape[:-1], size)), v], axis=-1) for name, v in own.items()}
        total = next(iter(found.values())).shape[-1]
        gating = np.zeros((k, q, total))
        for c in range(1, k):
            gating[c, :, (c - 1) * q : c * q] = self.component._basis
        weights, z, w = (
            np.exp(self.component.log_rows(self.data.values, params)),
            self._orthonormal(),
            self._row_weights(),
        )
        shares = np.zeros((k, total))
        for c in range(1, k):
            slope = weights * ((np.arange(k) == c) - weights[:, c : c + 1]) * (w / w.sum())[:, None]
            shares[:, (c - 1) * q : c * q] = slope.T @ z
        return {"weights": shares} | found | {"gating": gating}


def average_weights(component, data, gating: np.ndarray) -> np.ndarray:
    """Averages over the rows of data of the weights at coefficients (..., cluster, term): (..., cluster)."""
    flat = gating.reshape(-1, *gating.shape[-2:])
    step = max(1, CELLS // max(1, data.n_obs * gating.shape[-2]))
    parts = [
        np.average(
            np.exp(component.log_rows(data.values, {"gating": flat[i : i + step, None]})), axis=1, weights=data.weights
        )
        for i in range(0, len(flat), step)
    ]
    return np.concatenate(parts).reshape(gating.shape[:-1])
