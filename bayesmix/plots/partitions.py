"""Who belongs with whom, and how surely: the co-clustering matrix, and the uncertainty of each row."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr

from ..fit import Fit
from ..partitions import Partition, allocation_uncertainty
from .density import SHOWN_ROWS, SVG_POINTS
from .style import DARK, STYLE, Picture, axis_label, component_colour, plain

SHOWN_MATRIX = 1000  # rows of a co-clustering matrix that are drawn; more are thinned evenly
NAMED = 0.04  # share of the rows from which a cluster has its number beside its stripe
DOUBTFUL = 0.25  # rows with a classification uncertainty above this are counted in the title


def plot_coclustering(partition: Partition, *, figsize=(5.4, 4.6), title: str | None = None):
    """Draw the co-clustering matrix, rows in the order of a point partition, with a stripe for each cluster.

    Within a cluster, rows that belong to it most surely come first. Of more than 1000 rows, 1000 evenly spaced in that
    order are shown. Probabilities are the shares of the partition's sampled allocations.

    Parameters
    ----------
    partition : Partition
        As `Fit.partition` returns it.
    figsize : tuple of float
        Width and height, in inches.
    title : str, optional
        None says how many clusters there are, by which loss.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    labels, matrix = _ordered(partition)
    n = len(labels)
    edges = np.concatenate([[0], np.cumsum(np.bincount(labels, minlength=partition.n_clusters))])
    heading = title
    if heading is None:
        loss = {"vi": "variation of information", "binder": "Binder's loss"}[partition.loss]
        heading = f"{partition.n_clusters} cluster{'s' * (partition.n_clusters != 1)} by least {loss}"
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize, layout="constrained")
        axes = figure.add_subplot()
        shades = LinearSegmentedColormap.from_list("certainty", ["white", "#A4ABB5", DARK])
        image = axes.imshow(matrix, cmap=shades, vmin=0, vmax=1, extent=(0, n, n, 0), interpolation="nearest")
        for k in range(partition.n_clusters):
            begin, length = edges[k], edges[k + 1] - edges[k]
            look: dict[str, Any] = {"facecolor": component_colour(k), "edgecolor": "white", "linewidth": 0.5}
            for corner, size in (((-0.05 * n, begin), (0.035 * n, length)), ((begin, -0.05 * n), (length, 0.035 * n))):
                axes.add_patch(Rectangle(corner, *size, clip_on=False, **look))
        axes.set(xlim=(-0.05 * n, n), ylim=(n, -0.05 * n), xticks=[])
        named = [k for k in range(partition.n_clusters) if edges[k + 1] - edges[k] >= NAMED * n]
        axes.set_yticks([(edges[k] + edges[k + 1]) / 2 for k in named], [f"{k} ({partition.sizes[k]})" for k in named])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        shown = "" if n == partition.labels.size else f" ({n} of {partition.labels.size} shown)"
        axes.set(xlabel=f"rows, by cluster{shown}", ylabel="cluster (size)")
        axes.set_title(plain(heading), loc="left")
        bar = figure.colorbar(image, ax=axes, shrink=0.7, label="probability of belonging together")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        figure.draw_without_rendering()
    return figure


def _ordered(partition: Partition) -> tuple[np.ndarray, np.ndarray]:
    """Labels (obs,) in the order that is shown, and the matrix (obs, obs) in that order, by sampled allocations."""
    labels, allocations = partition.labels.values, partition.allocations
    own = np.zeros(len(labels))  # probability that a row is with a random row of its cluster
    for k in range(partition.n_clusters):
        rows = labels == k
        for j in range(int(allocations.max()) + 1):
            inside = allocations[:, rows] == j
            own[rows] += (inside * inside.mean(axis=1, keepdims=True)).mean(axis=0)
    order = np.lexsort((-own, labels))
    if len(order) > SHOWN_MATRIX:
        order = order[np.linspace(0, len(order) - 1, SHOWN_MATRIX).round().astype(int)]
    shown = allocations[:, order]
    matrix = np.zeros((len(order), len(order)), dtype=np.float32)
    for j in range(int(allocations.max()) + 1):
        member = (shown == j).astype(np.float32)
        matrix += member.T @ member
    return labels[order], matrix / len(allocations)


