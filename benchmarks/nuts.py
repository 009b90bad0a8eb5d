"""Print how the posterior engines compare with PyMC: effective draws per CPU second, and start-up.

Run from the root of the repository: ``python benchmarks/nuts.py`` (all parts; over an hour, most of it PyMC's), or name
parts: ``python benchmarks/nuts.py sampling startup``. ``--quick`` leaves out the long cases and runs once.

The baseline is what a user writes by hand: `pm.NormalMixture` or `pm.Mixture` with the same priors, sampled by
`pm.sample`'s default (nutpie, 4 chains, 1000 draws after 1000 for adaptation), run to its end. Chains run one after the other on
one thread. Time is CPU time of sampling with its adaptation, of both; what each spends before that is printed beside it:
PyMC on compilation, ours on EM from 60 and more starts, the modes and their curvature. The effective sample size is the
smallest over sorted weights, means and scales (bulk, ArviZ), so that labels play no part.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import platform
import subprocess
import sys
import time
from importlib import metadata

import numpy as np

import bayesmix as bm
from bayesmix.engines import nuts as engine
from bayesmix.posterior import posterior_of

CHAINS, DRAWS, TUNE = 4, 1000, 1000
ROUNDS = 3


# -- the cases -----------------------------------------------------------------------------------------------------------
def normal_rows(n, seed=1):
    """Three normals, as in the notes on what was measured: weights .3 .5 .2, means -4 0 5."""
    rng = np.random.default_rng(seed)
    z = rng.choice(3, n, p=[0.3, 0.5, 0.2])
    return np.array([-4.0, 0.0, 5.0])[z] + np.array([1.0, 1.5, 0.8])[z] * rng.standard_normal(n)


def vector_rows(n, d=5, k=4, seed=1):
    """Groups whose means are about two standard deviations apart in each column."""
    rng = np.random.default_rng(seed)
    mean = 2.0 * rng.normal(size=(k, d))
    factor = np.linalg.cholesky(np.stack([np.cov(rng.normal(size=(3 * d, d)).T) for _ in range(k)]))
    z = rng.integers(k, size=n)
    return mean[z] + np.einsum("nij,nj->ni", factor[z], rng.normal(size=(n, d)))


def count_rows(n, seed=1):
    """Poisson counts of three rates."""
    rng = np.random.default_rng(seed)
    return rng.poisson(np.array([1.0, 6.0, 18.0])[rng.choice(3, n, p=[0.4, 0.4, 0.2])])


def cases(quick):
    """Name, mixture, data, must, aim."""
    yield "Normal K=3 N=500", bm.Mixture(bm.Normal(), 3), normal_rows(500), 15, 25
    yield "Normal K=3 N=5000", bm.Mixture(bm.Normal(), 3), normal_rows(5000), 30, 50
    if not quick:
        yield "Normal K=3 N=50000", bm.Mixture(bm.Normal(), 3), normal_rows(50_000), 30, 50
        yield "MvNormal D=5 K=4 N=5000", bm.Mixture(bm.MvNormal(), 4), vector_rows(5000), 50, 100
    yield (
        "Old Faithful K=2",
        bm.Mixture(bm.MvNormal(), 2),
        np.asarray(bm.datasets.load("faithful").to_dataframe()),
        8,
        12,
    )
    yield "Poisson K=3 N=5000", bm.Mixture(bm.Poisson(), 3), count_rows(5000), 100, 300


# -- the baseline --------------------------------------------------------------------------------------------------------
def by_hand(mixture, x):
    """The model as a PyMC user writes it, with the priors that ours has for these data."""
    import pymc as pm
    import pytensor.tensor as pt

    k, priors = mixture.n_components, mixture.priors(x)
    with pm.Model() as model:
        w = pm.Dirichlet("weights", np.ones(k))
        if isinstance(mixture.component, bm.Poisson):
            mu = pm.Gamma("mu", **priors["mu"].kwargs, shape=k)
            pm.Mixture("x", w, pm.Poisson.dist(mu), observed=x)
        elif isinstance(mixture.component, bm.Normal):
            nu, scale = priors["sigma"].nu, priors["sigma"].scale
            mu = pm.Normal("mu", **{n: np.squeeze(v) for n, v in priors["mu"].kwargs.items()}, shape=k)
            variance = pm.InverseGamma("variance", 0.5 * nu, 0.5 * nu * scale**2, shape=k)
            pm.NormalMixture("x", w, mu, sigma=pm.Deterministic("sigma", pt.sqrt(variance)), observed=x)
        else:  # PyMC has no inverse Wishart prior: its density is written on a Cholesky factor of the precision
            d = x.shape[1]
            nu, psi = priors["cov"].nu, np.asarray(priors["cov"].psi)
            mu = pm.Normal("mu", **priors["mu"].kwargs, shape=(k, d))
            log_diagonal = pm.Flat("log_diagonal", shape=(k, d))
            below = pm.Flat("below", shape=(k, d * (d - 1) // 2))
            rows, columns = np.tril_indices(d, -1)
            factor = pt.zeros((k, d, d))
            factor = factor[:, np.arange(d), np.arange(d)].set(pt.exp(log_diagonal))
            factor = factor[:, rows, columns].set(below)  # lower P, precision P'P
            degrees = nu - d + 1.0 + np.arange(d)
            pm.Potential("inverse_wishart", pt.sum(degrees * log_diagonal) - 0.5 * pt.sum(factor * pt.dot(factor, psi)))
            inverse = pt.linalg.solve_triangular(factor, np.eye(d), lower=True)
            pm.Deterministic("sd", pt.sqrt(pt.sum(inverse**2, axis=-1)))
            groups = [pm.MvNormal.dist(mu[j], chol=inverse[j]) for j in range(k)]
            pm.Mixture("x", w, groups, observed=x)
    return model


def baseline(mixture, x, seed):
    """CPU seconds of sampling and of compilation, and the smallest effective sample size."""
    import nutpie

    begin = time.process_time()
    compiled = nutpie.compile_pymc_model(by_hand(mixture, x))
    compilation = time.process_time() - begin
    begin = time.process_time()
    tree = nutpie.sample(compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=1, seed=seed, progress_bar=False)
    spent = time.process_time() - begin
    posterior = tree["posterior"].dataset
    values = {name: posterior[name].values for name in ("weights", "mu", "sigma", "sd") if name in posterior}
    return spent, compilation, smallest_ess(values), worst_rhat(values)


# -- ours ----------------------------------------------------------------------------------------------------------------
def ours(mixture, x, seed):
    """CPU seconds of sampling and of what comes before, and the smallest effective sample size."""
    begin = time.process_time()
    checked = mixture.check(x)
    rng = np.random.default_rng(seed)
    optima = engine.starting_points(mixture, checked, "em", rng, False)
    posterior = posterior_of(mixture, checked)
    modes = engine.modes_of(posterior, optima)
    before = time.process_time() - begin
    begin = time.process_time()
    drawn, _, _ = engine._run_nutpie(posterior, modes, DRAWS, engine.tuning(posterior, modes), CHAINS, 1, seed, False)
    spent = time.process_time() - begin
    return spent, before, smallest_ess(invariant(drawn))


def invariant(drawn):
    """Weights, means and scales."""
    values = {name: drawn[name] for name in ("weights", "mu", "sigma") if name in drawn}
    if "cov" in drawn:
        values["sd"] = np.sqrt(np.diagonal(drawn["cov"], axis1=-2, axis2=-1))
    return values


def smallest_ess(values):
    """Smallest bulk effective sample size of the values sorted over components."""
    from arviz_stats.base import array_stats

    return min(
        float(array_stats.ess(column, chain_axis=0, draw_axis=1, method="bulk"))
        for value in values.values()
        for column in np.moveaxis(np.sort(value, axis=2).reshape(*value.shape[:2], -1), 2, 0)
    )


def worst_rhat(values):
    """Largest R-hat of the same."""
    from arviz_stats.base import array_stats

    return max(
        float(array_stats.rhat(column, chain_axis=0, draw_axis=1))
        for value in values.values()
        for column in np.moveaxis(np.sort(value, axis=2).reshape(*value.shape[:2], -1), 2, 0)
    )


# -- the parts -----------------------------------------------------------------------------------------------------------
def sampling(quick, only):
    """Effective draws per CPU second, medians of interleaved runs."""
    print("\nSmallest effective sample size per CPU second of sampling, ours / PyMC's (4 chains of 1000)")
    print(
        f"{'':26}{'ours':>9}{'PyMC':>8}{'ratio':>8}{'range':>15}{'must':>6}{'aim':>5}  before it, s: ours, PyMC   PyMC's R-hat"
    )
    for name, mixture, x, must, aim in cases(quick):
        if only and only not in name:
            continue
        ours(mixture, x, 0)
        rates, befores, theirs, told = [], [], [], ""
        for seed in range(1 if quick else ROUNDS):
            spent, compilation, ess, rhat = baseline(mixture, x, seed)
            theirs.append(ess / spent)
            for part in range(3):
                spent, before, ess = ours(mixture, x, 10 * seed + part)
                rates.append(ess / spent)
                befores.append(before)
            told = f"{np.median(befores):.2f}, {compilation:.0f}   {rhat:.2f}"
        rates = np.median(np.reshape(rates, (-1, 3)), axis=1)
        ratios = rates / np.array(theirs)
        print(
            f"{name:26}{np.median(rates):9.0f}{np.median(theirs):8.1f}{np.median(ratios):8.1f}"
            f"{f'{min(ratios):.1f} to {max(ratios):.1f}':>15}{must:6}{aim:5}  {told}",
            flush=True,
        )


def startup(quick, only):
    """A fresh process: import, 4000 draws, relabelled."""
    print("\nFresh process to a posterior in hand, warm caches, CPU s (must 1/3 of PyMC's, aim 1/5)")
    common = "import time, numpy as np, sys; sys.path.insert(0, 'benchmarks'); x = np.loadtxt(sys.argv[1])\n"
    own = (
        "import bayesmix as bm\n"
        "fit = bm.nuts(bm.Mixture(bm.Normal(), 3), x, random_seed=1, cores=1, progressbar=False)\n"
        "print(time.process_time())"
    )
    peer = (
        "import pymc as pm\n"
        "with pm.Model():\n"
        "    w = pm.Dirichlet('w', np.ones(3)); mu = pm.Normal('mu', x.mean(), x.std(), shape=3)\n"
        "    sigma = pm.HalfNormal('sigma', x.std(), shape=3); pm.NormalMixture('x', w, mu, sigma=sigma, observed=x)\n"
        "    pm.sample(1000, tune=1000, chains=4, cores=1, random_seed=1, progressbar=False)\n"
        "print(time.process_time())"
    )
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        np.savetxt(file.name, normal_rows(5000))
        spent = {"bayesmix": [], "PyMC": []}
        for _ in range(1 if quick else 3):
            for name, code in (("bayesmix", own), ("PyMC", peer)):
                command = [sys.executable, "-W", "ignore", "-c", common + code, file.name]
                out = subprocess.run(command, capture_output=True, text=True, check=True)
                spent[name].append(float(out.stdout.split()[-1]))
    for name, seconds in spent.items():
        print(f"  {name:10}{np.median(seconds):7.1f}   {min(seconds):.1f} to {max(seconds):.1f}")
    print(f"  ratio     {np.median(spent['bayesmix']) / np.median(spent['PyMC']):7.2f}")


PARTS = {"sampling": sampling, "startup": startup}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short cases, one run")
    parser.add_argument("--only", default="", help="part of the name of a case")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds of the sampling part")
    asked = parser.parse_args()
    ROUNDS = asked.rounds
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pymc", "nutpie", "numba", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    for part in asked.parts:
        PARTS[part](asked.quick, asked.only)
