"""Gibbs sampling: exact posteriors of tiny data, joint distribution tests, other people's posteriors of K, seeds."""

import itertools
import math
import signal
import threading

import arviz as az
import numpy as np
import preliz as pz
import pytest
from reference import answers, columns
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
        mixture, x, draws=1500, random_seed=2, **QUIET,
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


@pytest.mark.parametrize(("alpha", "discount"), [(1.5, 0.0), (0.4, 0.35)], ids=["Dirichlet", "Pitman-Yor"])
def test_posterior_under_sticks_is_that_of_all_labels(alpha, discount):
    """Five counts, a stick broken in four: P(K_plus), and of each weight in its place on the stick the expectation.

    Every labelling has the probability of its sticks, integrated one by one, and of its rows. Within 4.5 errors.
    """
    component, x, exact = CASES["poisson"]
    x, size = x[:5], 4
    mixture = bm.Mixture(component, size, weights=bm.StickBreaking(alpha, discount=discount))
    start = bm.Fit.from_parameters(mixture, weights=np.ones(size) / size, mu=[1.0, 4.0, 6.0, 9.0])
    fit = bm.gibbs(mixture, x, draws=4000, thin=2, random_seed=6, init=start, **QUIET)
    k = np.arange(1, size)
    a, b = 1.0 - discount, alpha + discount * k
    occupied, total, density = np.zeros(size + 1), 0.0, 0.0
    marginal = {}
    for label in itertools.product(range(size), repeat=len(x)):
        n = np.bincount(label, minlength=size)
        after = np.cumsum(n[::-1])[::-1][1:]
        log_p = (special.betaln(a + n[:-1], b + after) - special.betaln(a, b)).sum()
        clusters = [tuple(np.flatnonzero(np.equal(label, c))) for c in range(size)]
        for rows in clusters:
            if rows not in marginal:
                one_more = exact.log_marginal(np.append(x[list(rows)], x[0]))
                marginal[rows] = (own := exact.log_marginal(x[list(rows)])), math.exp(one_more - own)
        p = math.exp(log_p + sum(marginal[rows][0] for rows in clusters))
        broken = np.append((a + n[:-1]) / (a + n[:-1] + b + after), 1.0)
        weights = broken * np.append(1.0, np.cumprod(1.0 - broken[:-1]))
        occupied[np.sum(n > 0)] += p
        density += p * sum(w * marginal[rows][1] for w, rows in zip(weights, clusters, strict=True))
        total += p
    for c in range(1, size + 1):
        near(fit.tree["sample_stats/K_plus"].values == c, occupied[c] / total, ("K_plus", c))
    near(np.exp(fit.tree["log_likelihood/x"].values[..., 0]), density / total, "density")
    assert 0.1 < float(fit.tree["sample_stats/exchange_rate"].mean()) < 0.9


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


