"""What categorical and multinomial families share: a vector of probabilities p for each component, and its prior."""

from typing import Any

import numpy as np

from ..constraints import Fixed, Shared
from ..priors import UNIT, dim
from ..weight_priors import Dirichlet
from .base import Parameter, full_shape
from .probabilities import Probabilities

SUM = 1e-8  # by how much the sum of probabilities may miss 1


class Simplex(Probabilities):
    """A family whose parameter is the vector p of the probabilities of its outcomes, (cluster, outcome)."""

    p: Any
    dim: str  # of the outcomes

    def __post_init__(self):
        if isinstance(self.p, Fixed):
            object.__setattr__(self, "p", self.p.checked("p", UNIT, ends=True))
            total = np.sum(self.p.value, axis=-1)
            if np.any(np.abs(total - 1.0) > SUM):
                raise ValueError(f"p is fixed at {self.p}, but probabilities sum to 1, and these to {total}.")
        elif isinstance(self.p, Shared):
            object.__setattr__(self, "p", Shared(_checked(self.p.prior)))
        else:
            object.__setattr__(self, "p", _checked(self.p))

    @property
    def parameters(self):
        """The probabilities p, (cluster, outcome)."""
        return (Parameter("p", event_dims=(self.dim,), support=UNIT),)

    def outcomes(self, params):
        """P itself."""
        return np.asarray(params["p"], dtype=float)

    def named(self, p):
        """P itself."""
        return {"p": np.ascontiguousarray(p)}

    def check_parameters(self, params, n_components):
        """Probabilities of shape (n_components, outcome), the sum of each row 1."""
        p = np.asarray(params["p"], dtype=float)
        n = self.n_outcomes(p.shape[-1]) if p.ndim == 2 else -1
        p = full_shape(p, (n_components, n if n > 0 else 2), "p", f"{n_components} components of these outcomes")
        total = p.sum(axis=1)
        if np.any(p < 0) or np.any(np.abs(total - 1.0) > SUM):
            k = int(np.argmax(np.any(p < 0, axis=1) | (np.abs(total - 1.0) > SUM)))
            raise ValueError(
                f"the rows of p are probabilities that sum to 1, but row {k} is {p[k]} with sum {total[k]:.10g}."
            )
        return {"p": p / total[:, None]}

    def concentration(self, prior: Dirichlet, n_features: int) -> np.ndarray:
        """One concentration for each outcome, or `ValueError`."""
        n = self.n_outcomes(n_features)
        if isinstance(prior.alpha, tuple) and len(prior.alpha) != n:
            raise ValueError(
                f"the prior of p has {len(prior.alpha)} concentrations, but there are {n} outcomes; give one number, or one "
                "for each outcome."
            )
        return prior.concentration(n)

    def check_priors(self, data):
        """The number of concentrations must be that of outcomes."""
        if self.p is not None:
            resolved: Any = self.resolved(data)
            resolved.concentration(self.p, data.n_features)

    def pymc_variables(self, priors, n_components, n_features):
        """P with dims cluster and that of the outcomes."""
        import pymc as pm
        import pytensor.tensor as pt

        prior, dims = priors["p"], ("cluster", dim(self.dim))
        if isinstance(prior, Dirichlet):
            alpha = np.tile(self.concentration(prior, n_features), (n_components, 1))
            p: Any = pm.Dirichlet("p", alpha, dims=dims)
        else:  # known, or one for all components
            p = prior.variable("p", dims=dims)
        return {"p": p}, (pt.log(p), pt.zeros(n_components))


def _checked(prior) -> Dirichlet | None:
    """A prior of p, or `TypeError`."""
    if prior is None:
        return None
    if type(prior).__name__ != "Dirichlet":
        raise TypeError(
            f"the prior of p must be a Dirichlet distribution, bm.Dirichlet(1.0) or pz.Dirichlet; got {prior!r}."
        )
    prior = prior if isinstance(prior, Dirichlet) else Dirichlet(prior.alpha)
    if prior.hyper:
        raise ValueError(f"the prior of p is {prior}, but its concentrations must be numbers.")
    return prior
