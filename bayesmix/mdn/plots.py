"""Pictures of a mixture density network: its density over a covariate, its weights, and how well it is calibrated."""

from typing import Any

import numpy as np

from .covariates import Numeric

POINTS = 200  # along the covariate
DENSITY = 120  # along the response
BANDS = (0.5, 0.8, 0.95)  # intervals that are drawn
BINS = 20


def plot(fit, x, y, kind, ax, **options):
    """Draw one of the pictures; see `MDNFit.plot`."""
    import matplotlib.pyplot as plt

    kinds = {"density": density, "weights": weights, "pit": calibration}
    if kind not in kinds:
        raise ValueError(f"kind={kind!r} but it must be one of {', '.join(map(repr, kinds))}.")
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    return kinds[kind](fit, x, y, ax, **options)


def density(fit, x, y, ax, modes: bool = False):
    """The density of the response over one numeric covariate, with intervals, and the rows."""
    fit._needs_one("the density over a covariate")
    _, grid, inputs = _along(fit, x)
    shown_x, shown_y = _rows(fit, x, y)
    low, high = (fit.quantile(inputs, q).values for q in (0.005, 0.995))
    points = np.linspace(low.min(), high.max(), DENSITY)
    if fit._families[0].discrete:
        points = np.arange(np.floor(low.min()), np.ceil(high.max()) + 1)
    table = np.array([fit.logpdf(inputs, np.full(len(grid), value)).values for value in points])
    shown = np.exp(table - table.max(axis=0))  # each x on a scale of its own: narrow places do not hide wide ones
    ax.pcolormesh(grid, points, shown, cmap="Blues", shading="nearest", rasterized=True, vmax=1.6)
    for band, style in zip(BANDS, ("-", "--", ":"), strict=True):
        found = fit.interval(inputs, band)
        for name in ("lower", "upper"):
            label = f"{band:.0%} interval" if name == "lower" else None
            ax.plot(grid, found[name], color="0.35", lw=0.9, ls=style, label=label)
    if modes:
        found = fit.modes(inputs)
        ax.plot(grid, found.isel(mode=0), ".", color="C1", ms=3, label="highest mode")
    if shown_x is not None:
        ax.plot(shown_x, shown_y, ".", color="C3", ms=3, alpha=0.5, label="rows")
    ax.set(
        xlabel=_name_of_covariate(fit), ylabel=_name_of_response(fit), title="Density at each x, relative to its peak"
    )
    ax.legend(loc="best", fontsize="small", framealpha=0.8)
    return ax


def weights(fit, x, y, ax):
    """Weights of the components over one numeric covariate, of the first member, averaged over its draws."""
    _, grid, inputs = _along(fit, x)
    found = fit.components(inputs)["weights"].isel(member=0).mean("draw")
    for k in range(found.sizes["cluster"]):
        ax.plot(grid, found.isel(cluster=k), label=f"component {k}")
    ax.set(xlabel=_name_of_covariate(fit), ylabel="weight", ylim=(-0.02, 1.02), title="Weights of the components")
    ax.legend(loc="best", fontsize="small")
    return ax


def calibration(fit, x, y, ax):
    """Probability integral transforms of rows: a flat histogram if predictions are right, and coverage of intervals."""
    if x is None or y is None:
        raise ValueError('kind="pit" judges rows that the network was not fitted to: hand in x and y.')
    pit = fit.pit(x, y, random_seed=0).values
    expected = 1.0
    error = 1.96 * np.sqrt(BINS / len(pit) * (1 - 1 / BINS))
    ax.axhspan(expected - error, expected + error, color="0.9", label="95 % of histograms of calibrated predictions")
    ax.axhline(expected, color="0.5", lw=0.8)
    ax.hist(pit, np.linspace(0, 1, BINS + 1), density=True, color="C0", alpha=0.8)
    covered = [np.mean(np.abs(pit - 0.5) < band / 2) for band in BANDS]
    words = ", ".join(f"{band:.0%}: {share:.1%}" for band, share in zip(BANDS, covered, strict=True))
    ax.set(xlabel="probability integral transform", ylabel="density", title=f"Coverage of intervals of {words}")
    ax.legend(loc="lower center", fontsize="small")
    return ax


def _along(fit, x) -> tuple[Any, np.ndarray, Any]:
    """The one numeric covariate, points along it, and covariates of these."""
    columns = fit.model.covariates.columns
    if len(columns) != 1 or not isinstance(columns[0], Numeric):
        raise ValueError(
            f"the picture is over one numeric covariate, but the network has {len(columns)}: "
            f'{", ".join(str(c.name) for c in columns[:8])}; kind="pit" judges any network.'
        )
    column = columns[0]
    if x is None:
        if "constant_data" not in fit.tree.children:
            raise ValueError("the fit keeps no rows, as they were not in memory: give some, fit.plot(X, y).")
        values = fit.tree["constant_data"].dataset["inputs"].values[:, 0] * column.sd + column.mean
    else:
        values = np.asarray(x[column.name] if fit.model.covariates.named and hasattr(x, "columns") else x, dtype=float)
    grid = np.linspace(values.min(), values.max(), POINTS)
    return column, grid, {column.name: grid} if fit.model.covariates.named else grid


def _rows(fit, x, y):
    """The rows to show: the fitted ones unless others are given."""
    if y is not None and x is not None:
        column = fit.model.covariates.columns[0]
        named = fit.model.covariates.named and hasattr(x, "columns")
        return np.ravel(np.asarray(x[column.name] if named else x)), np.ravel(np.asarray(y))
    if "constant_data" not in fit.tree.children:
        return None, None
    column = fit.model.covariates.columns[0]
    inputs = fit.tree["constant_data"].dataset["inputs"].values[:, 0]
    return inputs * column.sd + column.mean, fit.tree["observed_data"].dataset["y"].values


def _name_of_response(fit):
    return str(fit.model.feature[0]) if fit.model.named else "y"


def _name_of_covariate(fit):
    return str(fit.model.covariates.columns[0].name) if fit.model.covariates.named else "x"
