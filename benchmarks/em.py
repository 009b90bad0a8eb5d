"""Print how EM compares with scikit-learn: seconds per iteration, seconds to the optimum, which optimum, memory.

Run from the root of the repository: ``python benchmarks/em.py`` (all parts, some minutes), or name the parts:
``python benchmarks/em.py iteration solution optimum memory first``. ``--quick`` takes smaller data and fewer rounds.
The part ``peers`` times R's mclust where ``Rscript`` finds it, and pomegranate where this Python, or the one named by
``--pomegranate``, has it.
Times are CPU seconds on one thread, linear algebra included; ours and the peer's runs alternate, and the median of their
ratios is printed with its range.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy and SciPy load theirs: a second thread would spin in our time
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np

import bayesmix as bm
from bayesmix.engines.climb import Climb, climb
from bayesmix.engines.search import is_spurious
from bayesmix.likelihood.likelihood import Likelihood

QUIET = {"progressbar": False}
PYTHON_OF_POMEGRANATE = sys.executable
SHAPES = [(1, 3), (2, 5), (10, 10), (30, 20)]
MUST = {"full": (20, 20, 8, 5), "diag": (15, 15, 7, 2.5)}
AIM = {"full": (30, 30, 12, 8), "diag": (30, 20, 11, 5)}
DATA = Path(__file__).parents[1] / "tests" / "data"


def simulate(n, d, k, separation, seed=0):
    """Rows of K normal groups, means N(0, separation^2), with covariances of their own; and the groups."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(k, d)) * separation
    factor = np.linalg.cholesky(np.stack([np.cov(rng.normal(size=(3 * d + 3, d)).T).reshape(d, d) for _ in range(k)]))
    label = rng.integers(0, k, n)
    return mean[label] + np.einsum("nij,nj->ni", factor[label], rng.normal(size=(n, d))), label


def ours(structure, d, k, x):
    """The likelihood, and a start of K random rows with the covariance of the data."""
    component = bm.MvNormal(covariance=structure) if d > 1 else bm.Normal()
    mixture = bm.Mixture(component, k)
    return Likelihood(component, mixture.check(x), k)


def start_of(likelihood, seed=0):
    """K random rows as means, with the covariance of the data."""
    rng = np.random.default_rng(seed)
    x, k = likelihood.data.values, likelihood.n_components
    params = likelihood.component.initial_params(likelihood.data, k)
    mu = x[rng.choice(len(x), k, replace=False)]
    return params | {"weights": np.full(k, 1.0 / k), "mu": mu if params["mu"].ndim == 2 else mu[:, 0]}


def start_near(likelihood, labels):
    """Where the groups are, their rows shared out a little: no component is about to collapse."""
    k = likelihood.n_components
    responsibilities = 0.8 * np.eye(k)[labels] + 0.2 / k
    return likelihood.maximise_given(responsibilities)


def theirs(structure, likelihood, params, max_iter, tol=0.0):
    """scikit-learn's estimator at the same start, without its floor on variances."""
    from sklearn.mixture import GaussianMixture

    k, d = likelihood.n_components, likelihood.data.n_features
    cov = params["cov"] if "cov" in params else (params["sigma"] ** 2)[:, None, None]
    precision = np.linalg.inv(cov)
    if structure == "diag":
        precision = np.diagonal(precision, axis1=1, axis2=2)
    return GaussianMixture(
        k, covariance_type=structure, tol=tol, reg_covar=0.0, max_iter=max_iter, weights_init=params["weights"],
        means_init=params["mu"].reshape(k, d), precisions_init=precision,
    )  # fmt: skip


def cpu(function):
    begin = time.process_time()
    result = function()
    return time.process_time() - begin, result


def sklearn_iterations(structure, likelihood, params, n):
    """CPU seconds of n iterations of scikit-learn, and the log-likelihood that the last of them began with."""
    model, x = theirs(structure, likelihood, params, n), likelihood.data.values
    model._initialize(x, None)

    def run():
        for _ in range(n):
            value, log_responsibilities = model._e_step(x)
            model._m_step(x, log_responsibilities)
            model._compute_lower_bound(log_responsibilities, value)
        return value * len(x)

    return cpu(run)


