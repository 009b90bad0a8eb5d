"""NUTS and ADVI for every family: draws of the density that PyMC has for the same specification.

No table of anybody's posterior is needed. For any smooth density p on the real line's coordinates theta, with the score
s = grad log p, integration by parts gives (Stein 1972)

    E[s_i] = 0,    E[(theta_i - c) s_i] = -1.

Draws of another density, one of another width say, break both. The score is PyMC's own, of `Mixture.to_pymc`, which
shares neither the pass nor the coordinates with the engines.
"""

from dataclasses import replace
from functools import cache, cached_property

import numpy as np
import pytest
from arviz_stats.base import array_stats
from oracles import ROWS
from scipy import stats

import bayesmix as bm
from bayesmix.model import start_values
from bayesmix.relabelling import _raw_draws

N_ROWS = 200
SPREAD = 4.5  # Monte Carlo errors; a true claim fails once in 150 000, and the seeds are fixed
QUICK = ("Normal", "MvNormal full", "Poisson")
CASES = [pytest.param(row, id=row.name, marks=() if row.name in QUICK else pytest.mark.slow) for row in ROWS]


class Density:
    """Log density and score of the PyMC model of a mixture on its unconstrained coordinates, without compiling it."""

    def __init__(self, mixture, data):
        self.mixture, self.data, self.model = mixture, data, mixture.to_pymc(data)
        model = self.model
        self._log_density = model.compile_fn([model.logp(), model.dlogp()], mode="FAST_COMPILE")
        inputs = [variable.type() for variable in model.free_RVs]
        transforms = [model.rvs_to_transforms[variable] for variable in model.free_RVs]
        outputs = [
            value if transform is None else transform.forward(value, *variable.owner.inputs)
            for value, transform, variable in zip(inputs, transforms, model.free_RVs, strict=True)
        ]
        self._forward = model.compile_fn(
            outputs, inputs=inputs, mode="FAST_COMPILE", point_fn=False, on_unused_input="ignore"
        )

    def coordinates(self, params) -> list:
        """Values of the unconstrained variables at one draw of the parameters."""
        values = start_values(self.mixture, self.data, params)
        return self._forward(*(values[variable.name] for variable in self.model.free_RVs))

    @property
    def folded(self) -> bool:
        """Do the draws' matrices come back at other coordinates, as axes that all components share have several?"""
        return getattr(self.mixture.component, "letters", "") in ("EVE", "VVE")

    @property
    def unfolded(self) -> np.ndarray:
        """Which coordinates are not of the matrices: what these come back as does not depend on them."""
        kept = [variable.name.startswith(("weights", "mu")) for variable in self.model.value_vars]
        return np.repeat(kept, self._sizes)

    @cached_property
    def _shapes(self):
        point = self.model.initial_point()
        return [np.shape(point[variable.name]) for variable in self.model.value_vars]

    @property
    def _sizes(self):
        return [int(np.prod(shape, dtype=int)) for shape in self._shapes]

    def split(self, vector: np.ndarray) -> list:
        """Values of the unconstrained variables of one vector of them."""
        pieces = np.split(vector, np.cumsum(self._sizes)[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def at(self, places: list) -> tuple[float, np.ndarray]:
        """Log density and score there."""
        names = (variable.name for variable in self.model.value_vars)
        value, score = self._log_density(dict(zip(names, places, strict=True)))
        return float(value), np.asarray(score)

    def along(self, draws: dict):
        """Coordinates (chain, draw, n), log density (chain, draw) and scores (chain, draw, n) at all draws."""
        lead = draws["weights"].shape[:2]
        places = [self.coordinates({name: value[index] for name, value in draws.items()}) for index in np.ndindex(lead)]
        found = [self.at(place) for place in places]
        theta = np.array([np.concatenate([np.ravel(part) for part in place]) for place in places])
        log_density, score = np.array([value for value, _ in found]), np.array([score for _, score in found])
        return theta.reshape(*lead, -1), log_density.reshape(lead), score.reshape(*lead, -1)


@cache
def problem(name):
    """Two of the three components of a row, those that are well apart: a specification, data, and the density."""
    row = next(row for row in ROWS if row.name == name)
    params = {n: value[[0, 2]] for n, value in row.params.items()}
    params["weights"] = params["weights"] / params["weights"].sum()
    row = replace(row, params=params)
    data = row.mixture.check(row.data(N_ROWS))
    return row, data, Density(row.mixture, data)


@cache
def sampled(name):
    """A fit by NUTS, and its coordinates and scores."""
    row, data, density = problem(name)
    fit = bm.nuts(row.mixture, data, draws=300, tune=300, chains=2, cores=1, random_seed=1, progressbar=False)
    draws, _ = _raw_draws(fit)  # as sampled: with labels put in order, a density would end at the border between labels
    return fit, density.along(draws)


def stein(theta, score):
    """Statistics of expectation 0, by name: (..., n) each."""
    centre, n = theta.reshape(-1, theta.shape[-1]).mean(axis=0), theta.shape[-1]
    terms = (theta - centre) * score
    return {"score": score, "width": terms + 1.0, "all widths": terms.sum(axis=-1, keepdims=True) + n}


def around(theta):
    """A t distribution of 5 degrees of freedom as wide as draws (..., n), by SciPy."""
    flat = theta.reshape(-1, theta.shape[-1])
    scale = np.cov(flat.T).reshape(flat.shape[1], flat.shape[1])
    return stats.multivariate_t(flat.mean(axis=0), scale, df=5)


def log_evidence(density, theta):
    """Log evidence of PyMC's density about these draws, by importance sampling, and its standard error."""
    law = around(theta)
    places = law.rvs(size=500, random_state=2).reshape(500, -1)
    ratios = np.array([density.at(density.split(place))[0] for place in places]) - law.logpdf(places)
    shares = np.exp(ratios - ratios.max())
    return float(np.log(shares.mean()) + ratios.max()), float(shares.std() / shares.mean() / np.sqrt(len(shares)))


@pytest.mark.parametrize("row", CASES)
def test_nuts_draws_from_pymcs_density(row):
    fit, (theta, _, score) = sampled(row.name)
    _, _, density = problem(row.name)
    if density.folded:  # axes were turned back into one of several equal places, which depends on shapes alone
        theta, score = theta[..., density.unfolded], score[..., density.unfolded]
    for name, terms in stein(theta, score).items():
        for i in range(terms.shape[-1]):
            error = float(array_stats.mcse(terms[..., i]))
            assert abs(terms[..., i].mean()) < SPREAD * error, (
                f"{name} {i}: {terms[..., i].mean():.3f}, error {error:.3f}; {fit.message}"
            )


@pytest.mark.parametrize("row", CASES)
def test_advi_is_near_pymcs_density(row):
    """Log posterior by PyMC's density, ELBO below its evidence, means among NUTS's draws; or k-hat says it is not so."""
    row, data, density = problem(row.name)
    fit = bm.advi(row.mixture, data, draws=200, random_seed=1, progressbar=False)
    khat, elbo, error = (fit.tree.attrs[name] for name in ("khat", "elbo", "elbo_error"))
    draws, _ = _raw_draws(fit)
    theta, log_density, _ = density.along(draws)
    if not density.folded:  # the same but for a constant, the volume of other coordinates of the weights
        np.testing.assert_allclose(np.ptp(fit.tree["sample_stats/log_p"].values - log_density), 0.0, atol=1e-6)
    if khat >= 0.7:
        assert "use bm.nuts" in fit.message
    if density.folded:
        return
    _, (theirs, _, _) = sampled(row.name)
    evidence, known = log_evidence(density, theirs)
    assert elbo < evidence + SPREAD * np.hypot(error, known), (
        f"{elbo:.2f} +- {error:.2f}, {evidence:.2f} +- {known:.2f}"
    )
    if khat < 0.7:
        own, theirs = (x.reshape(-1, x.shape[-1]) for x in (theta, theirs))
        assert elbo > evidence - 2.0, f"{elbo:.2f}, {evidence:.2f}"  # KL divergence of a q that weights can correct
        assert np.all(np.abs(own.mean(axis=0) - theirs.mean(axis=0)) < theirs.std(axis=0)), row.name
