"""The log posterior through PyTensor: for every prior that PyMC can express, with the same fused pass inside."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arrays import Data
from ..likelihood.likelihood import Likelihood
from ..mixture import Mixture


@dataclass(frozen=True, eq=False)
class GraphPosterior:
    """Log posterior on the unconstrained scale of the PyMC model of `bayesmix.model.sampling_model`."""

    mixture: Mixture
    data: Data
    model: Any = field(init=False)
    _functions: tuple = field(init=False)

    def __post_init__(self):
        from ..model import sampling_model

        object.__setattr__(self, "model", sampling_model(self.mixture, self.data))
        object.__setattr__(self, "_functions", self._compile())

    def _compile(self):
        density = self.model.logp_dlogp_function(ravel_inputs=True)
        density.set_extra_values({})
        outputs = [self.model[name] for name in self._names]
        constrain = self.model.compile_fn(
            self.model.replace_rvs_by_values(outputs), inputs=self.model.value_vars, point_fn=False
        )
        return density, constrain

    @property
    def _names(self):
        parameters = (parameter.name for parameter in self.mixture.component.parameters)
        return ["weights", *self.mixture.weights.hyper, *parameters]

    @property
    def n_dim(self) -> int:
        """Number of unconstrained coordinates."""
        return int(sum(np.prod(shape, dtype=int) for shape in self._shapes.values()))

    @property
    def _shapes(self):
        point = self.model.initial_point()
        return {variable.name: np.shape(point[variable.name]) for variable in self.model.value_vars}

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Log posterior up to the evidence, in nats, with the Jacobian of the transforms; and its gradient."""
        value, gradient = self._functions[0](np.asarray(vector, dtype=float))
        return float(value), np.asarray(gradient)

    def to_vector(self, params: dict) -> np.ndarray:
        """Unconstrained coordinates of parameters."""
        from ..model import start_values, start_vector

        point = start_vector(self.model, start_values(self.mixture, self.data, params))
        return np.concatenate([np.ravel(point[variable.name]) for variable in self.model.value_vars])

    def from_vector(self, vector: np.ndarray) -> dict:
        """Parameters at coordinates (..., n_dim)."""
        flat = vector.reshape(-1, vector.shape[-1])
        shapes = self._shapes
        stops = np.cumsum([int(np.prod(shape, dtype=int)) for shape in shapes.values()])[:-1]
        rows = []
        for row in flat:
            parts = np.split(row, stops)
            rows.append(
                self._functions[1](*(part.reshape(shape) for part, shape in zip(parts, shapes.values(), strict=True)))
            )
        columns = [np.array([row[i] for row in rows]) for i in range(len(self._names))]
        lead = vector.shape[:-1]
        found = {
            name: column.reshape((*lead, *column.shape[1:])) for name, column in zip(self._names, columns, strict=True)
        }
        return self.mixture.component.for_each(found, len(lead), self.mixture.n_components)

    def step_lengths(self, vector: np.ndarray) -> np.ndarray:
        """Lengths for finite differences: a ten-thousandth of the posterior's own scale along each coordinate."""
        gradient = self.value_and_gradient(vector)[1]
        lengths = np.empty(len(vector))
        for i in range(len(vector)):
            step = 1e-4 * max(1.0, abs(vector[i]))
            shift = np.zeros(len(vector))
            shift[i] = step
            curvature = abs(self.value_and_gradient(vector + shift)[1][i] - gradient[i]) / step
            lengths[i] = np.clip(1e-2 / np.sqrt(max(curvature, 1e-8)), 1e-7, 1e2) * 1e-1
        return lengths

    def on_rows(self, rows: np.ndarray, factor: float) -> "GraphPosterior":
        """Make the same posterior with the likelihood of some rows only, each counting `factor` times.

        The rows stand in for the data in the same compiled functions, so that only one such posterior can be in use.
        """
        part = self.data.take(rows).observed()
        weights = np.full(part.n_obs, factor) if part.weights is None else part.weights * factor
        prepared = Likelihood.of(self.mixture, part.reweighted(weights), look_for_repetitions=False).rows
        self.model["rows"].set_value(prepared.x)
        self.model["row_weights"].set_value(prepared.weights)
        self.model["log_base_measure"].set_value(prepared.log_base_measure)
        return self

    def nutpie_model(self, mode, jitter: float):
        """Make nutpie's own compilation of the PyMC model, started near the mode; see `DirectPosterior.nutpie_model`."""
        import nutpie

        def initial_point(seed):
            return mode.vector + jitter * mode.basis @ np.random.default_rng(seed).standard_normal(self.n_dim)

        return replace(nutpie.compile_pymc_model(self.model), initial_point_func=initial_point)

    def read_nutpie(self, posterior) -> dict:
        """Parameters (chain, draw, cluster, ...) from the posterior group that nutpie returns."""
        found = {name: posterior[name].values for name in self._names}
        return self.mixture.component.for_each(found, 2, self.mixture.n_components)