def our_iterations(likelihood, params, n):
    """CPU seconds of n passes, which make n - 1 EM updates without acceleration."""
    return cpu(lambda: climb(likelihood, params, guard=None, accelerate=False, max_iter=n - 1, tol=1e-300))


def per_iteration(quick):
    """Fixed iterations from the same start, alternating."""
    print("\nOne EM iteration, scikit-learn / ours, CPU, one thread, same start, same log-likelihood")
    print(
        f"{'':6}{'D':>3}{'K':>4}{'N':>9}{'ours':>11}{'ratio':>8}{'range':>15}{'must':>7}{'aim':>6}{'log-lik. differs':>18}"
    )
    for structure in ("full", "diag"):
        for (d, k), must, aim in zip(SHAPES, MUST[structure], AIM[structure], strict=True):
            for n_obs in (1000, 10_000, 100_000) if quick else (1000, 10_000, 100_000, 1_000_000):
                if n_obs * d > 1e7 or n_obs < 100 * d:
                    continue
                x, labels = simulate(n_obs, d, k, 2.0)
                likelihood = ours(structure, d, k, x)
                burnt = start_near(likelihood, labels)
                n = max(4, int(min(100 if d <= 2 else 20, 4e6 / (n_obs * k))))
                our_iterations(likelihood, burnt, n)
                rounds, ratios, lengths, differs = (3 if quick or n_obs > 1e5 else 7), [], [], 0.0
                for _ in range(rounds):
                    peer, value = sklearn_iterations(structure, likelihood, burnt, n)
                    own, run = our_iterations(likelihood, burnt, n)
                    differs = abs(run.trace[n - 1] - value) / abs(value)
                    assert run.n_passes == n - 1  # beside the pass at the start
                    ratios.append(peer / own)
                    lengths.append(own / n)
                wanted = (30, 55) if n_obs == 1000 and d <= 2 and structure == "full" else (must, aim)
                print(
                    f"{structure:6}{d:3}{k:4}{n_obs:9}{1e3 * np.median(lengths):8.3f} ms{np.median(ratios):8.1f}"
                    f"{f'{min(ratios):.1f} to {max(ratios):.1f}':>15}{wanted[0]:7}{wanted[1]:6}{differs:18.1e}",
                    flush=True,
                )


def peers(quick):
    """mclust and pomegranate, from the same start: each in a process of its own, between two rounds of ours."""
    here = Path(__file__).parent / "peers"
    programs = {
        "mclust": ["Rscript", here / "mclust.R"],
        "pomegranate": [PYTHON_OF_POMEGRANATE, here / "pomegranate_em.py"],
    }
    programs = {name: program for name, program in programs.items() if shutil.which(program[0])}
    print("\nOne EM iteration, other peers / ours, CPU, one thread, same start")
    print(
        f"{'':6}{'D':>3}{'K':>4}{'N':>9}{'ours':>11}   peer, ratio, and how much its log-likelihood differs (relative)"
    )
    for structure in ("full", "diag"):
        for d, k in SHAPES:
            n_obs = 10_000 if quick or d > 10 else 100_000
            x, labels = simulate(n_obs, d, k, 2.0)
            likelihood = ours(structure, d, k, x)
            params = start_near(likelihood, labels)
            n, rounds, told = 20, 3, []
            before = min(our_iterations(likelihood, params, n)[0] for _ in range(rounds))
            reports = {
                name: ask(program, structure, likelihood, params, n, rounds) for name, program in programs.items()
            }
            own = min(before, *(our_iterations(likelihood, params, n)[0] for _ in range(rounds))) / n
            trace = our_iterations(likelihood, params, n + 3)[1].trace  # whether or not a peer counts the start
            for name, report in reports.items():
                if isinstance(report, str):
                    told.append(f"{name}: {report}")
                    continue
                version, seconds, value = report
                differs = np.min(np.abs(trace / value - 1.0))
                told.append(f"{name} {version} {seconds / own:.1f} ({differs:.0e})")
            print(f"{structure:6}{d:3}{k:4}{n_obs:9}{1e3 * own:8.3f} ms   {', '.join(told)}", flush=True)


