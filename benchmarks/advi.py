"""Print how variational inference compares with `pm.fit`, the Laplace proposal with NUTS, and what a large posterior costs.

Run from the root of the repository: ``python benchmarks/advi.py`` (half an hour, most of it PyMC's), or name parts:
``python benchmarks/advi.py advi laplace large``. ``--quick`` leaves out the long cases and runs once.

advi     CPU seconds from EM's optimum to an ELBO within 0.1 nats of the best that `pm.fit` comes to. Both ELBOs are estimated
         from the same number of draws and the same density. `pm.fit` starts at EM's optimum too, on the model that a user
         writes by hand, and its time is that of its steps alone: compilation is printed beside it. Of Adam and PyMC's own
         choice of optimiser the quicker one is taken. Ours is the climb to the mode with its curvature, and the climb of
         the ELBO; the whole call, with EM, k-hat, relabelling and the values of single rows, is printed beside it.
laplace  effective draws per CPU second of `bm.laplace` and `bm.nuts`: of sampling alone, which follows on the modes that both
         start from, and of the whole call.
large    a million rows by 5 columns, 5 components: wall and CPU seconds, peak memory, k-hat; each run in its own process.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import json
import logging
import platform
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
from nuts import CHAINS, DRAWS, by_hand, cases, count_rows, normal_rows, ours, vector_rows

import bayesmix as bm
from bayesmix.engines import advi as engine
from bayesmix.engines import laplace as importance
from bayesmix.engines import nuts
from bayesmix.posterior import posterior_of
from bayesmix.posterior.batch import log_densities

ROUNDS = 3
ELBO_DRAWS = 4000
NEAR = 0.1  # nats
SEGMENT, MOST_STEPS, LONGEST = 1000, 100_000, 150.0  # steps of pm.fit between two looks, steps and CPU seconds at most


# -- ADVI ----------------------------------------------------------------------------------------------------------------
def advi_cases(quick):
    """Name, mixture, data, methods."""
    yield "Normal K=3 N=5000", bm.Mixture(bm.Normal(), 3), normal_rows(5000), ("meanfield", "fullrank")
    yield "Poisson K=3 N=5000", bm.Mixture(bm.Poisson(), 3), count_rows(5000), ("meanfield", "fullrank")
    if not quick:
        x = vector_rows(5000, d=3, k=3)
        yield "MvNormal D=3 K=3 N=5000", bm.Mixture(bm.MvNormal(), 3), x, ("meanfield", "fullrank")


def optimum(mixture, x):
    """Posterior and EM's optima."""
    checked = mixture.check(x)
    return posterior_of(mixture, checked), nuts.starting_points(mixture, checked, "em", np.random.default_rng(0), False)


def our_advi(posterior, optima, method, seed):
    """CPU seconds from EM's optimum on, and the family at the end."""
    begin = time.process_time()
    mode = nuts.modes_of(posterior, optima[:1])[0]
    family = engine._Normal.around(mode, posterior, method)
    family = engine.maximise_on_fixed_draws(posterior, family, np.random.default_rng(seed)).family
    return time.process_time() - begin, family


def whole_call(function, *arguments, **options):
    """CPU seconds of a call, and what it returns."""
    begin = time.process_time()
    found = function(*arguments, progressbar=False, **options)
    return time.process_time() - begin, found


class Coordinates:
    """PyMC's unconstrained coordinates y of the model by hand, of which ours are a linear function."""

    def __init__(self, posterior, ordering, params):
        self.posterior, self.k, self.ordering = posterior, posterior.mixture.n_components, ordering
        n, d = posterior.n_dim, posterior.data.n_features
        self.d = d
        origin = np.zeros(n)
        self.offset = self.ours(origin)
        self.matrix = np.array([self.ours(unit) - self.offset for unit in np.eye(n)]).T
        probe = 0.3 * np.cos(np.arange(n))
        assert np.allclose(self.ours(probe), self.offset + self.matrix @ probe, atol=1e-6), "not linear"
        self.start = np.linalg.solve(self.matrix, posterior.to_vector(params) - self.offset)

    def ours(self, y):
        """Our coordinates at y."""
        part = {name: y[where] for name, (_, where, _, _) in self.ordering.items()}
        w = part["weights_simplex__"]
        w = np.exp(np.concatenate([w, [-w.sum()]]))
        params = {"weights": w / w.sum()}
        if "variance_log__" in part:
            params |= {"mu": part["mu"], "sigma": np.exp(0.5 * part["variance_log__"])}
        elif "mu_log__" in part:
            params |= {"mu": np.exp(part["mu_log__"])}
        else:
            factor = np.zeros((self.k, self.d, self.d))
            factor[:, range(self.d), range(self.d)] = np.exp(part["log_diagonal"].reshape(self.k, self.d))
            rows, columns = np.tril_indices(self.d, -1)
            factor[:, rows, columns] = part["below"].reshape(self.k, -1)
            inverse = np.linalg.inv(factor)
            params |= {"mu": part["mu"].reshape(self.k, self.d), "cov": inverse @ inverse.transpose(0, 2, 1)}
        return self.posterior.to_vector(params)

    def elbo(self, mean, root, z):
        """ELBO of the normal distribution of y with this mean and any root of its covariance, under our density."""
        vectors = self.offset + (mean + z @ root.T) @ self.matrix.T
        entropy = 0.5 * len(mean) * (1.0 + np.log(2.0 * np.pi)) + np.linalg.slogdet(self.matrix @ root)[1]
        return float(np.mean(log_densities(self.posterior, vectors)) + entropy)


