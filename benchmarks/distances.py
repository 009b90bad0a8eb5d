"""Print how far the estimates are from the answers of other tools, which tests/data holds with their provenance.

Run from the root of the repository: ``python benchmarks/distances.py``.
"""

import csv
import json
from pathlib import Path

import arviz as az
import numpy as np
import preliz as pz

import bayesmix as bm

DATA = Path(__file__).parents[1] / "tests" / "data"
QUIET = {"progressbar": False}


def answers(file):
    return json.loads((DATA / file).read_text())["cases"]


def table(name, columns):
    if not (DATA / name).exists():
        data = bm.datasets.load(name.removesuffix(".csv"))
        return np.stack([data[column].values.astype(float) for column in columns], axis=1)
    with open(DATA / name) as file:
        return np.array([[float(row[column]) for column in columns] for row in csv.DictReader(file)])


def worked_example(case):
    mixture = bm.Mixture(bm.Normal(), 2)
    start = bm.Fit.from_parameters(
        mixture, weights=case["start"]["weights"], mu=case["start"]["means"], sigma=np.sqrt(case["start"]["variances"])
    )
    plain = {"init": start, "guard": None, "accelerate": False, **QUIET}
    x = np.array(case["data"], dtype=float)
    first = np.array(case["iterations"][0]["responsibilities"], dtype=float)
    print(f"  responsibilities at the start   {np.abs(start.responsibilities(x).values - first).max():.1e}")
    for n, expected in [(1, case["iterations"][0]), (5, case["iterations"][4]), (2000, case["fixed_point"])]:
        found = bm.em(mixture, x, max_iter=n, tol=1e-13, **plain).estimates
        distance = max(
            np.abs(found["weights"] - np.array(expected["weights"], dtype=float)).max(),
            np.abs(found["mu"] - np.array(expected["means"], dtype=float)).max(),
            np.abs(found["sigma"] - np.array(expected["sds"], dtype=float)).max(),
        )
        print(f"  {'fixed point' if n > 5 else f'after {n} iterations':<31} {distance:.1e}")


def gaussian(cases):
    print(
        "  case              model           log-likelihood     relative difference   BIC difference   largest |mean| difference"
    )
    for name, case in cases.items():
        for key, answer in case.get("sklearn_multistart", {}).items():
            if not isinstance(answer, dict):
                continue
            component = bm.MvNormal(covariance=answer["covariance_type"])
            x = table(case["data"], case["columns"])
            fit = bm.em(bm.Mixture(component, answer["K"]), x, guard=None, random_seed=1, **QUIET)
            relative = (fit.log_likelihood - answer["loglik"]) / abs(answer["loglik"])
            theirs = np.array(answer["means"])
            ours = fit.estimates["mu"][np.argsort(fit.estimates["mu"][:, 0])]
            theirs = theirs[np.argsort(theirs[:, 0])]
            mean = f"{np.abs(ours / theirs - 1).max():.1e}" if abs(relative) < 1e-6 else "another, better optimum"
            print(
                f"  {name:<17} {key:<15} {fit.log_likelihood:>14.5f}     {relative:+.1e}              "
                f"{fit.bic - answer['bic']:+.1e}         {mean}"
            )


def low_dim_gauss_mix(case):
    component = bm.Normal(mu=pz.Normal(0, 2), sigma=pz.HalfNormal(2))
    mixture = bm.Mixture(component, 2, weights=bm.Dirichlet([5.0, 5.0]))
    fit = bm.nuts(mixture, table("low_dim_gauss_mix.csv", ["y"]), draws=2500, random_seed=3, **QUIET)
    posterior = fit.tree["posterior"]
    draws = {"theta": posterior["weights"].values[..., 0]}
    for k in range(2):
        draws[f"mu[{k + 1}]"] = posterior["mu"].values[..., k]
        draws[f"sigma[{k + 1}]"] = posterior["sigma"].values[..., k]
    for name, values in draws.items():
        reference = case["posterior"][name]
        z = (values.mean() - reference["mean"]) / np.hypot(float(az.mcse(values)), reference["mcse_mean"])
        print(f"  {name:<9} mean {values.mean():.4f}, reference {reference['mean']:.4f}: {z:+.2f} combined MCSE")


def death_notices(case):
    data = bm.datasets.load("death_notices")
    fit = bm.em(bm.Mixture(bm.Poisson(), 2), data["deaths"], weights=data["freq"], random_seed=1, **QUIET)
    answer = case["poisson_k2"]
    print(f"  weights {fit.estimates['weights']}, reference {answer['weights']}")
    print(f"  rates   {fit.estimates['mu']}, reference {answer['means']}")
    print(f"  log-likelihood {fit.log_likelihood:.6f}, reference {answer['loglik']:.6f}")


def faithful():
    data, mixture = bm.datasets.load("faithful"), bm.Mixture(bm.MvNormal(), 2)
    for seed in range(1, 5):
        fit = bm.nuts(mixture, data, random_seed=seed, **QUIET)
        print(f"  seed {seed}: {fit.verdict}, relabelled R-hat {fit.tree.attrs['rhat_relabelled']:.4f}")


if __name__ == "__main__":
    em, posterior = answers("em_answers.json"), answers("posterior_answers.json")
    print("Worked example (50 digits), largest absolute difference:")
    worked_example(em["worked_example_k2"])
    print("Gaussian mixtures, guard=None, against the best of scikit-learn's many starts:")
    gaussian(em)
    print("posteriordb low_dim_gauss_mix, NUTS against Stan's reference draws:")
    low_dim_gauss_mix(posterior["low_dim_gauss_mix"])
    print("death_notices, Poisson, K = 2 (Hasselblad 1969):")
    death_notices(posterior["death_notices"])
    print("Old Faithful, K = 2, NUTS with four chains:")
    faithful()
