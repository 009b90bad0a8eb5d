"""Mixture density networks against published test densities, early stopping and other libraries.

    python benchmarks/mdn.py uci [boston energy power_plant wine_quality_red naval] [--splits 20]
    python benchmarks/mdn.py toys
    python benchmarks/mdn.py speed

``uci`` prints the mean negative log density of test rows over the given splits, with root mean squared error and coverage of
90 % intervals, for the variational posterior and for early stopping, each as single networks and as ensembles of three; the
defaults are fixed, only the temperature is chosen, on rows held out of the training part. Per split the numbers go to
``benchmarks/results/mdn_<name>.csv``. ``toys`` has Bishop's inverse problem and a heteroscedastic one, ten seeds each.
``speed`` prints CPU time per step of Adam against torch where it is installed, and against `pymc.fit` with minibatches.
"""

import argparse
import os
import time
from importlib.util import find_spec
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

import bayesmix as bm
from bayesmix.mdn.problem import Model
from bayesmix.mdn.training import Plan, train

HERE = Path(__file__).parent
SETS = ("boston", "energy", "power_plant", "wine_quality_red", "naval")
MEMBERS = 3
MUST = {"boston": 2.40, "energy": 0.60, "power_plant": 2.79, "wine_quality_red": 0.93, "naval": -5.6}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("uci", "toys", "speed"))
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    if options.what == "uci":
        for name in options.names:
            uci(name, options.splits)
    elif options.what == "toys":
        toys()
    else:
        speed()


# -- test densities ------------------------------------------------------------------------------------------------------
def read(name, split):
    """Covariates and responses of the training and of the test part."""
    table = pd.read_csv(HERE / "data" / f"{name}.csv.gz").to_numpy(float)
    splits = pd.read_csv(HERE / "data" / f"{name}_splits.csv.gz")
    test = np.zeros(len(table), dtype=bool)
    test[splits.test_row[splits.split == split]] = True
    return table[~test, :-1], table[~test, -1], table[test, :-1], table[test, -1]


def judge(fit, x, y):
    """Single networks' mean and the ensemble's: negative log density, root mean squared error, coverage, worst row."""
    members = fit.members()
    rows = [(*scores(one, x, y), 0) for one in members]
    return np.mean(rows, axis=0)[:4], np.array(scores(fit, x, y))


def scores(fit, x, y):
    density, pit = fit.logpdf(x, y).values, fit.pit(x, y).values
    inside = np.mean((pit > 0.05) & (pit < 0.95))
    return -density.mean(), np.sqrt(np.mean((fit.mean(x).values - y) ** 2)), inside, density.min()


def uci(name, n_splits):
    found = []
    for split in range(n_splits):
        x, y, x_test, y_test = read(name, split)
        engines = {
            "variational": lambda x=x, y=y, s=split: bm.advi(
                bm.MDN(bm.Normal()), x, y, members=MEMBERS, random_seed=s, progressbar=False
            ),
            "early stopping": lambda x=x, y=y, s=split: bm.map_estimate(
                bm.MDN(bm.Normal()), x, y, members=MEMBERS, random_seed=s, progressbar=False
            ),
        }
        for engine, make in engines.items():
            fit = make()
            about = {"split": split, "engine": engine, "temperature": fit.tree.attrs.get("temperature", np.nan)}
            about["cpu_seconds"] = fit.tree.attrs["cpu_seconds"]
            for size, (nll, rmse, coverage, worst) in zip(
                ("single", "ensemble"), judge(fit, x_test, y_test), strict=True
            ):
                found.append(about | {"size": size, "nll": nll, "rmse": rmse, "coverage": coverage, "worst": worst})
    table = pd.DataFrame(found)
    (HERE / "results").mkdir(exist_ok=True)
    table.round(5).to_csv(HERE / "results" / f"mdn_{name}.csv", index=False)
    print(f"\n{name}: must {MUST[name]:.2f}; least width of a component {fit.model.floor[0]:.4f} sd of the responses")
    for (engine, size), rows in table.groupby(["engine", "size"], sort=False):
        error = rows.nll.std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
        print(
            f"  {engine:15s} {size:9s} NLL {rows.nll.mean():7.3f} ± {error:.3f}  RMSE {rows.rmse.mean():8.4f}  "
            f"90 % coverage {rows.coverage.mean():.3f}  worst row {rows.worst.min():8.1f}  CPU s {rows.cpu_seconds.mean():6.1f}"
            + (f"  T {dict(rows.temperature.value_counts())}" if engine == "variational" else ""),
            flush=True,
        )