def run_pymc(model, posterior, params, method, optimiser, seed, z):
    """CPU seconds of steps, ELBO after each segment of them, and CPU seconds of compilation."""
    import pymc as pm

    kind = {"meanfield": pm.ADVI, "fullrank": pm.FullRankADVI}[method]
    with model:
        chosen = {} if optimiser == "default" else {"obj_optimizer": pm.adam(learning_rate=0.01)}
        begin = time.process_time()
        inference = kind(random_seed=seed)
        group = inference.approx.groups[0]
        coordinates = Coordinates(posterior, group.ordering, params)
        group.params_dict["mu"].set_value(coordinates.start)
        inference.fit(10, progressbar=False, **chosen)
        compilation = time.process_time() - begin
        spent, elbo = [0.0], []
        while sum(spent) < LONGEST and SEGMENT * len(spent) < MOST_STEPS:
            begin = time.process_time()
            inference.refine(SEGMENT, progressbar=False)
            spent.append(spent[-1] + time.process_time() - begin)
            elbo.append(coordinates.elbo(*normal_of(group), z))
            if spent[-1] > LONGEST or (len(elbo) > 20 and max(elbo[-10:]) < max(elbo[:-10]) + 0.02):
                break
    return np.array(spent[1:]), np.array(elbo), compilation


def normal_of(group):
    """Mean and a root of the covariance of PyMC's approximation."""
    mean, cov = np.asarray(group.mean.eval()), np.asarray(group.cov.eval())
    return mean, np.linalg.cholesky(cov)


def advi(quick, only):
    """CPU seconds to the same ELBO."""
    import pymc

    logging.getLogger(pymc.__name__).setLevel(logging.ERROR)  # set by the import
    print(f"\nCPU s from EM's optimum to within {NEAR} nats of the best ELBO of pm.fit (must 50, aim 200)")
    print(
        f"{'':36}{'ours':>8}{'PyMC':>8}{'ratio':>8}{'range':>16}  steps, compilation s   our whole call   ELBO ours, PyMC's best"
    )
    for name, mixture, x, methods in advi_cases(quick):
        if only and only not in name:
            continue
        posterior, optima = optimum(mixture, x)
        z = engine.standardised_draws(ELBO_DRAWS, posterior.n_dim, np.random.default_rng(9))
        model = by_hand(mixture, x)
        for method in methods:
            our_advi(posterior, optima, method, 0)
            whole_call(bm.advi, mixture, x, random_seed=0, method=method)
            ratios, own, theirs, told = [], [], [], ""
            for seed in range(1 if quick else ROUNDS):
                runs = [our_advi(posterior, optima, method, 10 * seed + i) for i in range(5)]
                own.append(np.median([spent for spent, _ in runs]))
                family = runs[0][1]
                values = log_densities(posterior, family.draw(z)[0])
                reached = float(values.mean()) + family.entropy()
                tried = [
                    run_pymc(model, posterior, optima[0], method, how, seed, z)
                    for how in (("adam",) if seed else ("adam", "default"))
                ]
                best = max(elbo.max() for _, elbo, _ in tried)
                goal = min(best, reached) - NEAR
                times = [
                    (spent[np.argmax(elbo >= goal)], i)
                    for i, (spent, elbo, _) in enumerate(tried)
                    if elbo.max() >= goal
                ]
                bound = "" if times else ">"
                spent, which = min(times) if times else (max(run[0][-1] for run in tried), 0)
                theirs.append(spent)
                ratios.append(spent / own[-1])
                whole = whole_call(bm.advi, mixture, x, random_seed=seed, method=method)[0]
                steps = SEGMENT * len(tried[which][1])
                told = f"{steps} run, {tried[which][2]:.0f}   {whole:.2f}   {reached:.2f}, {best:.2f}"
            print(
                f"{name + ' ' + method:36}{np.median(own):8.3f}{np.median(theirs):8.1f}{bound + f'{np.median(ratios):.0f}':>8}"
                f"{f'{min(ratios):.0f} to {max(ratios):.0f}':>16}  {told}",
                flush=True,
            )


