"""Fits side by side: their densities over the data, their estimates with intervals."""

from typing import Any

import matplotlib
import numpy as np

from .density import (
    LARGEST_MATRIX,
    draw_curve,
    draw_ellipses,
    draw_histogram,
    draw_rows,
    label_density,
    legend_beside,
    marginal_density,
    matrix,
    points_on,
)
from .style import LINES, MARKERS, POINTS, STYLE, Picture, axis_label, method_colour, plain

LARGEST_FOREST = 16  # parameters whose intervals are drawn
SEPARATE = 4  # up to so many components each has a panel, with a scale of its own


def plot_comparison(comparison, units=None, figsize=None):
    """Draw the fitted densities over the data, and below the estimates with their intervals.

    Parameters
    ----------
    comparison : Comparison
    units : dict, optional
        Units of the columns, for the axis labels.
    figsize : tuple of float, optional
        Width and height, in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    above, below = densities_size(comparison), intervals_size(comparison)
    size = figsize or (max(above[0], below[0]), above[1] + below[1])
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=size, layout="constrained")
        rows: Any = figure.subfigures(2, 1, height_ratios=[above[1], below[1]])
        top, bottom = rows
        draw_densities(top, comparison, units)
        draw_intervals(bottom, comparison)
        figure.draw_without_rendering()
    return figure


def plot_densities(comparison, units=None, figsize=None):
    """Draw the fitted densities of all methods over the data; parameters and returns as `plot_comparison`."""
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize or densities_size(comparison), layout="constrained")
        draw_densities(figure, comparison, units)
        figure.draw_without_rendering()
    return figure


def plot_intervals(comparison, figsize=None):
    """Draw estimates and intervals of all methods side by side, each group of parameters on its own scale.

    Dots are the estimates, lines the equal-tailed intervals of the comparison; parameters and returns as
    `plot_comparison`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize or intervals_size(comparison), layout="constrained")
        draw_intervals(figure, comparison)
        figure.draw_without_rendering()
    return figure


# -- densities -------------------------------------------------------------------------------------------------------
def densities_size(comparison) -> tuple[float, float]:
    """Width and height, in inches, that suit the number of columns and of methods."""
    d = min(comparison.fits[comparison.reference].data.n_features, LARGEST_MATRIX)
    if d == 1:
        return 8.0, 3.6
    if d == 2:
        columns = min(3, len(comparison.fits))
        rows = -(-len(comparison.fits) // columns)
        return max(8.0, 2.8 * columns), 3.3 * rows if columns > 1 else 4.5
    return 8.0, 1.55 * d + 0.8


def draw_densities(figure, comparison, units=None) -> None:
    """One column: curves over the histogram. Two: a panel per method. More: all pairs, methods over each other."""
    fits, reference = comparison.fits, comparison.fits[comparison.reference]
    data = reference.data
    if data.n_features == 1:
        axes = figure.add_subplot()
        draw_histogram(axes, reference)
        for i, (name, fit) in enumerate(fits.items()):
            look = {"hue": method_colour(i), "dashes": LINES[i % len(LINES)]}
            draw_curve(axes, fit, components=False, band=False, label=plain(name), **look)
        label_density(axes, reference, axis_label(data, 0, units))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
        axes.set_title("Fitted densities over the data", loc="left")
        return
    if data.n_features == 2:
        columns = min(3, len(fits))
        rows = -(-len(fits) // columns)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for i, axes in enumerate(grid.ravel()):
            if i >= len(fits):
                axes.set_axis_off()
                continue
            name, fit = list(fits.items())[i]
            draw_rows(axes, fit, 0, 1, size=9)
            draw_ellipses(axes, fit, 0, 1)
            axes.set_title(plain(name), loc="left")
            if i % columns == 0:
                axes.set_ylabel(axis_label(data, 1, units))
            if i + columns >= len(fits):
                axes.set_xlabel(axis_label(data, 0, units))
        return
    shown = list(range(min(data.n_features, LARGEST_MATRIX)))
    grid = matrix(figure, reference, shown, units)
    for row, j in enumerate(shown):
        for column, i in enumerate(shown[: row + 1]):
            axes = grid[row, column]
            if i == j:
                draw_histogram(axes, reference, i)
            else:
                draw_rows(axes, reference, i, j, size=6, hue=POINTS)
            for m, fit in enumerate(fits.values()):
                look = {"hue": method_colour(m), "dashes": LINES[m % len(LINES)]}
                if i == j:
                    x = points_on(fit, i)
                    density = marginal_density(fit, i, x).sum(axis=1)
                    axes.plot(x, density, color=look["hue"], linestyle=look["dashes"])
                else:
                    draw_ellipses(axes, fit, i, j, levels=(0.95,), mark=False, **look)
    legend_beside(grid, _method_legend(fits, lines=True), "ellipses hold 95% of a component")


def _method_legend(fits, lines: bool) -> list:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=method_colour(i),
            linewidth=1.6,
            linestyle=LINES[i % len(LINES)] if lines else "-",
            marker="" if lines else MARKERS[i % len(MARKERS)],
            markersize=5,
            label=plain(name),
        )
        for i, name in enumerate(fits)
    ]


