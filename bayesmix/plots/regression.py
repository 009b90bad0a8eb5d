"""A fitted mixture of regressions: the rows, coloured by component, and the components' curves."""

import json

import matplotlib
import numpy as np

from ..agreement import thinned
from ..components.design import variables
from ..components.regression import Regression
from ..fit import Fit
from ..prediction import with_row_axis
from .density import DRAWS, SHOWN_ROWS, SVG_POINTS, _component_legend, _draws_for_band, _title
from .style import DARK, STYLE, Picture, component_colour, plain

GRID = 200  # points of a curve


def plot_regression(fit: Fit, *, ci_prob: float = 0.89, figsize=None, title: str | None = None, units=None):
    """Draw the response over its covariate, or over the fitted means if there are several.

    With one numeric covariate: the rows, coloured by responsibility; the mean of each component; a light band that holds
    `ci_prob` of the component's responses, and for fits with draws an equal-tailed band of the mean, darker. With several
    covariates: the response of each row over the mean of its most probable component.

    Parameters
    ----------
    fit : Fit
        Of a mixture of `Regression` components, with rows.
    ci_prob : float
        Probability of the bands.
    figsize : tuple of float, optional
        Width and height, in inches.
    title : str, optional
        None says what was fitted and how.
    units : dict, optional
        Units of response and covariate, for the axis labels.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if fit.data.n_obs == 0:
        raise ValueError(f"there is nothing to draw this fit over: {fit.why_no_data}.")
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize or (6.4, 4.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(_title(fit) if title is None else plain(title), loc="left")
        where = _covariate(fit)
        if where is None:
            _over_means(axes, fit)
        else:
            _over_covariate(axes, fit, *where, ci_prob)
        response = fit.data.feature[0]
        for set_label, name in ((axes.set_ylabel, response), (axes.set_xlabel, None if where is None else where[0])):
            if name is not None:
                set_label(plain(f"{name} ({units[name]})" if units and name in units else name))
        figure.legend(handles=_component_legend(fit), loc="outside lower center", ncols=4)
        figure.draw_without_rendering()
    return figure


def _regression(fit) -> Regression:
    component = fit.mixture.component
    assert isinstance(component, Regression)
    return component


def _covariate(fit):
    """Name and values of the one covariate, and rows to draw curves at with their places; None if there are several."""
    import pandas as pd

    component, data = _regression(fit), fit.data
    design = component.design
    assert design is not None
    names = variables(design.formula)
    if len(names) != 1:
        return None
    columns = data.values[:, data.n_features :]
    known = json.loads(design.rows)
    if names[0] in design.terms:
        x = columns[:, design.terms.index(names[0])]
    elif known["length"] == data.n_obs:
        x = np.asarray(known["columns"][names[0]]["values"])
    else:
        x = None
    if x is not None and np.asarray(x).dtype.kind in "iuf":
        grid = np.linspace(np.min(x), np.max(x), GRID)
        matrix = design.matrix(pd.DataFrame({names[0]: grid}))
        return names[0], np.asarray(x, dtype=float), grid, matrix
    places = [j for j in range(len(design.terms)) if len(np.unique(columns[:, j])) > 2]
    if not places:
        return None
    if design.labels == ("Intercept", design.terms[places[0]]):
        grid = np.linspace(columns[:, 1].min(), columns[:, 1].max(), GRID)
        return design.terms[1], columns[:, 1], grid, np.stack([np.ones(GRID), grid], axis=1)
    order = np.argsort(columns[:, places[0]])
    return design.terms[places[0]], columns[:, places[0]], columns[order, places[0]], columns[order]


def _colours(fit, shown):
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(component_colour(k)) for k in range(fit.mixture.n_components)])
    return np.clip(thinned(fit, DRAWS).responsibilities(fit.data.take(shown)).values @ palette, 0, 1)


def _scatter(axes, fit, x):
    shown = np.flatnonzero(~np.isnan(fit.data.values[:, 0]))
    if len(shown) > SHOWN_ROWS:
        shown = np.sort(np.random.default_rng(0).choice(shown, SHOWN_ROWS, replace=False))
    axes.scatter(
        x[shown],
        fit.data.values[shown, 0],
        c=_colours(fit, shown),
        s=16 * min(1.0, (1500 / len(shown)) ** 0.5),
        alpha=0.75 if len(shown) < 2000 else 0.4,
        linewidths=0,
        zorder=3,
        rasterized=len(shown) > SVG_POINTS,
    )


def _over_covariate(axes, fit, name, x, at, matrix, ci_prob):
    component = _regression(fit)
    tails = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    rows = np.concatenate([np.full((len(at), 1), np.nan), matrix], axis=1)
    own = {name: value for name, value in fit.estimates.items() if name != "weights"}
    mean = component.mean(rows, own)
    low, high = (component.quantile(q, rows, own) for q in tails)
    draws = _draws_for_band(fit)
    spread = None if draws is None else np.quantile(component.mean(rows, with_row_axis(draws)[1]), tails, axis=0)
    _scatter(axes, fit, x)
    for k in range(fit.mixture.n_components):
        colour = component_colour(k)
        axes.fill_between(at, low[:, k], high[:, k], color=colour, alpha=0.10, linewidth=0, zorder=1)
        if spread is not None:
            axes.fill_between(at, spread[0][:, k], spread[1][:, k], color=colour, alpha=0.30, linewidth=0, zorder=2)
        axes.plot(at, mean[:, k], color=colour, linewidth=1.8, zorder=4)


def _over_means(axes, fit):
    component, data = _regression(fit), fit.data
    own = {name: value for name, value in fit.estimates.items() if name != "weights"}
    means = component.mean(data.values, own)
    labels = np.asarray(thinned(fit, DRAWS).responsibilities(data)).argmax(axis=1)
    x = means[np.arange(len(means)), labels]
    _scatter(axes, fit, x)
    ends = [np.min(x), np.max(x)]
    axes.plot(ends, ends, color=DARK, linewidth=1.0, zorder=2)
    axes.set_xlabel("mean of the most probable component")