def test_a_random_number_of_components_has_no_log_prior():
    """The other groups are those of one K_plus alone, which no prior of a mixture describes; a fixed number has one."""
    component, x, _ = CASES["poisson"]
    options = {"draws": 50, "tune": 20, "random_seed": 1, **QUIET}
    for weights in (bm.MFM(), bm.Dirichlet(pz.Gamma(2, 2))):
        assert "log_prior" not in bm.gibbs(bm.Mixture(component, 4, weights=weights), x, **options).tree.children
    fixed = bm.gibbs(bm.Mixture(component, 2), x, **options)
    parts = fixed.tree["log_prior"].dataset
    stats_of = fixed.tree["sample_stats"].dataset
    total = sum(parts[name].values for name in parts.data_vars)
    np.testing.assert_allclose(total, (stats_of["lp"] - stats_of["log_likelihood"]).values, rtol=1e-9)


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
    "process": (bm.MvNormal(mu=pz.Normal(1, 2), cov=WISHART), bm.StickBreaking(0.7)),
    "discount": (bm.MvNormal(mu=pz.Normal(1, 2), cov=WISHART), bm.StickBreaking(-0.1, discount=0.3)),
    "random process": (
        bm.Normal(mu=pz.Normal(1, 2), sigma=bm.HierarchicalInverseGamma(2.5, HYPER)),
        bm.StickBreaking(ALPHA, discount=0.2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINT)
def test_getting_it_right(case):
    """Data drawn given parameters, parameters by one sweep given data, in turn: parameters keep their prior.

    Functions of the parameters have their prior expectations within 4.5 Monte Carlo errors.
    """
    component, weights = JOINT[case]
    largest = 5 if isinstance(weights, bm.MFM) else 3
    mixture = bm.Mixture(component, largest, weights=weights)
    rng = np.random.default_rng(5)
    d = 2 if component.multivariate else 1
    n_rows, rounds = 6, 6_000
    first = rng.poisson(3.0, (n_rows, 1)) + 0.0 if case == "poisson" else rng.normal(1, 2, (n_rows, d))
    problem = setup(mixture, mixture.check(first))
    state = problem.state(_start(case, d), rng)
    record = Record(
        np.empty((1, largest)), np.empty((1, *state.location.shape)), np.empty((1, *state.spread.shape)),
        np.empty((1, *state.scale.shape)),
        np.empty((1, largest), dtype=bool), np.empty((1, 2), dtype=np.int64), *np.empty((4, 1)),
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
        run(rng, current, state, record, 1, False)
        seen.append(_functions(problem, state))
    for name, column in _columns(seen).items():
        near(column.reshape(4, -1), _expected(case, mixture, name), (case, name))


def _start(case, d):
    if case == "poisson":
        return {"weights": np.ones(2) / 2, "mu": np.array([1.0, 3.0])}
    if d == 1:
        size = 3 if case == "random process" else 2
        return {"weights": np.ones(size) / size, "mu": np.arange(2.0 * size)[::2], "sigma": np.ones(size)}
    size = 3 if case in ("fixed", "diag", "process", "discount") else 2
    return {
        "weights": np.ones(size) / size,
        "mu": np.arange(2.0 * size).reshape(size, 2),
        "cov": np.array([np.eye(2)] * size),
    }


def _functions(problem, state):
    k = int(state.n_components[0])
    params = problem.params(state.log_weights[:k], state.location[:k], state.spread[:k])
    values = {"log weight of the first": state.log_weights[0] if problem.problem.kind == 0 else 0.0, "K": k}
    if problem.problem.kind == 3:
        values = {f"log weight {i}": state.log_weights[i] for i in range(k)}
    values |= {
        "K is 1": k == 1,
        "log alpha": math.log(abs(state.alpha[0])),  # below zero where there is a discount
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
    if name.startswith("log weight ") and case != "fixed":
        return _log_stick(mixture.weights, int(name[-1]), largest)
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


def _log_stick(prior, i, size):
    """Expected log weight i of a stick broken in `size`, from those of V_k ~ Beta(1 - d, alpha + k d)."""
    alpha, p = np.array([prior.alpha]), np.ones(1)
    if prior.hyper:  # Gamma(2, 2)
        alpha = np.geomspace(1e-8, 30, 4000)
        p = special.softmax(stats.gamma(2, scale=0.5).logpdf(alpha) + np.log(alpha))
    k = np.arange(1, size)[:, None]
    a, b = 1.0 - prior.discount, alpha + k * prior.discount
    left, right = special.digamma(a) - special.digamma(a + b), special.digamma(b) - special.digamma(a + b)
    return float(p @ (right[:i].sum(axis=0) + (left[i] if i < size - 1 else 0.0)))


def _log_det(nu):
    """Expected log determinant of a 2 x 2 matrix W(nu, I)."""
    return special.digamma(0.5 * nu) + special.digamma(0.5 * (nu - 1)) + 2 * math.log(2)


# -- other people's posteriors --------------------------------------------------------------------------------------------------
def shares(fit, name, largest):
    return np.array([(fit.tree["sample_stats"][name].values == k).mean() for k in range(1, largest + 1)])


def test_acidity_number_of_components():
    """p(K) under Richardson & Green's prior, by their own program: within 0.03 each.

    Monte Carlo errors: theirs up to 0.005, ours from about 800 effective draws up to 0.016.
    """
    x = columns("acidity.csv")["log_anc"]
    middle, width = x.min() + np.ptp(x) / 2, np.ptp(x)
    sigma = bm.HierarchicalInverseGamma(2, pz.Gamma(0.2, 10 / width**2))
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(middle, width), sigma=sigma), 30, weights=bm.MFM(1.0, UNIFORM))
    defaults = bm.Mixture(bm.Normal(), 30, weights=bm.MFM(1.0, UNIFORM))
    assert str(defaults.priors(x)["sigma"]) == str(sigma)
    fit = bm.gibbs(mixture, x, draws=1500, thin=50, random_seed=1, **QUIET)
    theirs = np.array(answers("acidity_posterior_of_k", "random_k_answers.json")["p_k"])
    np.testing.assert_allclose(shares(fit, "K", len(theirs)), theirs, atol=0.03)
    assert fit.tree["sample_stats/K"].shape == (4, 1500)


def test_eye_counts_number_of_components():
    """p(K) and K_plus of the telescope package: within 0.02, of which 0.005 is their rounding."""
    x = columns("eye_counts.csv")["count"]
    rate = bm.HierarchicalGamma(0.1, pz.Gamma(0.5, 0.5 * x.mean() / 0.1))
    weights = bm.MFM(pz.Gamma(1, 2), bm.BetaNegativeBinomial(1, 4, 3), dynamic=True)
    fit = bm.gibbs(bm.Mixture(bm.Poisson(mu=rate), 100, weights=weights), x, random_seed=1, **QUIET)
    theirs = answers("eye_counts", "random_k_answers.json")
    np.testing.assert_allclose(shares(fit, "K", 20), theirs["p_k"], atol=0.02)
    occupied = fit.tree["sample_stats/K_plus"].values
    np.testing.assert_array_equal(np.quantile(occupied, [0.25, 0.5, 0.75]), theirs["K_plus_quartiles"])
    assert np.bincount(occupied.ravel()).argmax() == theirs["K_plus_mode"] == fit.mixture.n_components


def test_faithful_agrees_with_nuts():
    """Means and standard deviations of every parameter within 4.5 combined Monte Carlo errors of bm.nuts."""
    faithful = bm.datasets.load("faithful")
    mixture = bm.Mixture(bm.MvNormal(), 2)
    ours = bm.gibbs(mixture, faithful, random_seed=1, **QUIET)
    theirs = bm.nuts(mixture, faithful, draws=500, random_seed=1, **QUIET)
    assert ours.verdict == "converged", ours.message
    for name in ("weights", "mu", "cov"):
        a, b = ours.tree["posterior"][name].values, theirs.tree["posterior"][name].values
        for index in np.ndindex(a.shape[2:]):
            x, y = a[(..., *index)], b[(..., *index)]
            for statistic in ("mean", "sd"):
                error = np.hypot(float(az.mcse(x, method=statistic)), float(az.mcse(y, method=statistic)))
                difference = x.mean() - y.mean() if statistic == "mean" else x.std() - y.std()
                assert abs(difference) < 4.5 * error, (name, index, statistic, difference / error)
    lp = ours.tree["sample_stats/log_likelihood"].values
    np.testing.assert_allclose(lp, ours.tree["log_likelihood/x"].sum("obs").values, rtol=1e-10)


def test_too_many_components_mix_by_themselves():
    """Five components for three groups, weights uniform: draws are thinned until what has no labels converges."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.poisson(1, 150), rng.poisson(8, 200), rng.poisson(25, 150)])
    plain = bm.gibbs(bm.Mixture(bm.Poisson(), 5), x, thin=1, random_seed=1, **QUIET)
    assert plain.tree.attrs["rhat_invariant"] > 1.01
    fit = bm.gibbs(bm.Mixture(bm.Poisson(), 5), x, random_seed=1, **QUIET)
    assert fit.tree.attrs["rhat_invariant"] < 1.01, fit.message
    assert 10 <= fit.tree.attrs["thin"] <= 50
    distinct = bm.gibbs(bm.Mixture(bm.Poisson(), 3), x, draws=100, random_seed=1, **QUIET)
    assert distinct.tree.attrs["thin"] <= 2


def test_too_many_components_empty_out():
    """Five components for three groups, sparse weights: K_plus is 3, and what has no labels converges."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-4, 1, 150), rng.normal(0, 0.7, 200), rng.normal(3.5, 1.2, 150)])
    fit = bm.gibbs(bm.Mixture(bm.Normal(), 5, weights=bm.Dirichlet(0.01)), x, random_seed=1, **QUIET)
    assert (fit.tree["sample_stats/K_plus"].values == 3).mean() > 0.9
    assert fit.tree.attrs["rhat_invariant"] < 1.01 and fit.tree.attrs["ess_invariant"] > 400
    assert fit.verdict == "not identified (too many components)"


# -- data, seeds, interrupts ----------------------------------------------------------------------------------------------------
def test_weights_are_repeated_rows():
    """Rows with weights 0 to 5 against the allocations of as many rows; 5 are drawn as a multinomial."""
    component, x, exact = CASES["poisson"]
    counts = np.array([2, 0, 5, 1, 0, 0, 1])
    mixture = bm.Mixture(component, 2)
    start = bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[1.0, 4.0])
    fit = bm.gibbs(mixture, x, weights=counts, random_seed=1, init=start, **QUIET)
    rows = np.repeat(x, counts)
    p, clusters, marginal = enumerate_labels(exact, rows, 2, (1.0, 1.0))
    density = np.exp(fit.tree["log_likelihood/x"].values[..., 3])
    near(density, predictive(exact, rows, p, clusters, marginal, (1.0, 1.0), x[3]), "density")
    empty = sum(weight for weight, each in zip(p, clusters, strict=True) if not (each[0] and each[1]))
    near(fit.tree["sample_stats/K_plus"].values == 1, empty, "empty")


