"""Coverage of 95 % intervals of EM on simulated data: how often estimate ± 1.96 standard errors holds the truth.

Normal (D = 1) and multivariate normal (D = 2) mixtures of two components, N = 2000. Each data set is fitted from the true
parameters, so that the components keep their order. The Monte Carlo error is sqrt(0.95 x 0.05 / replications).
Usage: python benchmarks/interval_coverage.py [replications, 1000 by default] [method, laplace by default]
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import bayesmix as bm
from bayesmix.cores import available_cores
from bayesmix.tables import entries

ROWS = 2000
DRAWS = {"laplace": 2}  # its standard errors come from a formula; those of a bootstrap from 200 replicates
CASES = {
    "Normal, D = 1, K = 2": (
        bm.Mixture(bm.Normal(), 2),
        {"weights": [0.4, 0.6], "mu": [-1.5, 1.5], "sigma": [1.0, 0.8]},
    ),
    "MvNormal, D = 2, K = 2": (
        bm.Mixture(bm.MvNormal(), 2),
        {
            "weights": [0.4, 0.6],
            "mu": [[-1.5, 0.0], [1.5, 0.5]],
            "cov": [[[1.0, 0.5], [0.5, 1.5]], [[0.6, -0.2], [-0.2, 1.0]]],
        },
    ),
}


def intervals_that_hold(case: str, method: str, seed: int) -> tuple[dict, np.ndarray]:
    """Labels of the parameters, and whether each interval holds the truth: one data set."""
    mixture, params = CASES[case]
    truth = bm.Fit.from_parameters(mixture, **params)
    x = truth.sample(ROWS, random_seed=seed)
    fit = bm.em(
        mixture, x, init=truth, uncertainty=method, draws=DRAWS.get(method, 200), cores=1, random_seed=seed,
        progressbar=False,
    )  # fmt: skip
    if not (fit.converged and fit.has_draws):
        raise RuntimeError(f"{case}, seed {seed}: {fit.message}")
    found, errors, known = fit.tree["point"].to_dataset(), fit.standard_errors, truth.tree["point"].to_dataset()
    shown = entries(found)
    held = [
        abs(found[e.variable].values[e.index] - known[e.variable].values[e.index])
        <= 1.959964 * errors[e.variable].values[e.index]
        for e in shown
    ]
    return [e.label for e in shown], np.array(held)


def main(replications: int = 1000, method: str = "laplace") -> None:
    error = np.sqrt(0.95 * 0.05 / replications)
    print(
        f"Coverage of 95 % intervals by {method}, N = {ROWS}, {replications} data sets, Monte Carlo error {error:.2%}"
    )
    for case in CASES:
        started = time.perf_counter()
        with ProcessPoolExecutor(available_cores()) as pool:
            results = list(
                pool.map(
                    intervals_that_hold,
                    [case] * replications,
                    [method] * replications,
                    range(replications),
                    chunksize=20,
                )
            )
        coverage = np.mean([held for _, held in results], axis=0)
        print(f"\n{case} ({time.perf_counter() - started:.0f} s): {coverage.min():.1%} to {coverage.max():.1%}")
        for label, share in zip(results[0][0], coverage, strict=True):
            print(f"  {label:<16}{share:7.1%}{'' if 0.93 <= share <= 0.97 else '   outside 93-97 %'}")


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((int, str), sys.argv[1:], strict=False)))