def toys(seeds=10):
    for name, k, must in (("bishop", 5, -1.10), ("econ", 3, 1.99)):
        train, test = (pd.read_csv(HERE / "data" / f"mdn_{name}_{part}.csv.gz") for part in ("train", "test"))
        found = {"variational": [], "early stopping": []}
        for seed in range(seeds):
            mdn = bm.MDN(bm.Normal(), n_components=k)
            fits = {
                "variational": bm.advi(mdn, train[["x"]], train.y, random_seed=seed, progressbar=False),
                "early stopping": bm.map_estimate(mdn, train[["x"]], train.y, random_seed=seed, progressbar=False),
            }
            for engine, fit in fits.items():
                found[engine].append(-float(fit.logpdf(test[["x"]], test.y).mean()))
        for engine, values in found.items():
            print(
                f"{name} K={k} {engine:15s} must {must:.2f}: median {np.median(values):.3f}, worst {max(values):.3f}, "
                f"{np.sum(np.array(values) <= must)} of {seeds} reach it",
                flush=True,
            )


# -- speed ---------------------------------------------------------------------------------------------------------------
def speed(rounds=5):
    """CPU time per step of Adam, medians of interleaved rounds."""
    for hidden, batch in (((50,), 32), ((256, 256), 256)):
        x, y = np.random.default_rng(0).normal(size=(2000, 8)), np.random.default_rng(1).normal(size=2000)
        timers = {"ours, point": ours(x, y, hidden, batch, False), "ours, variational": ours(x, y, hidden, batch, True)}
        if find_spec("torch") is not None:
            timers["torch, point"] = torch_steps(x, y, hidden, batch)
        if hidden == (50,):
            timers["pymc.fit, variational"] = pymc_steps(x, y, hidden[0], batch)
        times = {name: [] for name in timers}
        for timer in timers.values():
            timer(20)
        for _ in range(rounds):
            for name, timer in timers.items():
                steps = 400 if name.startswith("ours") else 100
                began = time.process_time()
                timer(steps)
                times[name].append((time.process_time() - began) / steps * 1e6)
        print(f"hidden {hidden}, batch {batch}: microseconds of CPU per step, and how many times as long as ours")
        for name, values in times.items():
            own = "ours, point" if "point" in name else "ours, variational"
            ratio = np.median(np.array(values) / np.array(times[own]))
            print(f"  {name:24s} {np.median(values):9.0f}   {ratio:6.1f}", flush=True)


def ours(x, y, hidden, batch, random):
    model, inputs, data = Model.learn(bm.MDN(bm.Normal(), hidden=hidden), x, y)
    problem = model.problem(inputs, data.values)
    free = np.full(problem.layout.n_weights, random)

    def steps(n):
        epochs = -(-n // (len(x) // batch))
        rows = np.arange(len(x))[None]
        plan = Plan(free, np.ones(1), batch, epochs)
        began = time.process_time()
        train(problem, plan, rows, None, np.random.default_rng(0))
        return (time.process_time() - began) / (epochs * (len(x) // batch))

    return steps


def torch_steps(x, y, hidden, batch):
    """An eager network with three normal components, as users write it."""
    import torch

    torch.set_num_threads(1)
    sizes, layers = (x.shape[1], *hidden), []
    for n, m in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 9))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)

    def steps(n):
        for _ in range(n):
            rows = torch.randint(len(x), (batch,))
            logits, mu, log_sigma = network(x[rows]).split(3, dim=1)
            density = torch.distributions.Normal(mu, log_sigma.exp()).log_prob(y[rows, None])
            loss = -torch.logsumexp(torch.log_softmax(logits, dim=1) + density, dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return steps


def pymc_steps(x, y, hidden, batch):
    """Mean-field variational inference by `pymc.fit` with minibatches."""
    import pymc as pm
    import pytensor.tensor as pt

    with pm.Model():
        rows, responses = pm.Minibatch(x, y, batch_size=batch)
        first, offset = pm.Normal("w1", 0, 1, shape=(x.shape[1], hidden)), pm.Normal("b1", 0, 1, shape=hidden)
        last, offsets = pm.Normal("w2", 0, 1, shape=(hidden, 9)), pm.Normal("b2", 0, 2, shape=9)
        outputs = pt.maximum(rows @ first + offset, 0.0) @ last + offsets
        pm.NormalMixture(
            "y", w=pt.special.softmax(outputs[:, :3], axis=1), mu=outputs[:, 3:6], sigma=pt.softplus(outputs[:, 6:]) + 1e-3,
            observed=responses, total_size=len(x),
        )  # fmt: skip
        step = pm.ADVI().objective.step_function(obj_optimizer=pm.adam(learning_rate=1e-2))

    def steps(n):
        for _ in range(n):
            step()

    return steps


if __name__ == "__main__":
    main()
