"""CPU seconds of EM, warm, on small data sets: regressions, counts, and normal mixtures. Medians of seven fits.

Run it as ``python benchmarks/small.py``, with names of cases for these alone; data are those of the tests and of the
package. One thread, linear algebra included.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy and SciPy load theirs: a second thread would spin in our time
    os.environ[f"{library}_NUM_THREADS"] = "1"

import statistics
import sys
import time
from pathlib import Path

import pandas as pd

import bayesmix as bm

DATA = Path(__file__).parents[1] / "tests" / "data"
REPEATS = 7
GOAL = 50  # milliseconds


def cases():
    """Family, data and row weights by name."""
    npreg = pd.read_csv(DATA / "npreg.csv")
    deaths = bm.datasets.load("death_notices").to_dataframe()
    faithful = bm.datasets.load("faithful").to_dataframe()
    return {
        "deaths": (bm.Poisson(), deaths["deaths"], deaths["freq"]),
        "yn": (bm.Regression(bm.Normal(), "yn ~ x + I(x**2)"), npreg, None),
        "yp": (bm.Regression(bm.Poisson(), "yp ~ x"), npreg, None),
        "co2": (bm.Regression(bm.Normal(), "co2 ~ gnp"), pd.read_csv(DATA / "co2data.csv"), None),
        "aphids": (
            bm.Regression(bm.Normal(), "plants_infected ~ aphids_released"),
            pd.read_csv(DATA / "aphids.csv"),
            None,
        ),
        "faults": (bm.Regression(bm.Poisson(), "faults ~ log(length)"), pd.read_csv(DATA / "fabric_faults.csv"), None),
        "faithful": (bm.MvNormal(), faithful, None),
        "waiting": (bm.Normal(), faithful["waiting"], None),
    }


def main(names):
    """Print a line for each data set."""
    print(f"Two components, all defaults; milliseconds of CPU of a warm fit (goal {GOAL}): median, least and most")
    for name, (family, data, weights) in cases().items():
        if names and name not in names:
            continue
        mixture = bm.Mixture(family, n_components=2)
        spent = []
        for repeat in range(REPEATS + 1):
            started = time.process_time()
            fit = bm.em(mixture, data, weights=weights, random_seed=repeat, progressbar=False)
            spent.append(1e3 * (time.process_time() - started))
        warm = spent[1:]
        print(
            f"{name:<9}{statistics.median(warm):5.0f} ({min(warm):.0f} to {max(warm):.0f})  {fit.log_likelihood:.6f}  "
            f"{fit.message}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
