"""A posterior as moment matching needs it: its draws in free coordinates, and densities at many places."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..likelihood import formula
from ..posterior.batch import log_densities
from ..prediction import with_row_axis
from ..relabelling import _raw_draws
from ..tables import POSTERIOR


@dataclass(frozen=True, eq=False)
class FreePosterior:
    """Draws of a fit in the free coordinates of its posterior, (draw, n), and the densities there."""

    posterior: Any
    vectors: np.ndarray

    @classmethod
    def of(cls, fit) -> "FreePosterior":
        """Take the draws of a fit that have a pointwise log-likelihood.

        Raises
        ------
        ValueError
            If the draws are not of the posterior, or hold too little to find their free coordinates.
        """
        from ..posterior import posterior_of

        if fit.engine not in POSTERIOR:
            raise ValueError(
                f'repair="moment matching" moves draws of the posterior, but this fit is by {fit.engine.upper()}; use '
                'repair="refit", or bm.nuts in the first place.'
            )
        posterior = posterior_of(fit.mixture, fit.data)
        draws, _ = _raw_draws(fit)
        if getattr(fit.mixture.weights, "exchangeable", True):  # then relabelled draws are draws too, in one place
            draws = fit._values("posterior")
        sampled = fit.tree["posterior"].dataset
        draws |= {str(name): sampled[name].values for name in sampled.data_vars if name not in draws}
        kept = np.searchsorted(sampled["draw"].values, fit.tree["log_likelihood"]["draw"].values)
        flat = {}
        for name, value in draws.items():
            value = value[:, kept]
            flat[name] = value.reshape(-1, *value.shape[2:])
        convert = _from_direct if hasattr(posterior, "layout") else _from_graph
        flat = fit.mixture.component.once(flat, 1)  # as they are sampled
        return cls(posterior, convert(posterior, flat))

    def log_density(self, vectors: np.ndarray) -> np.ndarray:
        """Log posterior at (draw, n), up to the evidence; -inf where it is not finite."""
        values = log_densities(self.posterior, vectors)
        return np.where(np.isfinite(values), values, -np.inf)

    def log_likelihood(self, vectors: np.ndarray, position: int) -> np.ndarray:
        """Log-likelihood of one row at (draw, n), times the row's weight."""
        data, component = self.posterior.data, self.posterior.mixture.component
        known = ("weights", *(parameter.name for parameter in component.parameters))
        params = {name: value for name, value in self.posterior.from_vector(vectors).items() if name in known}
        log_weights, params = with_row_axis(params)
        with np.errstate(all="ignore"):
            rows = formula.log_likelihood(component, data.values[position : position + 1], log_weights, params)[:, 0]
        return rows if data.weights is None else rows * data.weights[position]


def _from_direct(posterior, draws: dict) -> np.ndarray:
    n = len(draws["weights"])
    return np.array([posterior.to_vector({name: value[s] for name, value in draws.items()}) for s in range(n)])


def _from_graph(posterior, draws: dict) -> np.ndarray:
    """Transform the free variables of the PyMC model, one draw after another, by one compiled function."""
    import pytensor
    import pytensor.tensor as pt

    model = posterior.model
    missing = [rv.name for rv in model.free_RVs if rv.name not in draws]
    if missing:
        raise ValueError(
            f"the draws do not hold {', '.join(missing)}, which the posterior is sampled in, so that their free "
            'coordinates are not known; use repair="refit".'
        )
    inputs, outputs = [], []
    for rv in model.free_RVs:
        value = pt.tensor(rv.name, shape=rv.type.shape, dtype="float64")
        transform = model.rvs_to_transforms[rv]
        inputs.append(value)
        outputs.append(value if transform is None else transform.forward(value, *rv.owner.inputs))
    order = [model.rvs_to_values[rv].name for rv in model.free_RVs]
    places = [order.index(variable.name) for variable in model.value_vars]
    compiled: Any = pytensor.function  # pyright: ignore[reportPrivateImportUsage]
    forward = compiled(inputs, [outputs[i] for i in places], on_unused_input="ignore")
    columns = [np.asarray(draws[rv.name], dtype=float) for rv in model.free_RVs]
    return np.array(
        [
            np.concatenate([np.ravel(part) for part in forward(*(column[s] for column in columns))])
            for s in range(len(draws["weights"]))
        ]
    )
