"""The same seed gives the same numbers, to the last bit: in the process that compiles as in those that load its code."""

import os
import subprocess
import sys

import pytest

# Values of every compiled entry that a pass is part of, as hexadecimal digits. The order of the first calls is an
# argument: of functions by one name in several modules, the linker takes the one that was loaded first.
FUNCTIONS = """
import ctypes, sys
import numpy as np
import bayesmix as bm
from bayesmix.engines import climb
from bayesmix.likelihood.likelihood import Likelihood
from bayesmix.posterior import batch, kernel, posterior_of

rng = np.random.default_rng(0)
mixture = bm.Mixture(bm.Normal(), 2)
data = mixture.check(rng.normal(size=300) + 3.0 * (rng.random(300) > 0.5))
posterior, likelihood = posterior_of(mixture, data), Likelihood(mixture.component, data, 2)
vectors = 0.1 * rng.normal(size=(20, posterior.n_dim))

def c_function():
    pointer = lambda values: values.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    function, found = kernel.c_functions(posterior.layout)[0].ctypes, []
    for vector in vectors:
        gradient, value = np.empty(posterior.n_dim), np.empty(1)
        assert function(posterior.n_dim, *map(pointer, (vector, gradient, value, posterior.block))) == 0
        found += [value, gradient]
    return found

def updates():
    run = climb._updates_compiled(likelihood, likelihood.from_vector(vectors[0]), None, 25, 1e-8, True)
    return [run.trace, *run.params.values()]

def each(function):
    return [np.append(gradient, value) for value, gradient in map(function, vectors)]

calls = {
    "posterior": lambda: each(posterior.value_and_gradient),
    "posterior in C": c_function,
    "many": lambda: [batch.log_densities(posterior, vectors)],
    "pass": lambda: [np.append(s.second, s.log_likelihood) for s in map(likelihood.statistics, map(likelihood.from_vector, vectors))],
    "EM": updates,
    "gradient of EM": lambda: each(climb._gradient(likelihood, None)),
}
found = {name: np.concatenate(calls[name]()).tobytes().hex() for name in (list(calls) if sys.argv[1] == "forward" else list(calls)[::-1])}
for name in calls:
    print(name, found[name])
"""  # noqa: E501

FITS = """
import numpy as np
import bayesmix as bm

rng = np.random.default_rng(0)
for mixture, x in (
    (bm.Mixture(bm.Normal(), 2), np.append(rng.standard_normal(40), 7.0)),
    (bm.Mixture(bm.MvNormal(), 2), rng.standard_normal((60, 2)) + 4.0 * rng.integers(0, 2, (60, 1))),
):
    print(bm.em(mixture, x, random_seed=1, progressbar=False).log_likelihood.hex())
    fit = bm.nuts(mixture, x, draws=100, tune=100, chains=2, random_seed=1, progressbar=False)
    print(float(fit.tree["posterior"]["mu"].values.sum()).hex())
    fit = bm.gibbs(mixture, x, draws=100, tune=100, thin=1, chains=2, random_seed=1, progressbar=False)
    print(float(fit.tree["posterior"]["mu"].values.sum()).hex())
"""


def printed(code, cache, *arguments):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    out = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert out.returncode == 0, out.stderr
    return out.stdout.split("\n")


def test_compiled_functions(tmp_path):
    first = printed(FUNCTIONS, tmp_path, "forward")
    assert len(first) == 7 and first == printed(FUNCTIONS, tmp_path, "backward")


@pytest.mark.slow
def test_fits(tmp_path):
    first = printed(FITS, tmp_path)
    assert len(first) == 7 and first == printed(FITS, tmp_path)
