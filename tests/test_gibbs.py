"""Gibbs sampling: exact posteriors of tiny data, joint distribution tests, other people's posteriors of K, seeds."""

import itertools
import math

import arviz as az
import numpy as np
import preliz as pz
import pytest
from scipy import special, stats

import bayesmix as bm
from bayesmix.engines.gibbs_kernels import Record, run
from bayesmix.engines.gibbs_problem import setup

QUIET = {"progressbar": False, "cores": 2}


# -- exact posteriors by enumeration ----------------------------------------------------------------------------------------
class ExactPoisson:
    """Marginal likelihood of rows under one component with mu ~ Gamma(a, b)."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def log_marginal(self, x):
        x = np.asarray(x, dtype=float)
        total, n = x.sum(), len(x)
        return (
            self.a * math.log(self.b)
            - math.lgamma(self.a)
            + math.lgamma(self.a + total)
            - (self.a + total) * math.log(self.b + n)
            - special.gammaln(x + 1).sum()
        )


class ExactNormal:
    """The same with mu ~ N(m, t^2) and sigma^2 ~ InverseGamma(nu / 2, nu s^2 / 2), columns independent or sharing sigma.

    The mean is integrated by the formula, log sigma^2 by the trapezoidal rule, which is exact to rounding for a smooth
    function that vanishes at both ends.
    """

    def __init__(self, m, t, nu, s, shared=False):
        self.m, self.t, self.nu, self.s, self.shared = m, t, nu, s, shared
        self.log_v = np.linspace(-14, 14, 2001) + 2 * math.log(s)

    def log_marginal(self, x):
        x = np.asarray(x, dtype=float).reshape(len(x), -1)
        per_column = np.array([self._given_variance(column) for column in x.T])
        prior = stats.invgamma(self.nu / 2, scale=self.nu * self.s**2 / 2).logpdf(np.exp(self.log_v)) + self.log_v
        step = math.log(self.log_v[1] - self.log_v[0])
        if self.shared:
            return special.logsumexp(per_column.sum(axis=0) + prior) + step
        return sum(special.logsumexp(column + prior) + step for column in per_column)

    def _given_variance(self, x):
        n, v, t2 = len(x), np.exp(self.log_v), self.t**2
        d = x - self.m
        total = np.log(v) * (n - 1) + np.log(v + n * t2)
        quadratic = (d @ d) / v - t2 * d.sum() ** 2 / (v * (v + n * t2))
        return -0.5 * (n * math.log(2 * math.pi) + total + quadratic)


def enumerate_labels(exact, x, n_components, alpha):
    """All allocations of the rows: their posterior probabilities, and each one's clusters."""
    cache = {}

    def marginal(rows):
        if rows not in cache:
            cache[rows] = exact.log_marginal(x[list(rows)]) if rows else 0.0
        return cache[rows]

    labels = list(itertools.product(range(n_components), repeat=len(x)))
    clusters = [[tuple(i for i, z in enumerate(label) if z == k) for k in range(n_components)] for label in labels]
    log_p = np.array(
        [
            sum(marginal(rows) + math.lgamma(a + len(rows)) for rows, a in zip(each, alpha, strict=True))
            for each in clusters
        ]
    )
    return np.exp(log_p - special.logsumexp(log_p)), clusters, marginal


def predictive(exact, x, p, clusters, marginal, alpha, point):
    """Posterior predictive density at one more row, exact."""
    with_it = {}

    def joint(rows):
        if rows not in with_it:
            grown = np.concatenate([x[list(rows)], point[None]]) if rows else point[None]
            with_it[rows] = exact.log_marginal(grown) - marginal(rows)
        return with_it[rows]

    total = len(x) + sum(alpha)
    return sum(
        weight * sum((a + len(rows)) / total * math.exp(joint(rows)) for rows, a in zip(each, alpha, strict=True))
        for weight, each in zip(p, clusters, strict=True)
    )


