"""A fitted mixture over its data: density, components, and how sure they are."""

from typing import Any

import matplotlib
import numpy as np

from ..agreement import thinned
from ..fit import Fit
from .style import DARK, DATA, STYLE, Picture, axis_label, component_colour, plain

DRAWS = 400  # draws that a band or an averaged density is computed from
AVERAGED = 100  # rows that densities are averaged over, of components that condition on columns
LARGEST_MATRIX = 5  # features shown in pairs
SHOWN_ROWS = 20_000  # points of a scatter plot; more are sampled
SVG_POINTS = 3000  # points above which a scatter becomes a bitmap inside a vector graphic
ELLIPSES = (0.5, 0.95)  # probabilities that the ellipses of a component enclose


def plot_fit(fit: Fit, *, features=None, units=None, ci_prob: float = 0.89, figsize=None, title: str | None = None):
    """Draw the fitted density over the data.

    One column: histogram, or bars for counts; the mixture, its components times their weights, and for fits with
    draws an equal-tailed band of the mixture's density. Two columns: the rows, coloured by responsibility, and the
    ellipses that hold 50 % and 95 % of each component. More: all pairs of the first five, marginal densities on the
    diagonal.

    Parameters
    ----------
    fit : Fit
    features : sequence of str or int, optional
        Names of the columns to show.
    units : dict, optional
        Units of the columns, for the axis labels: ``{"waiting": "min"}``.
    ci_prob : float
        Probability of the band.
    figsize : tuple of float, optional
        Width and height, in inches.
    title : str, optional
        None says what was fitted and how.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from ..components.regression import Regression

    if isinstance(fit.mixture.component, Regression):
        from .regression import plot_regression

        return plot_regression(fit, ci_prob=ci_prob, figsize=figsize, title=title, units=units)
    data = fit.data
    if data.n_obs == 0 and (data.n_features > 1 or "derived" not in fit.tree.attrs):
        raise ValueError(
            f"there is nothing to draw this fit over: {fit.why_no_data}."
            + (" Draw one column of it, fit.marginal([...]).plot()." if "derived" in fit.tree.attrs else "")
        )
    columns = _columns(data, features)
    n = len(columns)
    size = figsize or ((6.4, 4.0) if n == 1 else (6.0, 4.8) if n == 2 else (1.9 * n + 0.6, 1.9 * n + 0.6))
    heading = _title(fit) if title is None else plain(title)
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=size, layout="constrained")
        if n <= 2:
            axes = figure.add_subplot()
            axes.set_title(heading, loc="left")
        if data.n_features == 1:
            if data.n_obs > 0:
                draw_histogram(axes, fit)
            draw_curve(axes, fit, ci_prob=ci_prob)
            label_density(axes, fit, axis_label(data, 0, units))
            figure.legend(loc="outside right upper")
        elif n == 1:
            draw_marginal(axes, fit, columns[0])
            label_density(axes, fit, axis_label(data, columns[0], units))
            figure.legend(loc="outside right upper")
        elif n == 2:
            draw_rows(axes, fit, *columns)
            draw_ellipses(axes, fit, *columns)
            axes.set(xlabel=axis_label(data, columns[0], units), ylabel=axis_label(data, columns[1], units))
            figure.legend(
                handles=_component_legend(fit),
                loc="outside lower center",
                ncols=4,
                title=_ellipse_words(),
                title_fontsize=8,
            )
        else:
            grid = matrix(figure, fit, columns, units)
            for row, j in enumerate(columns):
                for column, i in enumerate(columns[: row + 1]):
                    if i == j:
                        draw_marginal(grid[row, column], fit, i)
                    else:
                        draw_rows(grid[row, column], fit, i, j, size=7)
                        draw_ellipses(grid[row, column], fit, i, j)
            legend_beside(grid, _component_legend(fit), _ellipse_words())
            figure.suptitle(heading, x=0.02, ha="left", fontsize=10, fontweight="bold")
        figure.draw_without_rendering()  # so that the layout is that of this style
    return figure


# -- one column ------------------------------------------------------------------------------------------------------
def draw_histogram(axes, fit: Fit, feature: int = 0, **settings) -> None:
    """Draw the data of one column as a density: histogram, or one bar per count."""
    data = fit.data
    seen = ~np.isnan(data.values[:, feature])
    x, row_weights = data.values[seen, feature], None if data.weights is None else data.weights[seen]
    look = {"color": DATA, "label": "data", "zorder": 1} | settings
    if fit.mixture.component.discrete:
        count, where = np.unique(x, return_inverse=True)
        weight = np.bincount(where, weights=row_weights)
        axes.bar(count, weight / weight.sum(), width=0.85, **look)
    else:
        axes.hist(x, bins=bin_edges(x), weights=row_weights, density=True, edgecolor="white", linewidth=0.5, **look)


def bin_edges(x: np.ndarray) -> np.ndarray:
    """Edges after Freedman & Diaconis (1981), 8 to 60 bins."""
    low, high = x.min(), x.max()
    iqr = np.subtract(*np.quantile(x, [0.75, 0.25]))
    width = 2 * iqr * len(x) ** (-1 / 3)
    n = int(np.clip(np.ceil((high - low) / width), 8, 60)) if width > 0 else 20
    return np.linspace(low, high, 1 + n) if high > low else np.array([low - 0.5, low + 0.5])


def points_on(fit: Fit, feature: int = 0) -> np.ndarray:
    """Points at which a density of one column is drawn: all counts, or 400 over the data and the components' tails."""
    x = fit.data.values[:, feature]
    low, high = np.nanmin(x, initial=np.inf), np.nanmax(x, initial=-np.inf)
    if not fit.mixture.component.given:  # where tails differ from row to row, the rows themselves tell how far they go
        own = {name: value for name, value in fit.estimates.items() if name != "weights"}
        ends = (fit.mixture.component.marginal_quantile(q, own)[..., feature] for q in (0.002, 0.998))
        low, high = min(low, next(ends).min()), max(high, next(ends).max())
    if fit.mixture.component.discrete:
        step = max(1, int((high - low) // 2000))
        return np.arange(np.floor(low), np.ceil(high) + 1, step)
    width = high - low
    return np.linspace(low - 0.03 * width, high + 0.03 * width, 401)


def draw_curve(
    axes, fit: Fit, *, ci_prob: float = 0.89, components=True, band=True, hue=DARK, dashes="-", label=None
) -> None:
    """Draw the density of a mixture on one column, with its components and a band over the draws."""
    x = points_on(fit)
    discrete = fit.mixture.component.discrete
    marker = {"marker": "o", "markersize": 3.2} if discrete and len(x) <= 60 else {}
    draws = _draws_for_band(fit)
    if band and draws is not None:
        tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
        low, high = np.quantile(mixture_density(draws, fit, x).sum(axis=-1), tails, axis=0)
        axes.fill_between(x, low, high, color=hue, alpha=0.2, linewidth=0, label=f"{ci_prob:.0%} band", zorder=2)
    parts = mixture_density(thinned(fit, DRAWS).draws, fit, x).mean(axis=0)
    if components:
        weights = fit.estimates["weights"]
        for k in range(fit.mixture.n_components):
            called = f"component {k} ({weights[k]:.0%})"
            axes.plot(x, parts[:, k], color=component_colour(k), linewidth=1.4, label=called, zorder=3, **marker)
    if not components or fit.mixture.n_components > 1:
        look = {"color": hue, "linewidth": 1.6, "linestyle": dashes, "label": label or "mixture"}
        axes.plot(x, parts.sum(axis=1), zorder=4, **look, **marker)


def mixture_density(draws: dict, fit: Fit, x: np.ndarray) -> np.ndarray:
    """Weight times density of each component on one column, (draws, points, cluster).

    Where components condition on other columns, averaged over these in up to 100 rows of the data, evenly spaced.
    """
    own = {name: value[:, None] for name, value in draws.items() if name != "weights"}
    component: Any = fit.mixture.component
    data = fit.data
    if not component.given:
        return draws["weights"][:, None] * np.exp(component.log_density(x[:, None], own))
    total, rows = 0.0, np.unique(np.linspace(0, data.n_obs - 1, min(data.n_obs, AVERAGED)).round().astype(int))
    for given in data.values[rows, data.n_features :]:
        at = np.column_stack([x, np.broadcast_to(given, (len(x), len(given)))])
        total = total + np.exp(component.log_density(at, own))
    return draws["weights"][:, None] * (total / len(rows))


def _draws_for_band(fit: Fit) -> dict | None:
    """Draws of the parameters for a band, at most 400, or None; of EM those of its sampling distribution."""
    if not fit.has_draws:
        return None
    flat = fit.posterior_draws
    step = -(-len(flat["weights"]) // DRAWS)
    return {name: value[::step] for name, value in flat.items()}


def marginal_density(fit: Fit, feature: int, x: np.ndarray) -> np.ndarray:
    """Weight times marginal density of each component in one column, (points, cluster), at the estimates.

    Differences of the marginal cdf, which every family has, over a hundredth of the points' spacing.
    """
    estimates = fit.estimates
    own = {name: value for name, value in estimates.items() if name != "weights"}
    component: Any = fit.mixture.component
    if component.discrete:
        step, width = np.array([0.0, 1.0]), 1.0
    else:
        width = 0.02 * (x[1] - x[0])
        step = np.array([0.5, 0.5]) * width
    high, low = (component.marginal_cdf(point, own, feature) for point in (x + step[0], x - step[1]))
    return estimates["weights"] * (high - low) / width


def draw_marginal(axes, fit: Fit, feature: int, components: bool = True) -> None:
    """Draw the marginal density of one column of several, over its histogram."""
    draw_histogram(axes, fit, feature)
    x = points_on(fit, feature)
    parts = marginal_density(fit, feature, x)
    for k in range(fit.mixture.n_components) if components else ():
        called = f"component {k} ({fit.estimates['weights'][k]:.0%})"
        axes.plot(x, parts[:, k], color=component_colour(k), linewidth=1.2, label=called)
    axes.plot(x, parts.sum(axis=1), color=DARK, linewidth=1.4, label="mixture")


def label_density(axes, fit, label) -> None:
    """Name the axes of a density, which begins at 0; counts have whole numbers on theirs."""
    axes.set(xlabel=label, ylabel="probability" if fit.mixture.component.discrete else "density")
    axes.set_ylim(bottom=0)
    if fit.mixture.component.discrete:
        axes.xaxis.get_major_locator().set_params(integer=True)


# -- two columns -----------------------------------------------------------------------------------------------------
def draw_rows(axes, fit: Fit, i: int, j: int, size: float = 14, hue=None) -> None:
    """Scatter two columns; each point's colour blends those of the components by its responsibilities."""
    data = fit.data
    shown = np.arange(data.n_obs)
    if data.n_obs > SHOWN_ROWS:
        shown = np.sort(np.random.default_rng(0).choice(data.n_obs, SHOWN_ROWS, replace=False))
    if hue is None:
        from matplotlib.colors import to_rgb

        palette = np.array([to_rgb(component_colour(k)) for k in range(fit.mixture.n_components)])
        hue = np.clip(thinned(fit, DRAWS).responsibilities(data.take(shown)).values @ palette, 0, 1)
    axes.scatter(
        *data.values[shown][:, [i, j]].T,
        c=hue,
        s=size * min(1.0, (1500 / len(shown)) ** 0.5),
        alpha=0.7 if len(shown) < 2000 else 0.4,
        linewidths=0,
        rasterized=len(shown) > SVG_POINTS,
    )


def draw_ellipses(axes, fit: Fit, i: int, j: int, *, hue=None, dashes="-", levels=ELLIPSES, mark: bool = True) -> None:
    r"""Ellipses that hold the given shares of each component, in two columns, at the estimates.

    The squared Mahalanobis distance of a bivariate normal is :math:`\chi^2_2`: a share p lies within
    :math:`-2 \log(1 - p)`. Families without a covariance have none.
    """
    from matplotlib import patheffects
    from matplotlib.patches import Ellipse

    estimates = fit.estimates
    if "cov" not in estimates:
        return
    for k in range(fit.mixture.n_components):
        centre, cov = estimates["mu"][k][[i, j]], estimates["cov"][k][np.ix_([i, j], [i, j])]
        values, vectors = np.linalg.eigh(cov)
        angle = np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))
        own = component_colour(k) if hue is None else hue
        for share in levels:
            radius = np.sqrt(-2 * np.log1p(-share))
            width, height = 2 * radius * np.sqrt(np.maximum(values[::-1], 0))
            thick = 1.8 if share == min(levels) else 1.2
            axes.add_patch(
                Ellipse(centre, width, height, angle=angle, fill=False, ec=own, linewidth=thick, linestyle=dashes)
            )
        if mark:
            halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
            axes.text(*centre, str(k), color=own, weight="bold", ha="center", va="center", path_effects=halo, zorder=5)
    axes.autoscale_view()


def _ellipse_words() -> str:
    return "ellipses hold {} of a component".format(" and ".join(f"{share:.0%}" for share in ELLIPSES))


def _component_legend(fit: Fit) -> list:
    from matplotlib.lines import Line2D

    weights = fit.estimates["weights"]
    return [
        Line2D([], [], color=component_colour(k), marker="o", markersize=5, label=f"component {k} ({weights[k]:.0%})")
        for k in range(fit.mixture.n_components)
    ]


# -- more columns ----------------------------------------------------------------------------------------------------
def matrix(figure, fit: Fit, columns, units) -> np.ndarray:
    """Axes of the lower triangle of a matrix of pairs, labelled at the edge, the others switched off."""
    data, n = fit.data, len(columns)
    grid = figure.subplots(n, n, sharex="col", squeeze=False)
    for row, column in np.ndindex(n, n):
        axes = grid[row, column]
        if column > row:
            axes.set_axis_off()
            continue
        axes.set_xlim(limits(fit, columns[column]))
        if column < row:
            axes.set_ylim(limits(fit, columns[row]))
        if row == n - 1:
            axes.set_xlabel(axis_label(data, columns[column], units))
        if row == column:
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        elif column == 0:
            axes.set_ylabel(axis_label(data, columns[row], units))
        else:
            axes.tick_params(labelleft=False)
    return grid


def limits(fit: Fit, feature: int) -> tuple[float, float]:
    """Find the ends of an axis that shows all rows, and the ellipses of all components."""
    x = fit.data.values[:, feature]
    own = {name: value for name, value in fit.estimates.items() if name != "weights"}
    low, high = (fit.mixture.component.marginal_quantile(q, own)[..., feature] for q in (0.006, 0.994))
    low, high = min(low.min(), np.nanmin(x)), max(high.max(), np.nanmax(x))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def legend_beside(grid, handles, words=None) -> None:
    """Put a legend into the empty corner of a matrix of pairs."""
    legend = grid[0, 1].legend(
        handles=handles, loc="upper left", title=words, title_fontsize=8, borderaxespad=0, alignment="left"
    )
    legend.set_in_layout(False)  # it may reach over the empty axes beside it


def _columns(data, features) -> list[int]:
    if features is None:
        return list(range(min(data.n_features, LARGEST_MATRIX)))
    wanted = [features] if isinstance(features, str | int) else list(features)
    unknown = [name for name in wanted if name not in data.feature]
    if unknown or not wanted:
        raise ValueError(f"features={features!r} but the columns are {', '.join(map(str, data.feature))}.")
    return [data.feature.index(name) for name in wanted]


def _title(fit: Fit) -> str:
    k, family = fit.mixture.n_components, type(fit.mixture.component).__name__
    said = f"Mixture of {k} {family} component{'s' * (k != 1)} by {fit.engine.upper()}"
    hidden = fit.data.n_features - LARGEST_MATRIX
    return plain(said + (f" (first {LARGEST_MATRIX} of {fit.data.n_features} columns)" if hidden > 0 else ""))