# -- Laplace -------------------------------------------------------------------------------------------------------------
def our_laplace(mixture, x, seed):
    """CPU seconds of sampling after the modes are known, the effective sample size, and k-hat."""
    posterior, optima = optimum(mixture, x)
    modes = nuts.modes_of(posterior, optima)
    begin = time.process_time()
    around = importance.proposal_around(posterior, modes, importance.DOF["student"])
    sample = importance.sample_by_importance(posterior, around, CHAINS * DRAWS, np.random.default_rng(seed))
    return time.process_time() - begin, sample.ess, sample.khat


def laplace(quick, only):
    """Effective draws per CPU second."""
    print("\nEffective draws per CPU second, bm.laplace / bm.nuts (must 3, aim 6, of sampling)")
    print(
        f"{'':26}{'k-hat':>7}{'sampling: ours':>16}{'NUTS':>8}{'ratio':>7}{'range':>14}   whole call: ours, NUTS, ratio"
    )
    for name, mixture, x, _, _ in cases(quick):
        if only and only not in name:
            continue
        our_laplace(mixture, x, 0), ours(mixture, x, 0)
        sampling, whole = [], []
        khat = np.nan
        for seed in range(3 if quick else 2 * ROUNDS):
            spent, ess, khat = our_laplace(mixture, x, seed)
            theirs, _, theirs_ess = ours(mixture, x, seed)
            sampling.append((ess / spent, theirs_ess / theirs))
            if seed < (1 if quick else ROUNDS):
                spent, fit = whole_call(bm.laplace, mixture, x, draws=CHAINS * DRAWS, random_seed=seed)
                by_nuts, _ = whole_call(bm.nuts, mixture, x, random_seed=seed, cores=1)
                whole.append((fit.tree.attrs["ess"] / spent, theirs_ess / by_nuts))
        sampling, whole = np.array(sampling), np.array(whole)
        ratios = sampling[:, 0] / sampling[:, 1]
        entire = np.median(whole, axis=0)
        print(
            f"{name:26}{khat:7.2f}{np.median(sampling[:, 0]):16.0f}{np.median(sampling[:, 1]):8.0f}{np.median(ratios):7.1f}"
            f"{f'{ratios.min():.1f} to {ratios.max():.1f}':>14}   {entire[0]:.0f}, {entire[1]:.0f}, "
            f"{np.median(whole[:, 0] / whole[:, 1]):.1f}",
            flush=True,
        )


# -- large ---------------------------------------------------------------------------------------------------------------
ALONE = """
import json, resource, sys, time
sys.path.insert(0, "benchmarks")
from nuts import vector_rows
import bayesmix as bm
name, n, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
x = vector_rows(n, k=5)
if options.pop("chunks", False):
    import dask.array as da
    x = da.from_array(x, chunks=(100_000, 5))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wall, cpu = time.perf_counter(), time.process_time()
fit = getattr(bm, name)(bm.Mixture(bm.MvNormal(), 5), x, random_seed=1, progressbar=False, **options)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
khat = fit.tree.attrs.get("khat", float("nan"))
print(f"{wall:.0f} s wall, {cpu:.0f} CPU s, peak +{(peak - before) / 1024:.0f} MB, k-hat {khat:.2f}. {fit.message}")
"""


def large(quick, only):
    """A posterior of a million rows."""
    n = 100_000 if quick else 1_000_000
    print(f"\nN = {n} x 5, K = 5, full covariances: a posterior")
    runs = [
        ("advi", {"batch_size": 10_000}),
        ("advi", {"batch_size": 10_000, "chunks": True}),
        ("laplace", {}),
        ("nuts", {}),
    ]
    for name, options in runs:
        if only and only not in name:
            continue
        command = [sys.executable, "-W", "ignore", "-c", ALONE, name, str(n), json.dumps(options)]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.strip()
        except subprocess.TimeoutExpired:
            said = "not done after 600 s"
        print(f"  bm.{name} {json.dumps(options)}: {said}", flush=True)


PARTS = {"advi": advi, "laplace": laplace, "large": large}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short cases, one run")
    parser.add_argument("--only", default="", help="part of the name of a case")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved rounds")
    asked = parser.parse_args()
    ROUNDS = asked.rounds
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("pymc", "nutpie", "numba", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    for part in asked.parts:
        PARTS[part](asked.quick, asked.only)
