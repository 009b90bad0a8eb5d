"""Specification and data become a PyMC model: with the formula for users, with the fused pass for the engines."""

from typing import Any, cast

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import shared

from .arrays import Data
from .likelihood import formula
from .mixture import Mixture


def coords(mixture: Mixture, data: Data) -> dict:
    """Coordinates of all dims, for PyMC and xarray alike."""
    names = {"cluster": np.arange(mixture.n_components), "obs": data.obs}
    if mixture.component.multivariate:
        names["feature"] = np.array(data.feature)
    return names | mixture.component.coords(data)


def observed(mixture: Mixture, data: Data) -> tuple[np.ndarray, tuple]:
    """The observed array and its dims: (obs, feature), or (obs,) for families on one column.

    A missing cell holds a value of its column, as PyMC would make a parameter of NaN.
    """
    values = data.modelled
    if data.missing:
        known = np.isfinite(values)
        values = np.where(known, values, values[known.argmax(axis=0), np.arange(data.n_features)])
    if mixture.component.multivariate:
        return values, ("obs", "feature")
    return values[:, 0], ("obs",)


def _parameters(mixture, data):
    """Make the components' parameters in the open model: by name, and as the kernel's a and b."""
    k = mixture.n_components
    return mixture.component.pymc_variables(mixture.component.priors(data, k), k, data.n_features)


def to_pymc(mixture: Mixture, data: Data) -> pm.Model:
    """Build the model for users: one observed variable ``x`` whose log-likelihood, one per row, is the formula."""
    component = mixture.component
    values, dims = observed(mixture, data)
    row_weights = data.weights
    if data.units is not None and data.units.grouped:
        raise ValueError(
            "groups of rows have one log-likelihood for each group, which an observed variable of PyMC, with one for each row, "
            "cannot have; bm.nuts, bm.laplace and bm.advi take group=."
        )
    wrong = None if data.units is None else data.units.excluded(mixture.n_components)
    missing = np.isnan(data.modelled) if data.missing else None
    given = data.values[:, data.n_features :]

    with pm.Model(coords=coords(mixture, data)) as model:
        weights = None if component.gated else mixture.weights.pymc_variables(mixture.n_components)
        params, _ = _parameters(mixture, data)
        if weights is None:
            weights = component.pymc_weights(params, data.values)
        names = list(params)

        def logp(value, weights, *arguments):
            x = value if component.multivariate else value[:, None]
            x = pt.concatenate([x, given], axis=1) if data.given else x
            own = dict(zip(names, arguments, strict=True))
            log_weights = pt.log(weights) if wrong is None else pt.where(wrong, -np.inf, pt.log(weights))
            rows = formula.log_likelihood(component, x, log_weights, own, missing)
            return rows if row_weights is None else rows * row_weights

        def random(weights, *arguments_and_size):
            *arguments, size = arguments_and_size
            if component.gated:
                at_rows = component.log_rows(pt.as_tensor(data.values), dict(zip(names, arguments, strict=True)))
                labels = pm.Categorical.dist(p=pt.exp(at_rows))
            else:
                labels = pm.Categorical.dist(p=weights, size=size)
            own = {n: a[labels] for n, a in zip(names, arguments, strict=True)}
            return component.pymc_dist(own, **({"given": given} if data.given else {}))

        shapes = ",".join(["(k)", *(f"({','.join(['k', *sizes])})" for sizes in _own_sizes(params))])
        signature = f"{shapes}->{'(f)' if component.multivariate else '()'}"
        pm.CustomDist(
            "x", weights, *params.values(), dist=random, logp=logp, signature=signature, observed=values, dims=dims
        )
    return model


def _own_sizes(params):
    """A letter for the size of each axis behind the components'; parameters by one name have a letter of their own."""
    return [[f"f{i}"] * (value.ndim - 1) for i, value in enumerate(params.values())]


def sampling_model(mixture: Mixture, data: Data) -> pm.Model:
    """Build the model that engines sample: the same priors, and the likelihood by the fused pass.

    The rows are shared variables ``rows`` and ``row_weights``, so that a minibatch can stand in for them.
    """
    from .likelihood.likelihood import Likelihood
    from .likelihood.op import MixtureLogLikelihood

    likelihood = Likelihood.of(mixture, data, look_for_repetitions=False)
    if mixture.component.gated:
        return _gated_model(mixture, data, likelihood.data)
    rows = likelihood.rows
    with pm.Model(coords=coords(mixture, data)) as model:
        weights = mixture.weights.pymc_sampled(mixture.n_components)
        _, (a, b) = _parameters(mixture, data)
        x = shared(rows.x, name="rows")  # not by pm.Data, which refuses NaN
        model.register_data_var(x)
        row_weights = pm.Data("row_weights", rows.weights)
        log_base_measure = pm.Data("log_base_measure", rows.log_base_measure)
        run = MixtureLogLikelihood(likelihood.kernel)
        fused: Any = run(x, row_weights, pt.log(weights), a, b)
        pm.Potential("log_likelihood", fused[0] + log_base_measure)
    return model


def _gated_model(mixture, data, seen) -> pm.Model:
    """The same for weights that depend on covariates, by the formula, which PyTensor differentiates."""
    component = mixture.component
    missing = np.isnan(seen.modelled) if seen.missing else None
    values = np.where(np.isnan(seen.values), 0.0, seen.values)
    with pm.Model(coords=coords(mixture, data)) as model:
        params, _ = _parameters(mixture, data)
        component.pymc_weights(params, values)
        x = shared(values, name="rows")
        model.register_data_var(x)
        row_weights = pm.Data("row_weights", np.ones(seen.n_obs) if seen.weights is None else seen.weights)
        pm.Data("log_base_measure", 0.0)
        known = cast(Any, pt).specify_shape(x, (None, values.shape[1]))  # columns of one broadcast
        rows: Any = formula.log_likelihood(component, known, 0.0, params, missing)
        pm.Potential("log_likelihood", (row_weights * rows).sum())
    return model


def start_values(mixture: Mixture, data: Data, params: dict) -> dict:
    """Values of the free variables of `sampling_model` at these parameters, or next to them, by variable name."""
    params = params | mixture.component.inside(params)
    names = [parameter.name for parameter in mixture.component.parameters]
    params = params | mixture.component.once({name: np.asarray(params[name]) for name in names}, 0)
    values = mixture.weights.start_values(np.asarray(params["weights"], dtype=float))
    values |= {name: params[name] for name in mixture.weights.hyper if name in params}
    return {name: np.asarray(value, dtype=float) for name, value in (values | {n: params[n] for n in names}).items()}


def start_vector(model: pm.Model, values: dict) -> dict:
    """The same values on the model's unconstrained scale, by value-variable name.

    Raises
    ------
    ValueError
        If the values lie where the model has no density.
    """
    point = {}
    for rv in model.free_RVs:
        value_var = model.rvs_to_values[rv]
        transform = model.rvs_to_transforms[rv]
        value = np.asarray(values[rv.name], dtype=float)
        if transform is not None:
            value = transform.forward(pt.as_tensor(value), *rv.owner.inputs).eval()
        point[value_var.name] = np.asarray(value, dtype=float)
    bad = [name for name, value in point.items() if not np.all(np.isfinite(value))]
    if bad:
        raise ValueError(f"no finite starting point for {', '.join(bad)}.")
    return point