def test_same_seed_same_draws_on_any_number_of_cores():
    """Also where rows are collapsed, and where K is random; another seed gives others."""
    for mixture, x in (
        (bm.Mixture(bm.Normal(), 2), SEVEN),
        (bm.Mixture(bm.Poisson(), 6, weights=bm.MFM()), CASES["poisson"][1]),
    ):
        options = {"draws": 50, "tune": 20, "progressbar": False}
        one = bm.gibbs(mixture, x, random_seed=1, cores=1, **options).tree["sample_stats"].dataset
        two = bm.gibbs(mixture, x, random_seed=1, cores=3, **options).tree["sample_stats"].dataset
        assert one.identical(two)
        assert not one.identical(bm.gibbs(mixture, x, random_seed=2, cores=1, **options).tree["sample_stats"].dataset)


def test_interrupt_keeps_the_draws():
    """Ctrl-C in mid-run: a fit with the draws made so far, and a message that says how many."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-2, 1, 20_000), rng.normal(2, 1, 20_000)])
    mixture = bm.Mixture(bm.Normal(), 2)
    start = bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[-2.0, 2.0], sigma=[1.0, 1.0])
    bm.gibbs(mixture, x[::1000], draws=20, tune=20, init=start, random_seed=1, **QUIET)  # compiles
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    try:
        fit = bm.gibbs(mixture, x, draws=500_000, tune=20, chains=2, init=start, random_seed=1, **QUIET)
    finally:
        timer.cancel()
    kept = fit.tree["posterior/mu"].shape[1]
    assert 4 <= kept < 500_000
    assert f"interrupted: 2 chains of {kept} draws of the 500000" in fit.message
    assert np.all(np.isfinite(fit.tree["sample_stats/lp"].values))


UNIFORM = pz.DiscreteUniform(1, 30)
REFUSED = {
    "sigma": (bm.Normal(sigma=pz.HalfNormal(2)), SEVEN, {}, "ScaledInverseChiSquared.*bm.nuts"),
    "mu": (bm.Normal(mu=pz.StudentT(4, 0, 1)), SEVEN, {}, "pz.Normal.*bm.nuts"),
    "corr": (bm.MvNormal(sigma=pz.HalfNormal(2)), SIX, {}, "InverseWishart.*bm.nuts"),
    "rate": (bm.Poisson(mu=pz.LogNormal(0, 1)), CASES["poisson"][1], {}, "pz.Gamma.*bm.nuts"),
    "weights": (bm.Normal(), SEVEN, {"weights": np.full(7, 1.5)}, "7 of 7 are not whole numbers.*bm.nuts"),
    "thin": (bm.Normal(), SEVEN, {"thin": 0}, "thin=0"),
    "tune": (bm.Normal(), SEVEN, {"tune": "long"}, "tune='long'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_do(case):
    component, x, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        bm.gibbs(bm.Mixture(component, 2), x, **options, **QUIET)


def test_a_start_with_more_components_than_the_prior_allows_is_refused():
    start = bm.Fit.from_parameters(bm.Mixture(bm.Normal(), 3), weights=[0.3, 0.3, 0.4], mu=[-1, 0, 1], sigma=[1, 1, 1])
    with pytest.raises(ValueError, match="3 components.*at most 2"):
        bm.gibbs(bm.Mixture(bm.Normal(), 2, weights=bm.MFM()), SEVEN, init=start, **QUIET)
    fit = bm.gibbs(bm.Mixture(bm.Normal(), 6, weights=bm.MFM()), SEVEN, init=start, draws=50, random_seed=1, **QUIET)
    assert fit.tree["sample_stats/K"].values.max() > 3


def test_other_engines_refuse_a_random_scale_and_pymc_writes_it():
    """The density of the PyMC model is that of the formula, the rate included."""
    mixture = bm.Mixture(bm.Normal(mu=pz.Normal(0, 2), sigma=bm.HierarchicalInverseGamma(2.5, pz.Gamma(3, 2))), 2)
    with pytest.raises(ValueError, match="bm.gibbs alone"):
        bm.nuts(
            mixture, SEVEN, init=bm.Fit.from_parameters(mixture, weights=[0.5, 0.5], mu=[0, 1], sigma=[1, 1]), **QUIET
        )
    assert bm.Mixture.from_dict(mixture.to_dict()) == mixture
    model = mixture.to_pymc(SEVEN)
    point = {"weights_simplex__": np.array([0.3]), "mu": np.array([0.0, 1.0]), "sigma_rate_log__": np.array(0.2)}
    sigma = np.array([0.7, 1.3])
    log_p = model.compile_logp(vars=[model["sigma"], model["sigma_rate"]], jacobian=False, mode="FAST_COMPILE")(
        point | {"sigma_log__": np.log(sigma)}
    )
    rate = math.exp(0.2)
    truth = stats.gamma(3, scale=0.5).logpdf(rate)
    truth += (stats.invgamma(2.5, scale=rate).logpdf(sigma**2) + np.log(2 * sigma)).sum()
    np.testing.assert_allclose(log_p, truth, rtol=1e-10)
