"""CPU seconds of EM, warm, on small data sets: mixtures of regressions, and of counts. Medians of five fits.

Run it as ``python benchmarks/small.py``; data are those of the tests and of the package.
"""

import statistics
import time
from pathlib import Path

import pandas as pd

import bayesmix as bm

DATA = Path(__file__).parents[1] / "tests" / "data"
REPEATS = 5


def main():
    """Print a line for each data set."""
    npreg = pd.read_csv(DATA / "npreg.csv")
    deaths = bm.datasets.load("death_notices").to_dataframe()
    cases = {
        "npreg, normal, 2 curves": (bm.Regression(bm.Normal(), "yn ~ x + I(x**2)"), npreg, None),
        "npreg, Poisson, 2 lines": (bm.Regression(bm.Poisson(), "yp ~ x"), npreg, None),
        "death notices, Poisson": (bm.Poisson(), deaths["deaths"], deaths["freq"] if "freq" in deaths else None),
    }
    for name, (family, data, weights) in cases.items():
        mixture = bm.Mixture(family, n_components=2)
        seconds = []
        for repeat in range(REPEATS + 1):
            started = time.process_time()
            fit = bm.em(mixture, data, weights=weights, random_seed=repeat, progressbar=False)
            seconds.append(time.process_time() - started)
        warm = statistics.median(seconds[1:])
        print(f"{name:<26} {1e3 * warm:7.0f} ms CPU  log-likelihood {fit.log_likelihood:.6f}  {fit.message}")


if __name__ == "__main__":
    main()
