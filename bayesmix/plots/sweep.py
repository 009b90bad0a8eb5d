"""Criteria against the number of components, one panel for each."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from ..criteria import CRITERIA, called, listed, spoken
from .style import DARK, LINES, MARKERS, STYLE, Picture, method_colour, plain

MOST_COLUMNS = 3
UNITS = {"elpd": "nats", "log_evidence": "nats"}


def plot_sweep(sweep, criteria=None, figsize=None):
    """Draw how far behind the best each mixture is, by each criterion, against the number of components.

    One panel for each criterion, one line for each family; 0 is the best, which is ringed and named, and lower is
    better in every panel. The scale is linear where differences mean little (shaded), and logarithmic above, so that
    hopeless mixtures do not hide the rest. Bars are two standard errors of the difference (elpd, evidence). Fits that do
    not compete are hollow.

    Parameters
    ----------
    sweep : Sweep
    criteria : sequence of str, optional
        Which, in this order; all there are if not given.
    figsize : tuple of float, optional
        Width and height, in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a criterion is not known, or no fit has it.
    """
    ranked = _chosen(sweep.rankings, criteria)
    families = list(sweep.table.index.unique("component"))
    columns = 2 if len(ranked) == 4 else min(MOST_COLUMNS, len(ranked))
    rows = -(-len(ranked) // columns)
    with matplotlib.rc_context(STYLE):
        figure: Any = Picture(figsize=figsize or (max(3.0 * columns, 4.5), 2.7 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (key, ranking) in zip(grid.ravel(), ranked.items(), strict=False):
            _draw(axes, ranking, families)
            axes.set_title(plain(f"{called(key, ranked)}: {spoken(ranking.best, len(families) > 1)}"), loc="left")
            unit = UNITS.get(ranking.criterion)
            axes.set_ylabel(f"behind the best{f' ({unit})' if unit else ''}")
            axes.set_xlabel("components")
        for axes in grid.ravel()[len(ranked) :]:
            axes.set_axis_off()
        if len(families) > 1:
            handles = [_line(i, plain(name)) for i, name in enumerate(families)]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
        figure.draw_without_rendering()  # so that the layout is that of this style
    return figure


def _chosen(ranked: dict, criteria) -> dict:
    if not ranked:
        raise ValueError("there is nothing to draw: no fit of this sweep can be compared; its notes say why.")
    if criteria is None:
        return ranked
    wanted = [criteria] if isinstance(criteria, str) else list(criteria)
    there = sorted({name for name, _ in ranked}, key=list(CRITERIA).index)
    for name in wanted:
        if name not in there:
            raise ValueError(f"criteria={criteria!r} but the criteria of this sweep are {listed(there)}.")
    return {key: ranked[key] for name in wanted for key in ranked if key[0] == name}


def _draw(axes, ranking, families) -> None:
    """One criterion: a line for each family, the best ringed."""
    close = CRITERIA[ranking.criterion].close
    axes.axhspan(0, close, color="#EDEFF2", linewidth=0, zorder=0)
    numbers = sorted(set(ranking.behind.index.get_level_values("n_components")))
    for i, family in enumerate(families):
        if family not in ranking.behind.index.get_level_values("component"):
            continue
        own = ranking.behind.loc[family].sort_index()
        competes, error = ranking.competes.loc[family][own.index], ranking.error.loc[family][own.index]
        hue, marker = method_colour(i), MARKERS[i % len(MARKERS)]
        shown = own.where(competes)
        axes.plot(shown.index, shown, color=hue, linestyle=LINES[i % len(LINES)], linewidth=1.3, zorder=2)
        axes.plot(shown.index, shown, color=hue, marker=marker, markersize=4.5, linestyle="", zorder=3)
        hollow = own[~competes & np.isfinite(own)].clip(lower=0.0)
        axes.plot(hollow.index, hollow, color=hue, marker=marker, markersize=4.5, mfc="white", linestyle="", zorder=3)
        bars = error[competes & (error > 0)]
        if len(bars):
            aside = 0.08 * (i - (len(families) - 1) / 2)  # so that the bars of families stand beside each other
            axes.errorbar(
                bars.index + aside, own[bars.index], yerr=2 * bars, fmt="none", ecolor=hue, elinewidth=0.9, zorder=1
            )
    axes.plot(ranking.best[1], 0.0, marker="o", markersize=11, mfc="none", mec=DARK, mew=1.3, clip_on=False, zorder=4)
    axes.set_yscale("symlog", linthresh=max(close, 1.0), linscale=0.6)
    highest = float(ranking.behind[ranking.competes].max())
    axes.set_ylim(-0.25 * max(close, 1.0), 1.6 * max(highest, 5.0 * close))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(numbers if len(numbers) <= 12 else numbers[:: -(-len(numbers) // 12)])
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.grid(axis="y", color="#E7E9EC", linewidth=0.8)


def _line(i: int, name: str):
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=method_colour(i), linestyle=LINES[i % len(LINES)], marker=MARKERS[i % len(MARKERS)], label=name
    )
