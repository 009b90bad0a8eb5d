"""Networks on hard variants of public data, many seeds each: does anything but a number come out?"""

import time

import numpy as np

import bayesmix as bm

EPOCHS = 40  # a fifth of the default: every variant learns, and collapse or overflow would show
VARIANTS = {
    "as they are": lambda x, y, rng: (x, y),
    "ten components": lambda x, y, rng: (x, y),
    "y times 1e6": lambda x, y, rng: (x, 1e6 * y),
    "y times 1e-6": lambda x, y, rng: (x, 1e-6 * y),
    "a constant column": lambda x, y, rng: (np.column_stack([x, np.full(len(x), 7.0)]), y),
    "half of y one number": lambda x, y, rng: (x, np.where(rng.random(len(y)) < 0.5, np.median(y), y)),
}
ENGINES = {
    "early stopping": lambda mdn, x, y, seed: bm.map_estimate(
        mdn, x, y, members=1, epochs=EPOCHS, random_seed=seed, progressbar=False
    ),
    "variational": lambda mdn, x, y, seed: bm.advi(
        mdn, x, y, members=1, epochs=EPOCHS, temperature=0.3, draws=20, random_seed=seed, progressbar=False
    ),
}


def robust(names, read, seeds):
    """Count runs that raise, and those with anything not finite among weights, predictions and log densities."""
    for name in names:
        for engine, make in ENGINES.items():
            print(f"\n{name}, {engine}: {seeds} seeds over the splits; must be 0 failures, and 1e-06 between units")
            plain = []
            for variant, change in VARIANTS.items():
                began, failures, found = time.process_time(), [], []
                for seed in range(seeds):
                    try:
                        found.append(one(name, read, make, variant, change, seed))
                    except Exception as error:  # of any kind: that is what is counted
                        found.append(np.nan)
                        failures.append(f"seed {seed}: {type(error).__name__}: {error}")
                    else:
                        failures += [] if np.isfinite(found[-1]) else [f"seed {seed}: not finite"]
                plain = plain or found
                line = f"  {variant:22s} {len(failures)} failures; test NLL {np.median(found):8.3f}, worst {np.max(found):8.3f}"
                if variant.startswith("y times"):
                    shift = np.log(float(variant.split()[-1]))
                    line += f"; off from the unit of the data by at most {np.max(np.abs(found - shift - plain)):.1e}"
                print(f"{line}; CPU s {time.process_time() - began:.0f}", flush=True)
                for failure in failures[:5]:
                    print(f"    {failure}")


def one(name, read, make, variant, change, seed):
    """Negative log density of test rows; not a number if any weight, prediction or density is not finite."""
    x, y, x_test, y_test = read(name, seed % 20)
    rng = np.random.default_rng(seed)
    (x, y), (x_test, y_test) = change(x, y, rng), change(x_test, y_test, rng)
    fit = make(bm.MDN(bm.Normal(), n_components=10 if variant == "ten components" else 3), x, y, seed)
    density = fit.logpdf(x_test, y_test).values
    every = (fit.weights, fit.mean(x_test), fit.logpdf(x, y), density)
    return -density.mean() if all(np.all(np.isfinite(values)) for values in every) else np.nan