SEVEN = np.array([-1.3, -0.9, -1.1, 0.4, 1.0, 1.6, 0.2])
SIX = np.array([[-1.0, 0.3], [-1.4, 0.1], [0.9, 1.2], [1.1, 0.7], [0.2, -0.4], [1.4, 1.5]])
SCALES = bm.ScaledInverseChiSquared(3, 0.5)
CASES = {
    "normal": (bm.Normal(mu=pz.Normal(0.2, 1.5), sigma=SCALES), SEVEN, ExactNormal(0.2, 1.5, 3, 0.5)),
    "poisson": (bm.Poisson(mu=pz.Gamma(1.5, 0.5)), np.array([0.0, 1, 0, 7, 5, 9, 2]), ExactPoisson(1.5, 0.5)),
    "exponential": (bm.Poisson(mu=pz.Exponential(0.4)), np.array([0.0, 1, 0, 7, 5, 9, 2]), ExactPoisson(1.0, 0.4)),
    "diag": (
        bm.MvNormal("diag", mu=pz.Normal(0.2, 1.5), sigma=SCALES), SIX, ExactNormal(0.2, 1.5, 3, 0.5),
    ),
    "spherical": (
        bm.MvNormal("spherical", mu=pz.Normal(0.2, 1.5), sigma=SCALES), SIX, ExactNormal(0.2, 1.5, 3, 0.5, shared=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("alpha", [(1.0, 1.0), (0.4, 1.7)], ids=["exchangeable", "not"])
@pytest.mark.parametrize("case", CASES)
def test_posterior_is_that_of_all_allocations(case, alpha):
    """Predictive density at rows, and the probability that one component is empty, within 4.5 Monte Carlo errors."""
    component, x, exact = CASES[case]
    mixture = bm.Mixture(component, 2, weights=bm.Dirichlet(list(alpha)))
    start = {"mu": np.array([1.0, 4.0])} if case in ("poisson", "exponential") else None
    if start is None and component.multivariate:
        start = {"mu": np.array([[-1.0, 0.0], [1.0, 1.0]]), "cov": np.array([np.eye(2)] * 2)}
    fit = bm.gibbs(
        mixture, x, draws=2000, random_seed=2, **QUIET,
        init=bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], **(start or {"mu": [-1.0, 1.0], "sigma": [1.0, 1.0]})),
    )  # fmt: skip
    p, clusters, marginal = enumerate_labels(exact, x, 2, alpha)
    empty = sum(weight for weight, each in zip(p, clusters, strict=True) if not (each[0] and each[1]))
    near(fit.tree["sample_stats/K_plus"].values == 1, empty, "empty")
    density = np.exp(fit.tree["log_likelihood/x"].values)
    for i in (0, 2, len(x) - 1):
        near(density[..., i], predictive(exact, x, p, clusters, marginal, alpha, x[i]), ("density", i))


def near(draws, truth, what, limit=4.5):
    draws = np.asarray(draws, dtype=float)
    z = (draws.mean() - truth) / float(az.mcse(draws))
    assert abs(z) < limit, (what, draws.mean(), truth, z)


# -- the number of components -------------------------------------------------------------------------------------------------
def partitions(n):
    """All partitions of n rows, as tuples of tuples."""
    if n == 0:
        yield ()
        return
    for smaller in partitions(n - 1):
        yield (*smaller, (n - 1,))
        for i, block in enumerate(smaller):
            yield (*smaller[:i], (*block, n - 1), *smaller[i + 1 :])


def exact_k(exact, x, prior_k, gamma):
    """p(K | x) and p(K_plus | x) by all partitions; gamma(K) is the concentration of each component."""
    largest, joint = len(prior_k), np.zeros((len(prior_k) + 1, len(x) + 1))
    for blocks in partitions(len(x)):
        likelihood = math.exp(sum(exact.log_marginal(x[list(block)]) for block in blocks))
        for k in range(len(blocks), largest + 1):
            labelled = math.factorial(k) / math.factorial(k - len(blocks))
            shares = [math.gamma(gamma(k) + len(block)) / math.gamma(gamma(k)) for block in blocks]
            p = labelled * math.gamma(k * gamma(k)) / math.gamma(k * gamma(k) + len(x)) * math.prod(shares)
            joint[k, len(blocks)] += prior_k[k - 1] * p * likelihood
    joint /= joint.sum()
    return joint.sum(axis=1), joint.sum(axis=0)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_posterior_of_k_is_that_of_all_partitions(dynamic):
    """Seven counts, K <= 8 although there are seven rows; every probability within 4.5 Monte Carlo errors."""
    component, x, exact = CASES["poisson"]
    mixture = bm.Mixture(component, 8, weights=bm.MFM(0.7, pz.Poisson(1.5), dynamic=dynamic))
    fit = bm.gibbs(mixture, x, draws=5000, random_seed=3, **QUIET)
    prior = stats.poisson(1.5).pmf(np.arange(8))
    of_k, of_occupied = exact_k(exact, x, prior, lambda k: 0.7 / k if dynamic else 0.7)
    sampled = fit.tree["sample_stats"]
    for k in range(1, 8):
        near(sampled["K"].values == k, of_k[k], ("K", k))
    for k in range(1, 5):
        near(sampled["K_plus"].values == k, of_occupied[k], ("K_plus", k))
    commonest = int(np.argmax(of_occupied))
    assert fit.mixture.n_components == commonest
    assert fit.message.startswith("K_plus: ")
    assert f"{commonest} ({(sampled['K_plus'].values == commonest).mean():.2f})" in fit.message
    np.testing.assert_allclose(fit.tree["posterior/weights"].values.sum(axis=-1), 1.0, rtol=1e-12)


def test_random_concentration_of_a_fixed_number_of_components():
    """Dirichlet(alpha) with alpha ~ Gamma(2, 2): P(K_plus) by all partitions, alpha integrated numerically."""
    component, x, exact = CASES["poisson"]
    mixture = bm.Mixture(component, 4, weights=bm.Dirichlet(pz.Gamma(2, 2)))
    fit = bm.gibbs(mixture, x, draws=5000, random_seed=4, **QUIET)
    blocks = list(partitions(len(x)))
    likelihood = [math.exp(sum(exact.log_marginal(x[list(block)]) for block in each)) for each in blocks]
    log_alpha = np.linspace(-9, 3, 241)
    alpha = np.exp(log_alpha)
    mass = np.zeros((5, len(alpha)))
    for each, value in zip(blocks, likelihood, strict=True):
        if len(each) <= 4:
            log_p = special.gammaln(4 * alpha) - special.gammaln(4 * alpha + len(x))
            log_p = log_p + sum(special.gammaln(alpha + len(b)) - special.gammaln(alpha) for b in each)
            mass[len(each)] += value * math.factorial(4) / math.factorial(4 - len(each)) * np.exp(log_p)
    mass *= stats.gamma(2, scale=0.5).pdf(alpha) * alpha
    mass /= mass.sum()
    for k in (1, 2, 3, 4):
        near(fit.tree["sample_stats/K_plus"].values == k, mass[k].sum(), ("K_plus", k))
    near(np.log(fit.tree["sample_stats/concentration"].values), (mass.sum(axis=0) * log_alpha).sum(), "log alpha")


# -- getting it right (Geweke 2004) -----------------------------------------------------------------------------------------------
ALPHA = pz.Gamma(2, 2)
HYPER = pz.Gamma(3, 2)
WISHART = bm.InverseWishart(4.5, [[1.0, 0.3], [0.3, 0.8]])
JOINT = {
    "normal": (bm.Normal(mu=pz.Normal(1, 2), sigma=bm.HierarchicalInverseGamma(2.5, HYPER)), bm.MFM(ALPHA, dynamic=True)),
    "poisson": (bm.Poisson(mu=bm.HierarchicalGamma(1.5, HYPER)), bm.MFM(ALPHA)),
    "diag": (
        bm.MvNormal("diag", mu=pz.Normal(1, 2), sigma=bm.HierarchicalInverseGamma(2.5, pz.Gamma([3, 3], [2, 2]))),
        bm.Dirichlet(ALPHA),
    ),
    "spherical": (
        bm.MvNormal("spherical", mu=pz.Normal(1, 2), sigma=bm.HierarchicalInverseGamma(2.5, HYPER)),
        bm.MFM(1.0, dynamic=True),
    ),
    "full": (bm.MvNormal(mu=pz.Normal(1, 2), cov=WISHART), bm.MFM(0.8)),
    "tied": (bm.MvNormal("tied", mu=pz.Normal(1, 2), cov=WISHART), bm.MFM(ALPHA)),
    "shared": (bm.MvNormal(mu=pz.Normal(1, 2), cov=bm.HierarchicalInverseWishart(4.5, WISHART.psi, 5)), bm.MFM(0.8)),
    "shared tied": (
        bm.MvNormal("tied", mu=pz.Normal(1, 2), cov=bm.HierarchicalInverseWishart(4.5, WISHART.psi, 5)),
        bm.MFM(0.8),
    ),
    "fixed": (bm.MvNormal(mu=pz.Normal(1, 2), cov=WISHART), bm.Dirichlet([0.5, 1.0, 2.0])),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINT)
def test_getting_it_right(case):
    """Data drawn given parameters, parameters by one sweep given data, in turn: parameters keep their prior.

    Functions of the parameters have their prior expectations within 4.5 Monte Carlo errors.
    """
    component, weights = JOINT[case]
    largest = 3 if isinstance(weights, bm.Dirichlet) else 5
    mixture = bm.Mixture(component, largest, weights=weights)
    rng = np.random.default_rng(5)
    d = 2 if component.multivariate else 1
    n_rows, rounds = 6, 10_000
    first = rng.poisson(3.0, (n_rows, 1)) + 0.0 if case == "poisson" else rng.normal(1, 2, (n_rows, d))
    problem = setup(mixture, mixture.check(first))
    state = problem.state(_start(case, d), rng)
    record = Record(
        np.empty((1, largest)), np.empty((1, *state.location.shape)), np.empty((1, *state.spread.shape)),
        np.empty((1, *state.scale.shape)),
        np.empty((1, largest), dtype=bool), np.empty((1, 2), dtype=np.int64), np.empty(1), np.empty(1), np.empty(1),
    )  # fmt: skip
    seen = []
    current = problem.problem._replace(counts=np.empty(0, dtype=np.int64))
    for _ in range(rounds):
        k = int(state.n_components[0])
        labels = np.searchsorted(np.cumsum(np.exp(state.log_weights[:k])), rng.random(n_rows)).clip(max=k - 1)
        own = problem.params(state.log_weights[labels], state.location[labels], state.spread[labels])
        x = component.sample({name: value for name, value in own.items() if name != "weights"}, rng)
        if case == "poisson":  # repeated rows by counts, as engines read them
            values, counts = np.unique(x[:, 0], return_counts=True)
            x = np.repeat(values, 1)[:, None]
            current = current._replace(x=np.ascontiguousarray(x.T), counts=counts)
        else:
            current = current._replace(x=np.ascontiguousarray(x.T))
        run(rng, current, state, record, False)
        seen.append(_functions(problem, state))
    for name, column in _columns(seen).items():
        near(column.reshape(4, -1), _expected(case, mixture, name), (case, name))


def _start(case, d):
    if case == "poisson":
        return {"weights": np.ones(2) / 2, "mu": np.array([1.0, 3.0])}
    if d == 1:
        return {"weights": np.ones(2) / 2, "mu": np.array([0.0, 2.0]), "sigma": np.ones(2)}
    size = 3 if case in ("fixed", "diag") else 2
    return {
        "weights": np.ones(size) / size,
        "mu": np.arange(2.0 * size).reshape(size, 2),
        "cov": np.array([np.eye(2)] * size),
    }


def _functions(problem, state):
    k = int(state.n_components[0])
    params = problem.params(state.log_weights[:k], state.location[:k], state.spread[:k])
    values = {"log weight of the first": state.log_weights[0] if problem.problem.kind == 0 else 0.0, "K": k}
    values |= {
        "K is 1": k == 1,
        "log alpha": math.log(state.alpha[0]),
        "log rate": math.log(state.scale[0, 0]) if problem.hyper_name and len(state.scale[0]) == 1 else 0.0,
    }
    if problem.problem.layout == 2:
        return values | {"scaled": (params["mu"] * state.scale[0, 0]).mean(), "log": np.log(params["mu"]).mean()}
    values |= {"mean": params["mu"].mean(), "square": ((params["mu"] - 1.0) ** 2).mean()}
    if problem.problem.layout == 0:
        return values | {"log variance": np.log(state.spread[:k, -1, 0]).mean()}
    if problem.hyper_name:
        log_det = np.linalg.slogdet(state.scale)[1]
        own = (log_det - np.linalg.slogdet(state.spread[:k])[1]).mean()
        return values | {
            "psi 11": state.scale[0, 0],
            "psi 12": state.scale[0, 1],
            "log det": log_det,
            "log det ratio": own,
        }
    precision = np.linalg.inv(params["cov"])
    return values | {"precision 11": precision[:, 0, 0].mean(), "precision 12": precision[:, 0, 1].mean()}


def _columns(seen):
    columns = {name: np.array([values[name] for values in seen], dtype=float) for name in seen[0]}
    return {name: column for name, column in columns.items() if np.ptp(column) > 0}


def _expected(case, mixture, name):
    """Prior expectations, by formula."""
    largest = mixture.n_components
    if name in ("K", "K is 1"):
        p = stats.betanbinom(1, 4, 3).pmf(np.arange(largest))
        p /= p.sum()
        return p[0] if name == "K is 1" else p @ np.arange(1, largest + 1)
    rate = special.digamma(3) - math.log(2)  # of the logarithm of Gamma(3, 2)
    return {
        "log alpha": special.digamma(2) - math.log(2),
        "log rate": rate,
        "log weight of the first": special.digamma(0.5) - special.digamma(3.5),
        "psi 11": 1.0,
        "psi 12": 0.3,
        "log det": _log_det(5) + np.linalg.slogdet(np.array(WISHART.psi) / 5)[1],
        "log det ratio": _log_det(4.5),
        "mean": 1.0,
        "square": 4.0,
        "log variance": rate - special.digamma(2.5),
        "scaled": 1.5,
        "log": special.digamma(1.5) - rate,
        "precision 11": 4.5 * np.linalg.inv(WISHART.psi)[0, 0],
        "precision 12": 4.5 * np.linalg.inv(WISHART.psi)[0, 1],
    }[name]


def _log_det(nu):
    """Expected log determinant of a 2 x 2 matrix W(nu, I)."""
    return special.digamma(0.5 * nu) + special.digamma(0.5 * (nu - 1)) + 2 * math.log(2)