# -- intervals -------------------------------------------------------------------------------------------------------
def panels(comparison) -> list[list]:
    """Entries of the parameters by panel, in lines of a grid.

    Few components: one panel for each entry, the components of a parameter beside each other. Many: one panel for
    each parameter and place, with all components in it. Where panels would be too many, entries off the diagonal of
    matrices go first.
    """
    groups: dict[tuple, list] = {}
    for entry in comparison.entries:
        groups.setdefault((entry.variable, entry.index[1:]), []).append(entry)
    if len(groups) > LARGEST_FOREST:
        groups = {key: group for key, group in groups.items() if len(set(key[1])) <= 1}
    lines = list(groups.values())[:LARGEST_FOREST]
    if comparison.fits[comparison.reference].mixture.n_components <= SEPARATE:
        return [[[entry] for entry in group] for group in lines]
    return [lines[i : i + 3] for i in range(0, len(lines), 3)]


def intervals_size(comparison) -> tuple[float, float]:
    """Width and height, in inches, that suit the panels."""
    grid = panels(comparison)
    lines = max((len(panel) for line in grid for panel in line), default=1) * len(_shown(comparison))
    return 8.0, len(grid) * (0.48 + 0.13 * max(lines, 2)) + 0.5


def _shown(comparison) -> list[str]:
    return [name for name in comparison.fits if comparison._is_shown(name)]


def draw_intervals(figure, comparison) -> None:
    """Forest plots: a panel with its own scale for each parameter, a line for each component and method."""
    lines, names = panels(comparison), _shown(comparison)
    if not lines:
        return
    grid = figure.subplots(len(lines), max(map(len, lines)), squeeze=False)
    order = {name: i for i, name in enumerate(comparison.fits)}
    features = [str(name) for name in comparison.fits[comparison.reference].data.feature]
    for row, column in np.ndindex(grid.shape):
        axes = grid[row, column]
        if column >= len(lines[row]):
            axes.set_axis_off()
            continue
        panel = lines[row][column]
        for entry in panel:
            values = comparison.parameters[entry.variable]
            for m, name in enumerate(names):
                estimate, _, lower, upper = values.sel({"fit": name}).values[:, *entry.index]
                y = entry.index[0] + ((m + 0.5) / len(names) - 0.5) * 0.7
                look = {"color": method_colour(order[name]), "marker": MARKERS[order[name] % len(MARKERS)]}
                if np.isfinite(lower):
                    axes.plot([lower, upper], [y, y], linewidth=1.8, solid_capstyle="butt", **look | {"marker": ""})
                axes.plot(estimate, y, markersize=4.5, linestyle="", **look)
        clusters = [entry.index[0] for entry in panel]
        place = ", ".join(features[i] for i in panel[0].index[1:])
        many = f"{panel[0].variable}[{place}]" if place else panel[0].variable
        axes.set_title(plain(panel[0].label if len(panel) == 1 else many), loc="left", fontsize=8.5)
        axes.set_ylim(max(clusters) + 0.5, min(clusters) - 0.5)
        axes.set_yticks(clusters if len(panel) > 1 else [], [str(k) for k in clusters] if len(panel) > 1 else [])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#E7E9EC", linewidth=0.8)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        if len(panel) > 1 and column == 0:
            axes.set_ylabel("component")
    every = zip(comparison.fits, _method_legend(comparison.fits, lines=False), strict=True)
    handles = [handle for name, handle in every if name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
