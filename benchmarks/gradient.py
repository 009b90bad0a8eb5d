"""Print what a log posterior and its gradient cost by the fused pass, against PyTensor's own graph of the same model.

Run from the root of the repository: ``python benchmarks/gradient.py`` (every family, half an hour: compiling takes most of
it), or name some: ``python benchmarks/gradient.py Normal "Product of three"``; ``--list`` names all.

Both models have the same priors and the same data, 5000 rows and 3 components, and are compiled by PyTensor's default
linker. In one the likelihood is the pass as an operation, whose gradient is its own other outputs; in the other it is the
family's formula, differentiated by PyTensor (``mixture.to_pymc``). Times are CPU seconds on one thread; runs alternate, and
the median of their ratios is printed with its range. Values and gradients are compared at the same parameters first.
Families with sufficient statistics, products of them and missing cells must be 5 times faster.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import bayesmix as bm
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.model import sampling_model, start_values, start_vector

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
ROWS, K, ROUNDS, MUST = 5000, 3, 15, 5.0


def cases(rng):
    """Families by name: the family, its data, and whether it must be faster by `MUST`."""
    from oracles import ROWS as TABLE

    found = {}
    for row in TABLE:
        closed = not row.component.numeric and row.component.sufficient
        found.setdefault(row.name, (row.component, lambda row=row: row.data(ROWS), closed))
    group = rng.integers(0, K, ROWS)
    heights, visits = rng.normal(4.0 * group, 1.0), rng.poisson(2.0 + 3.0 * group)
    mixed = np.column_stack([heights, visits, rng.random(ROWS) < 0.2 + 0.3 * group]).astype(float)
    three = bm.Product(height=bm.Normal(), visits=bm.Poisson(), smokes=bm.Bernoulli())
    found["Product of three"] = (three, lambda: mixed, True)
    plane = 4.0 * group[:, None] + rng.normal(size=(ROWS, 4)) @ rng.normal(size=(4, 4))
    gaps = np.where(rng.random(plane.shape) < 0.1, np.nan, plane)
    found["MvNormal with gaps"] = (bm.MvNormal(), lambda: gaps, True)
    return found


def density(model, values):
    """A function of nothing that evaluates the log posterior and its gradient; and what it returns."""
    function = model.logp_dlogp_function(ravel_inputs=True)
    function.set_extra_values({})
    point = start_vector(model, values)
    vector = np.concatenate([np.ravel(point[variable.name]) for variable in model.value_vars])
    return lambda: function(vector)


def seconds(call, times):
    begin = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin) / times


def measure(component, x, rng):
    """Microseconds of ours and of PyTensor's graph, and their ratios, round by round."""
    mixture = bm.Mixture(component, n_components=K)
    data = mixture.check(x)
    mixture = mixture.resolved(data)
    likelihood = Likelihood(mixture.component, data, K)
    params = likelihood.maximise_given(rng.dirichlet(np.ones(K), likelihood.data.n_obs))
    values = start_values(mixture, data, params)
    ours, theirs = density(sampling_model(mixture, data), values), density(mixture.to_pymc(data), values)
    left, right = ours(), theirs()
    same = np.isclose(left[0], right[0], rtol=1e-9) and np.allclose(left[1], right[1], rtol=1e-6, atol=1e-5)
    n_ours, n_theirs = (max(1, int(0.02 / max(seconds(call, 2), 1e-6))) for call in (ours, theirs))
    times = np.array([[seconds(ours, n_ours), seconds(theirs, n_theirs)] for _ in range(ROUNDS)])
    return times[:, 0] * 1e6, times[:, 1] * 1e6, times[:, 1] / times[:, 0], same


def main():
    """Print one line for each family."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    known = cases(np.random.default_rng(1))
    if chosen.list:
        print("\n".join(known))
        return
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"no family is called {', '.join(unknown)}; --list names all.")
    print(
        f"{ROWS} rows, {K} components; CPU microseconds of a log posterior with its gradient, medians of {ROUNDS} rounds\n"
    )
    print(f"{'family':<30}{'the pass':>10}{'PyTensor':>10}{'ratio':>8}   range")
    for name in chosen.names or known:
        component, data, closed = known[name]
        ours, theirs, ratio, same = measure(component, data(), np.random.default_rng(2))
        middle = np.median(ratio)
        verdict = "" if not closed else ("  >= 5" if middle >= MUST else "  BELOW 5")
        note = "" if same else "  (values differ)"
        print(
            f"{name:<30}{np.median(ours):>10.0f}{np.median(theirs):>10.0f}{middle:>8.1f}   "
            f"{ratio.min():.1f} to {ratio.max():.1f}{verdict}{note}",
            flush=True,
        )


if __name__ == "__main__":
    main()
