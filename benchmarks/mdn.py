"""Mixture density networks against published test densities, early stopping and other libraries.

    python benchmarks/mdn.py uci [boston energy power_plant wine_quality_red naval] [--splits 20]
        [--engines variational "early stopping" torch] [--torch PYTHON]
    python benchmarks/mdn.py toys
    python benchmarks/mdn.py speed [--torch PYTHON]
    python benchmarks/mdn.py robust [boston energy] [--seeds 100]

``uci`` prints the mean negative log density of test rows over the given splits, with root mean squared error and coverage of
90 % intervals, for the variational posterior and for early stopping, each as single networks and as ensembles of three; the
defaults are fixed, only the temperature is chosen, on rows held out of the training part. Per split the numbers go to
``benchmarks/results/mdn_<name>.csv``, where engines that are not run keep theirs. ``toys`` has Bishop's inverse problem and a
heteroscedastic one, ten seeds each. ``speed`` prints CPU time per step of Adam against PyTorch and against `pymc.fit` with
minibatches, and how soon a fit begins. ``robust`` counts failures on hard variants of the data. PYTHON is an interpreter that
has PyTorch, which need not be this one; with it, ``uci`` has its early-stopped networks beside ours.
"""

import argparse
import json
import os
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from mdn_robust import robust
from mdn_speed import PEER, interpreter_with_torch, speed, talk

import bayesmix as bm
from bayesmix.mdn.problem import least_widths

HERE = Path(__file__).parent
SETS = ("boston", "energy", "power_plant", "wine_quality_red", "naval")
MEMBERS = 3
ENGINES = {"variational": bm.advi, "early stopping": bm.map_estimate}
SCORES = ("nll", "rmse", "coverage", "worst")
MUST = {"boston": 2.40, "energy": 0.60, "power_plant": 2.79, "wine_quality_red": 0.93, "naval": -5.6}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("uci", "toys", "speed", "robust"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--engines", nargs="+", choices=(*ENGINES, "torch"), default=[*ENGINES, "torch"])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument(
        "--torch", metavar="PYTHON", help="an interpreter that has PyTorch; by default this one, if it has"
    )
    options = parser.parse_args()
    if options.what == "uci":
        for name in options.names or SETS:
            uci(name, options.splits, options.engines, interpreter_with_torch(options.torch))
    elif options.what == "toys":
        toys()
    elif options.what == "speed":
        speed(interpreter_with_torch(options.torch))
    else:
        robust(options.names or ("boston", "energy"), read, options.seeds)


# -- test densities ------------------------------------------------------------------------------------------------------
def read(name, split):
    """Covariates and responses of the training and of the test part."""
    table = pd.read_csv(HERE / "data" / f"{name}.csv.gz").to_numpy(float)
    splits = pd.read_csv(HERE / "data" / f"{name}_splits.csv.gz")
    test = np.zeros(len(table), dtype=bool)
    test[splits.test_row[splits.split == split]] = True
    return table[~test, :-1], table[~test, -1], table[test, :-1], table[test, -1]


def torch_fits(python, resources):
    """A function from data to the scores of networks of PyTorch with early stopping; None without an interpreter."""
    if python is None:
        print("torch left out: name an interpreter that has it, --torch PYTHON")
        return None
    folder = resources.enter_context(TemporaryDirectory())
    version, answer = talk([python, PEER, "fit"], resources)
    print(f"torch {version}")

    def fits(**data):
        np.savez(f"{folder}/data.npz", **data)
        return json.loads(answer(f"{folder}/data.npz"))

    return fits


def judge(fit, x, y):
    """Single networks' mean and the ensemble's: negative log density, root mean squared error, coverage, worst row."""
    members = fit.members()
    return np.mean([scores(one, x, y) for one in members], axis=0), np.array(scores(fit, x, y))


def scores(fit, x, y):
    density, pit = fit.logpdf(x, y).values, fit.pit(x, y).values
    inside = np.mean((pit > 0.05) & (pit < 0.95))
    return -density.mean(), np.sqrt(np.mean((fit.mean(x).values - y) ** 2)), inside, density.min()


