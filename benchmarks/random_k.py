"""The number of components by the telescoping sampler, beside what other programs found.

acidity: Richardson & Green (1997), their own Fortran (Nmix 2.0.5) by reversible jumps, the same prior.
eye counts: the vignette of telescope 0.2-0 on Bayesian Poisson mixtures.

    python benchmarks/random_k.py [--draws 5000]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import preliz as pz

import bayesmix as bm

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"


def acidity():
    """Their default prior: K uniform on 1 ... 30, weights uniform, variances that share a random scale."""
    x = np.loadtxt(DATA / "acidity.csv", delimiter=",", skiprows=1, usecols=-1)
    low, width = x.min(), np.ptp(x)
    component = bm.Normal(
        mu=pz.Normal(low + width / 2, width), sigma=bm.HierarchicalInverseGamma(2, pz.Gamma(0.2, 10 / width**2))
    )
    return bm.Mixture(component, 30, weights=bm.MFM(1.0, pz.DiscreteUniform(1, 30))), x


def eye_counts():
    """Dynamic mixture with K - 1 ~ BNB(1, 4, 3), alpha ~ Gamma(1, 2), mu_k ~ Gamma(0.1, b), b ~ Gamma(0.5, 5 mean(y))."""
    x = np.loadtxt(DATA / "eye_counts.csv", delimiter=",", skiprows=1, usecols=-1)
    component = bm.Poisson(mu=bm.HierarchicalGamma(0.1, pz.Gamma(0.5, 0.5 * x.mean() / 0.1)))
    weights = bm.MFM(pz.Gamma(1, 2), bm.BetaNegativeBinomial(1, 4, 3), dynamic=True)
    return bm.Mixture(component, 100, weights=weights), x


def shares(fit, name, largest):
    """Posterior probability of 1 ... largest."""
    values = fit.tree["sample_stats"][name].values
    return np.array([(values == k).mean() for k in range(1, largest + 1)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5_000)
    draws = parser.parse_args().draws
    answers = json.loads((DATA / "random_k_answers.json").read_text())["cases"]
    for name, make, case in (("acidity", acidity, "acidity_posterior_of_k"), ("eye counts", eye_counts, "eye_counts")):
        mixture, x = make()
        started = time.perf_counter()
        fit = bm.gibbs(mixture, x, draws=draws, random_seed=1, progressbar=False)
        seconds = time.perf_counter() - started
        theirs = np.array(answers[case]["p_k"])
        ours = shares(fit, "K", len(theirs))
        sampling = fit.tree.attrs["seconds"]
        print(f"\n{name}: {mixture}")
        print(f"4 x {draws} draws of 10 sweeps, {sampling:.1f} s of sampling, {seconds:.1f} s in all")
        print("K      " + " ".join(f"{k:6d}" for k in range(1, len(theirs) + 1)))
        print("ours   " + " ".join(f"{p:6.3f}" for p in ours))
        print("theirs " + " ".join(f"{p:6.3f}" for p in theirs))
        print(f"largest difference {np.abs(ours - theirs).max():.4f}")
        occupied = fit.tree["sample_stats/K_plus"].values
        print(
            f"K_plus: mode {np.bincount(occupied.ravel()).argmax()}, quartiles {np.quantile(occupied, [0.25, 0.5, 0.75])}"
        )
        print(fit.message)


if __name__ == "__main__":
    main()
