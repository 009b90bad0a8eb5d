"""Draws with known labels, and the draws that R's label.switching relabelled."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bayesmix.labels import apply_permutation, compose, relabel_allocations

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="session")
def r_draws():
    """300 draws of a normal mixture of two for five observations, and R's permutations (0: kept, 1: swapped)."""
    case = json.loads((DATA / "label_switching.json").read_text())
    table = np.genfromtxt(DATA / "label_switching_draws.csv", delimiter=",", names=True)
    first = np.stack([table[f"p{i}_1"] for i in range(1, 6)], axis=1)
    pairs = [np.stack([table[f"{name}_1"], table[f"{name}_2"]], axis=1) for name in ("mu", "var", "w")]
    swapped = {
        name.removeprefix("perm1_"): table[name].astype(int) - 1 for name in table.dtype.names if "perm1_" in name
    }
    return SimpleNamespace(
        x=np.array(case["x"]),
        allocations=np.stack([table[f"z_{i}"] for i in range(1, 6)], axis=1).astype(int) - 1,
        responsibilities=np.stack([first, 1.0 - first], axis=2),
        parameters=np.stack(pairs, axis=2),
        permutation={name: np.stack([flag, 1 - flag], axis=1) for name, flag in swapped.items()},
        answers=case["methods"],
        pivot=case["mapindex"] - 1,
    )


def shuffle_labels(draws, shuffle):
    """The same draws under other labels: component c of draw s is now what component shuffle[s, c] was."""
    return SimpleNamespace(
        x=draws.x,
        k=draws.k,
        p=apply_permutation(draws.p, shuffle, axis=2),
        mu=apply_permutation(draws.mu, shuffle, axis=1),
        z=relabel_allocations(draws.z, shuffle),
        shuffle=compose(draws.shuffle, shuffle),
    )


def draw_switched(noise, n_draws=200, n_rows=81, k=4, seed=0):
    """Draws of a mixture in the plane whose labels were shuffled by a known permutation; noise makes them overlap."""
    rng = np.random.default_rng(seed)
    centres = rng.permutation(np.stack([np.arange(k) * 3.0, (np.arange(k) % 2) * 4.0], axis=1))
    x = centres[np.arange(n_rows) % k] + rng.normal(size=(n_rows, 2))
    mu = centres + noise * rng.normal(size=(n_draws, k, 2))
    log_p = -0.5 * ((x[:, None] - mu[:, None]) ** 2).sum(axis=-1) / (0.5 + noise) ** 2
    p = np.exp(log_p - log_p.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    z = (p.cumsum(axis=2) < rng.random((n_draws, n_rows, 1))).sum(axis=2).clip(max=k - 1)
    same = np.tile(np.arange(k), (n_draws, 1))
    return shuffle_labels(SimpleNamespace(x=x, k=k, p=p, mu=mu, z=z, shuffle=same), rng.permuted(same, axis=1))


@pytest.fixture
def switched():
    return draw_switched


@pytest.fixture
def shuffled():
    return shuffle_labels
