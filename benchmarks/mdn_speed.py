"""CPU time per step of training a network, beside PyTorch and PyMC, and how soon a fit begins."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import bayesmix as bm
from bayesmix.mdn.feed import InMemory
from bayesmix.mdn.problem import Model
from bayesmix.mdn.training import Plan, train

PEER = Path(__file__).parent / "peers" / "torch_mdn.py"
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
SIZES = (((50,), 32), ((256, 256), 32), ((256, 256), 256))
FIRST = """
import time
began, cpu = time.perf_counter(), time.process_time()
import numpy as np, bayesmix as bm
x = np.linspace(-1, 1, 200)
bm.{engine}(bm.MDN(bm.Normal()), x, x + 0.1 * np.sin(40 * x), epochs=1, progressbar=False, random_seed=0)
print(time.perf_counter() - began, time.process_time() - cpu)
"""


def speed(python, rounds=9):
    """Microseconds of CPU per step, medians of interleaved rounds, and ratios to ours with their range."""
    for hidden, batch in SIZES:
        print(
            f"\nhidden {hidden}, batch {batch}, 3 normal components, 8 covariates: µs of CPU per step, times as long as ours"
        )
        with ExitStack() as processes:
            timers = timers_of(python, hidden, batch, processes)
            times = {name: [] for name in timers}
            for timer in timers.values():
                timer(20)
            for _ in range(rounds):
                for (engine, name), timer in timers.items():
                    times[engine, name].append(1e6 * timer(1000 if name == "ours" and batch == 32 else 150))
        for (engine, name), values in times.items():
            line = f"  {engine:12s} {name:20s} {np.median(values):9.1f}"
            if name != "ours":
                ratio = np.array(values) / np.array(times[engine, "ours"])
                line += (
                    f"   {np.median(ratio):6.2f} ({ratio.min():.2f} to {ratio.max():.2f}){must(hidden, engine, name)}"
                )
            print(line, flush=True)
    first()


def must(hidden, engine, name):
    """What is promised of a ratio."""
    if name.startswith("torch"):
        return "  must 0.70" if len(hidden) > 1 else "  must 5.00" if engine == "point" else ""
    return "  must 3.00" if len(hidden) == 1 else ""


def timers_of(python, hidden, batch, processes):
    """For each engine and library a function from a number of steps to CPU seconds for each."""
    x, y = np.random.default_rng(0).normal(size=(2000, 8)), np.random.default_rng(1).normal(size=2000)
    timers = {}
    for engine in ("point", "variational"):
        timers[engine, "ours"] = ours(x, y, hidden, batch, engine == "variational")
        for dtype in ("float32", "float64"):
            if python is None:
                print(f"  {engine:12s} torch {dtype} left out: name an interpreter that has it, --torch PYTHON")
            else:
                timers[engine, f"torch {dtype}"] = torch_steps(python, hidden, batch, dtype, engine, processes)
    if len(hidden) == 1:
        timers["variational", "pm.fit, Minibatch"] = pymc_steps(x, y, hidden[0], batch)
    return timers


def interpreter_with_torch(named):
    """The interpreter that was named, or this one if it has PyTorch; None if neither."""
    return named or (sys.executable if find_spec("torch") is not None else None)


def ours(x, y, hidden, batch, random):
    """Our own training, epochs and their bookkeeping included."""
    model, inputs, data = Model.learn(bm.MDN(bm.Normal(), hidden=hidden), x, y)
    problem = model.problem(inputs, data.values, training=True)
    free = np.full(problem.layout.n_weights, random)

    def steps(n):
        epochs = -(-n // (len(x) // batch))
        plan = Plan(free, np.ones(1), batch, epochs)
        began = time.process_time()
        train(InMemory.all_rows(problem, 1), plan, np.random.default_rng(0))
        return (time.process_time() - began) / (epochs * (len(x) // batch))

    return steps


def talk(command, processes):
    """Start a process that says its version, then answers lines: that version, and a function from a line to its answer."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ONE_THREAD
    )
    processes.callback(process.wait)
    processes.callback(process.stdin.close)

    def answer(line):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        found = process.stdout.readline()
        if not found:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with exit status {process.wait()}.")
        return found

    return process.stdout.readline().strip(), answer


def torch_steps(python, hidden, batch, dtype, engine, processes):
    """An eager network in PyTorch."""
    sizes = ("--hidden", *map(str, hidden), "--batch", str(batch), "--dtype", dtype, "--posterior", engine)
    _, answer = talk([python, str(PEER), "steps", *sizes], processes)
    return lambda n: float(answer(n)) / n


def pymc_steps(x, y, hidden, batch):
    """Mean-field variational inference by `pymc.fit` with minibatches: steps of its compiled function."""
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
        began = time.process_time()
        for _ in range(n):
            step()
        return (time.process_time() - began) / n

    return steps


def first(rounds=3):
    """Seconds from a new process to the end of an epoch, with everything compiled before."""
    print("\nfrom a new process to the end of the first epoch, compiled before: seconds, smallest of three")
    for engine in ("map_estimate", "advi"):
        command = [sys.executable, "-c", FIRST.format(engine=engine)]
        found = []
        for _ in range(rounds + 1):
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | ONE_THREAD)
            found.append([float(word) for word in done.stdout.split()])
        wall, cpu = np.min(found[1:], axis=0)
        print(f"  {engine:12s} wall {wall:.2f}, CPU {cpu:.2f}  must 5.00", flush=True)