def ask(program, structure, likelihood, params, n, rounds):
    """Version, CPU seconds per iteration and log-likelihood of a peer; or why there are none, in a few words."""
    x, k = likelihood.data.values, likelihood.n_components
    cov = params["cov"] if "cov" in params else (params["sigma"] ** 2)[:, None, None]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sizes.txt").write_text(f"{len(x)} {x.shape[1]} {k} {n} {rounds} {structure}\n")
        for name, value in (("x", x), ("weights", params["weights"]), ("means", params["mu"]), ("covariances", cov)):
            np.ascontiguousarray(value, dtype=float).tofile(Path(folder) / name)
        out = subprocess.run([*map(str, program), folder], capture_output=True, text=True)
    if out.returncode:
        return (out.stderr.strip().splitlines() or ["failed"])[-1][:60]
    version, seconds, value = out.stdout.split()
    return version, float(seconds), float(value)


SOLUTION = [
    ("overlapping", 100, 1, 3, 1.0),
    ("overlapping", 100, 2, 5, 1.0),
    ("moderate", 10, 2, 5, 3.0),
    ("moderate", 10, 10, 10, 0.5),
    ("separated", 5, 10, 10, 3.0),
]


def to_solution(quick):
    """To within 1e-8 relative of the optimum of the basin, from the same start; and to where ours stops by itself."""
    print("\nTo within 1e-8 of the optimum (relative), CPU s from the same start, N = 20000, full covariances")
    print(
        f"{'':14}{'D':>3}{'K':>4}{'ours':>9}{'passes':>8}{'ours to its stop':>18}{'sklearn':>9}{'iterations':>12}"
        f"{'ratio':>8}{'must':>6}  optimum"
    )
    for name, must, d, k, separation in SOLUTION:
        for seed in (1,) if quick else (1, 2):
            likelihood = ours("full", d, k, simulate(20_000, d, k, separation, seed)[0])
            params = climb(likelihood, start_of(likelihood, seed), guard=None, accelerate=False, max_iter=2).params
            run = climb(likelihood, params, guard=None, tol=1e-8)
            goal = run.objective - 1e-8 * abs(run.objective)
            enough = int(np.argmax(run.trace >= goal))
            while climb(likelihood, params, guard=None, max_iter=enough).objective < goal:
                enough += 1
            own = np.median([cpu(lambda: climb(likelihood, params, guard=None, max_iter=enough))[0] for _ in range(3)])  # noqa: B023
            stopped = np.median([cpu(lambda: climb(likelihood, params, guard=None, tol=1e-8))[0] for _ in range(3)])  # noqa: B023
            iterations, spent, model, best = 0, 0.0, theirs("full", likelihood, params, 1), -np.inf
            x = likelihood.data.values
            model._initialize(x, None)

            def some(model=model, x=x):
                for _ in range(20):
                    value, responsibilities = model._e_step(x)
                    model._m_step(x, responsibilities)
                return value * len(x)

            before = -np.inf
            while best < goal and iterations < 8000:
                seconds, best = cpu(some)
                spent, iterations = spent + seconds, iterations + 20
                if best - before < 1e-12 * abs(best):
                    break  # it has ended elsewhere
                before = best
            verdict = (
                "the same" if best >= goal else f"scikit-learn {(best - run.objective) / 20_000:+.1e} nats per row"
            )
            print(
                f"{name:14}{d:3}{k:4}{own:9.3f}{enough:8}{stopped:18.3f}{spent:9.2f}{iterations:12}{spent / own:8.0f}"
                f"{must:6}  {verdict}",
                flush=True,
            )


