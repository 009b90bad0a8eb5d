"""Print how variational inference and the Laplace proposal compare with `pm.fit` and with NUTS, and a posterior of large data.

Run from the root of the repository: ``python benchmarks/advi.py``, or name parts: ``python benchmarks/advi.py advi large``.
``--quick`` leaves out the long cases and runs once.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import time

import numpy as np
from nuts import by_hand, cases, vector_rows

import bayesmix as bm
from bayesmix.posterior import posterior_of


# -- the parts -----------------------------------------------------------------------------------------------------------
def advi(quick, only):
    """CPU seconds to the ELBO that ours ends at, against `pm.fit` on the model with the formula."""
    import pymc as pm

    print("\nCPU s of bm.advi, and of pm.fit until its ELBO (1000 draws) is as good, less 0.5 nats per 10 coordinates")
    for name, mixture, x, _, _ in list(cases(True)):
        if only and only not in name:
            continue
        bm.advi(mixture, x, random_seed=0, progressbar=False, method="meanfield")
        begin = time.process_time()
        fit = bm.advi(mixture, x, random_seed=1, progressbar=False, method="meanfield")
        own, goal = time.process_time() - begin, fit.tree.attrs["elbo"]
        goal -= 0.05 * len(posterior_of(mixture, mixture.check(x)).to_vector(fit.estimates))
        with by_hand(mixture, x):
            inference = pm.ADVI(random_seed=1)
            inference.fit(10, progressbar=False)  # compiles
            spent, steps, elbo = 0.0, 10, -np.inf
            loss = inference.step_function(score=True)
            while steps < (20_000 if quick else 100_000):
                begin = time.process_time()
                inference.fit(2000, progressbar=False)
                spent, steps = spent + time.process_time() - begin, steps + 2000
                elbo = -float(np.mean([loss() for _ in range(200)]))
                if elbo >= goal:
                    break
        reached = "" if elbo >= goal else f" (not reached: {elbo:.1f} of {goal:.1f} after {steps} steps)"
        print(f"{name:26}{own:8.2f}{spent:9.1f}{spent / own:8.0f}   must 50, aim 200{reached}", flush=True)


def large(quick, only):
    """A posterior of a million rows."""
    n = 100_000 if quick else 1_000_000
    x = vector_rows(n, k=5)
    mixture = bm.Mixture(bm.MvNormal(), 5)
    print(f"\nN = {n} x 5, K = 5: a posterior with its k-hat")
    for name in ("laplace", "advi"):
        run = getattr(bm, name, None)
        if run is None:
            continue
        begin, cpu = time.perf_counter(), time.process_time()
        fit = run(mixture, x, random_seed=1, progressbar=False)
        print(
            f"  bm.{name}: {time.perf_counter() - begin:.0f} s ({time.process_time() - cpu:.0f} CPU s), "
            f"k-hat {fit.tree.attrs['khat']:.2f}",
            flush=True,
        )


PARTS = {"advi": advi, "large": large}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short cases, one run")
    parser.add_argument("--only", default="", help="part of the name of a case")
    asked = parser.parse_args()
    for part in asked.parts:
        PARTS[part](asked.quick, asked.only)