def uci(name, n_splits, engines, python):
    path = HERE / "results" / f"mdn_{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with ExitStack() as resources:
        peer = torch_fits(python, resources) if "torch" in engines else None
        found = []
        for split in range(n_splits):
            data = dict(zip(("x", "y", "x_test", "y_test"), read(name, split), strict=True))
            for engine in engines:
                if engine != "torch":
                    found += ours(engine, data, split)
                elif peer is not None:
                    found += torchs(peer, data, split)
    table = pd.DataFrame(found).round(5)
    if path.exists():  # other engines keep what they have there
        before = pd.read_csv(path)
        table = pd.concat([before[~before.engine.isin(table.engine)], table])
    table.to_csv(path, index=False)
    print(f"\n{name}: must {MUST[name]:.2f}; least width of a component {floor_of(data):.4f} sd of the responses")
    for (engine, size), rows in table.groupby(["engine", "size"], sort=False):
        error = rows.nll.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
        print(
            f"  {engine:15s} {size:9s} {len(rows)} splits  NLL {rows.nll.mean():7.3f} ± {error:.3f}  RMSE {rows.rmse.mean():8.4f}  "
            f"90 % coverage {rows.coverage.mean():.3f}  worst row {rows.worst.min():8.1f}  CPU s {rows.cpu_seconds.mean():6.1f}"
            + (f"  T {dict(rows.temperature.value_counts())}" if engine == "variational" else ""),
            flush=True,
        )


def ours(engine, data, split):
    """Rows of the table: single networks and the ensemble."""
    fit = ENGINES[engine](
        bm.MDN(bm.Normal()), data["x"], data["y"], members=MEMBERS, random_seed=split, progressbar=False
    )
    attrs = fit.tree.attrs
    about = {"split": split, "engine": engine, "temperature": attrs.get("temperature", np.nan)}
    about["cpu_seconds"] = attrs["cpu_seconds"]
    each = zip(("single", "ensemble"), judge(fit, data["x_test"], data["y_test"]), strict=True)
    return [about | {"size": size} | dict(zip(SCORES, values, strict=True)) for size, values in each]


def torchs(peer, data, split):
    """Rows of the table for early stopping in PyTorch."""
    found = peer(floor=floor_of(data), seed=split, **data)
    about = {"split": split, "engine": "torch", "temperature": np.nan, "cpu_seconds": found.pop("cpu_seconds")}
    return [about | {"size": size} | values for size, values in found.items()]


def floor_of(data):
    return least_widths(data["y"][:, None])[0]


TOYS = {  # components and the promise; densities of Bishop's problem are boxes, each of which takes several normals
    "bishop": (7, -1.10),
    "econ": (3, 1.99),
}


def toys(seeds=10):
    """Defaults, and for comparison ten networks trained on all rows, whose number of components was picked on these data."""
    ways = {
        "variational": lambda mdn, x, y, seed: bm.advi(mdn, x, y, random_seed=seed, progressbar=False),
        "early stopping": lambda mdn, x, y, seed: bm.map_estimate(mdn, x, y, random_seed=seed, progressbar=False),
        "ten, all rows": lambda mdn, x, y, seed: bm.map_estimate(
            mdn, x, y, members=10, early_stopping=False, random_seed=seed, progressbar=False
        ),
    }
    for name, (k, must) in TOYS.items():
        train, test = (pd.read_csv(HERE / "data" / f"mdn_{name}_{part}.csv.gz") for part in ("train", "test"))
        for way, fit in ways.items():
            mdn, found = bm.MDN(bm.Normal(), n_components=k), []
            for seed in range(seeds):
                found.append(-float(fit(mdn, train[["x"]], train.y, seed).logpdf(test[["x"]], test.y).mean()))
            print(
                f"{name} K={k} {way:15s} must {must:.2f}: median {np.median(found):.3f}, worst {max(found):.3f}, "
                f"{np.sum(np.array(found) <= must)} of {seeds} reach it",
                flush=True,
            )


if __name__ == "__main__":
    main()