def optimum(quick):
    """Share of seeds that reach the best known optimum, on every Gaussian case of the answers."""
    cases = json.loads((DATA / "em_answers.json").read_text())["cases"]
    seeds = 20 if quick else 100
    print(
        f"\nBest known optimum, share of {seeds} seeds, defaults without the guard; degenerate optima excluded (goal 0.95)"
    )
    print(f"  {'':18}{'':14}{'share':>6}{'best':>14}{'scikit-learn':>14}{'CPU s':>7}")
    for name, case in cases.items():
        for key, answer in case.get("sklearn_multistart", {}).items():
            if key == "tool":
                continue
            x = np.genfromtxt(path_of(case["data"]), delimiter=",", names=True, usecols=case["columns"])
            x = np.stack([x[column] for column in case["columns"]], axis=1)
            component = bm.MvNormal(covariance=answer["covariance_type"])
            likelihood = Likelihood(component, bm.Mixture(component, answer["K"]).check(x), answer["K"])
            spent, found = cpu(lambda: [one_seed(likelihood, x, seed) for seed in range(seeds)])  # noqa: B023
            best = max([answer["loglik"], *found])
            share = np.mean([value >= best - 1e-6 * abs(best) for value in found])
            print(
                f"  {name:18}{key:14}{share:6.2f}{max(found):14.4f}{answer['loglik']:14.4f}{spent / seeds:7.2f}"
                f"{'' if share >= 0.95 else '  short'}",
                flush=True,
            )


def one_seed(likelihood, x, seed):
    """Log-likelihood that one seed finds; -inf where it is degenerate."""
    mixture = bm.Mixture(likelihood.component, likelihood.n_components)
    fit = bm.em(mixture, x, guard=None, random_seed=seed, **QUIET)
    end = Climb(fit.estimates, fit.log_likelihood, fit.log_likelihood, np.empty(0), 0, 0.0, True, False)
    return -np.inf if is_spurious(likelihood, end) else fit.log_likelihood


def path_of(name):
    return DATA / name if (DATA / name).exists() else Path(bm.__file__).parent / "datasets" / name


def memory(quick):
    """Peak memory beyond the data while EM iterates, in a process of its own."""
    print("\nPeak memory beyond the data during EM, MB (goal 32)")
    for d, k in SHAPES:
        n = 100_000 if quick else 1_000_000
        code = (
            "import resource, sys; sys.path.insert(0, 'benchmarks'); from em import *\n"
            f"likelihood = ours('full', {d}, {k}, simulate(2000, {d}, {k}, 2.0)[0]); params = start_of(likelihood)\n"
            "climb(likelihood, params, guard=None, max_iter=3)\n"
            f"rng = np.random.default_rng(0); x = rng.normal(size=({n}, {d}))\n"
            f"likelihood = ours('full', {d}, {k}, x)\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "climb(likelihood, params, guard=None, max_iter=4)\n"
            "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        print(f"  N={n} D={d:2} K={k:2}   {float(out.stdout):6.1f}", flush=True)


def first_fit(quick):
    """CPU seconds of the first fit of a process, after the import, from Numba's cache."""
    print("\nFirst fit of a process from Numba's cache, CPU s after import (goal 2)")
    code = (
        "import time, bayesmix as bm; x = bm.datasets.load('faithful'); m = bm.Mixture(bm.MvNormal(), 2); bm.em\n"
        "begin = time.process_time(); bm.em(m, x, random_seed=1, progressbar=False); print(time.process_time() - begin)"
    )
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        print(f"  {float(out.stdout):.2f}")


def threads(quick):
    """One thread against two, wall seconds of a pass over a million rows."""
    print("\nTwo threads against one, wall time of a pass, N = 1e6 (goal 1.7)")
    for d, k in SHAPES[:3]:
        likelihood = ours("full", d, k, simulate(1_000_000, d, k, 2.0)[0])
        params, ratios = start_of(likelihood), []
        for _ in range(5):
            spent = []
            for cores in (1, 2):
                likelihood_on = replace(likelihood, cores=cores)
                begin = time.perf_counter()
                likelihood_on.statistics(params)
                spent.append(time.perf_counter() - begin)
            ratios.append(spent[0] / spent[1])
        print(f"  D={d:2} K={k:2}   {np.median(ratios):.2f}   {min(ratios):.2f} to {max(ratios):.2f}", flush=True)


PARTS = {
    "iteration": per_iteration,
    "peers": peers,
    "solution": to_solution,
    "optimum": optimum,
    "memory": memory,
    "threads": threads,
    "first": first_fit,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer rounds")
    parser.add_argument(
        "--pomegranate", default=sys.executable, metavar="PYTHON", help="the Python that has pomegranate"
    )
    asked = parser.parse_args()
    PYTHON_OF_POMEGRANATE = asked.pomegranate
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "numba", "scikit-learn"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    for part in asked.parts:
        PARTS[part](asked.quick)
