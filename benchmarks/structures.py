"""Print the log-likelihood of mclust's fourteen structures beside R's, which tests/data holds with their provenance.

Run from the root of the repository: ``python benchmarks/structures.py wine --components 1-4 --starts 20``.

mclust climbs from one start, by hierarchical clustering, so that its numbers are local optima: ours, of many starts, may be
higher and must not be lower. mclust stops at a relative change of 1e-5 of the log-likelihood. ``one component`` in the last
column is a component on fewer rows than a covariance matrix has columns, or nearly so: such optima are the likelihood's
spikes, which we leave out and mclust counts if its arithmetic survives them.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

import bayesmix as bm

DATA = Path(__file__).parents[1] / "tests" / "data"
TABLES = json.loads((DATA / "mclust_structures.json").read_text())["cases"]
NOT_FEATURES = {"cultivar", "status", "species"}
STOPS_EARLY = 1e-5  # mclust's relative tolerance


def rows_of(case: str) -> np.ndarray:
    """Observations (row, feature) of a case."""
    if not (DATA / f"{case}.csv").exists():
        data = bm.datasets.load(case)
        columns = {name: data[name].values for name in data}
    else:
        with open(DATA / f"{case}.csv") as file:
            rows = list(csv.DictReader(file))
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    return np.column_stack([np.asarray(columns[name], dtype=float) for name in columns if name not in NOT_FEATURES])


def compare(case: str, letters: str, k: int, starts):
    """Our log-likelihood and R's, in nats."""
    x = rows_of(case)
    began = time.process_time()
    mixture = bm.Mixture(bm.MvNormal(covariance=letters), k)
    try:
        fit = bm.em(mixture, x, guard=None, n_init=starts, random_seed=1, progressbar=False)
    except ValueError as error:
        return np.nan, np.nan, str(error), time.process_time() - began
    bic = TABLES[case][letters][str(k)]
    theirs = np.nan if bic is None else 0.5 * (bic + fit.n_parameters * np.log(len(x)))
    return fit.log_likelihood, theirs, "" if fit.converged else fit.message, time.process_time() - began


def verdict(ours: float, theirs: float) -> str:
    """Say which is higher, where the difference is more than mclust's early stop."""
    if np.isnan(theirs):
        return "R has none"
    if abs(ours - theirs) <= STOPS_EARLY * abs(theirs):
        return "equal"
    return "ours is higher" if ours > theirs else "OURS IS LOWER"


def main():
    """Print one line for each structure and number of components."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=list(TABLES))
    parser.add_argument("--structures", nargs="*", default=list(TABLES["iris"]))
    parser.add_argument("--components", default="1-9", help="such as 1-4")
    parser.add_argument("--starts", default="auto", help="of EM")
    given = parser.parse_args()
    low, high = map(int, given.components.split("-"))
    starts = given.starts if given.starts == "auto" else int(given.starts)
    for case in given.cases:
        for k in range(low, high + 1):
            for letters in given.structures:
                ours, theirs, note, seconds = compare(case, letters, k, starts)
                print(
                    f"{case:<9} {letters} {k}  {ours:>13.4f}  R {theirs:>13.4f}  {ours - theirs:>+11.4f}  "
                    f"{verdict(ours, theirs):<14} {seconds:6.1f} s  {note}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