def plot_uncertainty(fit: Fit, *, features=None, units=None, figsize=(8.4, 3.6), title: str | None = None):
    """Draw the classification uncertainty of each row, 1 - its largest responsibility: over the data, and in order.

    Left, for one column the uncertainty against the data; for more, two columns with points as large as the
    uncertainty, in the colour of the most probable component. Right, the rows from the surest to the most doubtful.

    Parameters
    ----------
    fit : Fit
    features : sequence of two str or int, optional
        Columns to show; the first two if not given.
    units : dict, optional
        Units of the columns, for the axis labels.
    figsize : tuple of float
        Width and height, in inches.
    title : str, optional
        None says how many rows are doubtful.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.lines import Line2D

    data = fit.data
    if data.n_obs == 0:
        raise ValueError(f"there are no rows to be uncertain of: {fit.why_no_data}.")
    columns = _two_columns(data, features)
    responsibilities = xr.DataArray(fit.responsibilities(data))
    doubt = allocation_uncertainty(responsibilities)["uncertainty"].values
    component = responsibilities.values.argmax(axis=1)
    k = fit.mixture.n_components
    doubtful = int((doubt > DOUBTFUL).sum())
    heading = f"{doubtful} of {data.n_obs} rows have an uncertainty above {DOUBTFUL:g}" if title is None else title
    shown = np.arange(data.n_obs)
    if data.n_obs > SHOWN_ROWS:
        shown = np.sort(np.random.default_rng(0).choice(data.n_obs, SHOWN_ROWS, replace=False))
    hue = np.array([component_colour(c) for c in range(k)])[component]
    look: dict[str, Any] = {"linewidths": 0, "rasterized": len(shown) > SVG_POINTS}
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
        x = data.values[shown]
        if len(columns) == 1:
            left.scatter(x[:, columns[0]], doubt[shown], c=hue[shown], s=12, alpha=0.6, **look)
            left.set(xlabel=axis_label(data, columns[0], units), ylabel="uncertainty", ylim=(-0.02, 1 - 1 / k + 0.02))
        else:
            size = 4 + 60 * doubt[shown] / max(1 - 1 / k, 0.5)
            left.scatter(*x[:, columns].T, c=hue[shown], s=size, alpha=0.6, **look)
            left.set(xlabel=axis_label(data, columns[0], units), ylabel=axis_label(data, columns[1], units))
        order = np.argsort(doubt, kind="stable")
        drawn = np.intersect1d(np.arange(data.n_obs), np.linspace(0, data.n_obs - 1, SHOWN_ROWS).round().astype(int))
        rows = order[drawn]
        right.plot(drawn + 1, doubt[rows], color="#8A9099", linewidth=0.8, zorder=1)
        right.scatter(drawn + 1, doubt[rows], c=hue[rows], s=10, zorder=2, **look)
        right.set(xlabel="rows, the surest first", ylabel="uncertainty", ylim=(-0.02, 1 - 1 / k + 0.02))
        if k == 1:
            right.set_ylim(-0.02, 1.0)
        left.set_title(plain(heading), loc="left")
        handles = [
            Line2D([], [], color=component_colour(c), marker="o", ls="", markersize=5, label=f"component {c}")
            for c in range(k)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(k, 6))
        figure.draw_without_rendering()
    return figure


def _two_columns(data, features) -> list[int]:
    if features is None:
        return list(range(min(2, data.n_features)))
    wanted = [features] if isinstance(features, str | int) else list(features)
    if not 1 <= len(wanted) <= 2 or any(name not in data.feature for name in wanted):
        raise ValueError(
            f"features={features!r} but one or two of the columns are needed: {', '.join(map(str, data.feature))}."
        )
    return [data.feature.index(name) for name in wanted]
