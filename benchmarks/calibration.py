"""Print simulation-based calibration of the engines: which quantities leave their bands, and how often fits converge.

Run from the root of the repository: ``python benchmarks/calibration.py`` (an hour), or with ``--n 40`` data sets for each
pair in minutes; engines and families can be named: ``python benchmarks/calibration.py nuts gibbs --family Poisson``.
Pictures are written to the folder given with ``--plots``. ADVI is shown, not hidden: it is too narrow.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import preliz as pz

import bayesmix as bm

FAMILIES = {
    "Normal": (bm.Mixture(bm.Normal(mu=pz.Normal(0, 4), sigma=bm.ScaledInverseChiSquared(6, 1.0)), 2), 1),
    "MvNormal": (bm.Mixture(bm.MvNormal(mu=pz.Normal(0, 4), cov=bm.InverseWishart(6, 3 * np.eye(2))), 2), 2),
    "Poisson": (bm.Mixture(bm.Poisson(mu=pz.Gamma(2, 0.25)), 2), 1),
}
ENGINES = {
    "nuts": (bm.nuts, {"engine_draws": 500}),
    "laplace": (bm.laplace, {"engine_draws": 500}),
    "gibbs": (bm.gibbs, {"engine_draws": 1000}),
    "advi": (bm.advi, {"engine_draws": 500}),
    "mean-field advi": (bm.advi, {"engine_draws": 500, "method": "meanfield"}),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("engines", nargs="*", default=list(ENGINES), help=", ".join(ENGINES))
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--n", type=int, default=200, help="data sets for each pair")
    parser.add_argument("--plots", type=Path, help="folder for pictures")
    asked = parser.parse_args()
    for family in [asked.family] if asked.family else FAMILIES:
        mixture, _ = FAMILIES[family]
        for name in asked.engines:
            engine, options = ENGINES[name]
            begin = time.process_time()
            result = bm.calibrate(
                mixture, asked.n, n_obs=50, engine=engine, random_seed=1, progressbar=False, **options
            )
            converged = int(result.tree["simulations"]["converged"].values.sum())
            outside = list(result.table.index[~result.table["inside"]])
            print(
                f"{family:9} {name:16} {result.n:4} data sets, {converged:4} converged, {len(result.failures)} failed; "
                f"{len(result.table)} quantities, outside: {', '.join(outside) or 'none'}   "
                f"({time.process_time() - begin:.0f} CPU s)",
                flush=True,
            )
            if asked.plots:
                result.plot().savefig(asked.plots / f"{family}-{name.replace(' ', '-')}.png", dpi=110)
