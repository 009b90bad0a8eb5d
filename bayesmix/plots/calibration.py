"""How far an engine's ranks are from uniform, with the band in which a calibrated engine stays."""

import matplotlib
import numpy as np

from ..calibration import BAND, Calibration
from .style import DATA, METHODS, STYLE, Picture, plain

COLUMNS = 4


def plot_calibration(calibration: Calibration, *, figsize=None, title: str | None = None):
    """Draw, for each quantity, the cumulative distribution of its PIT less that of a uniform one, and the band.

    A curve that rises to the left and falls to the right of the middle has intervals that are too narrow, one above or
    below the line throughout is off to one side (Säilynoja, Bürkner & Vehtari 2022).

    Parameters
    ----------
    calibration : Calibration
        As `bayesmix.calibrate` returns it.
    figsize : tuple of float, optional
        Width and height, in inches.
    title : str, optional
        None says which engine, and over how many data sets.

    Returns
    -------
    matplotlib.figure.Figure
    """
    curves = calibration.curves()
    n_rows = -(-len(curves) // COLUMNS)
    columns = min(COLUMNS, len(curves))
    with matplotlib.rc_context(STYLE):
        figure = Picture(figsize=figsize or (2.1 * columns + 0.6, 1.7 * n_rows + 0.7), layout="constrained")
        panels = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, (name, curve) in zip(panels.flat, curves.items(), strict=False):
            x, ecdf, lower, upper = (
                np.concatenate([[end], part, [end]]) for end, part in zip((0,) * 4, curve, strict=True)
            )
            x[-1] = 1.0
            ecdf[-1], lower[-1], upper[-1] = 1.0, 1.0, 1.0
            panel.fill_between(x, lower - x, upper - x, color=DATA, step="mid", linewidth=0)
            inside = bool(np.all((ecdf >= lower - 1e-12) & (ecdf <= upper + 1e-12)))
            panel.axhline(0.0, color="#8A9099", linewidth=0.8)
            panel.step(x, ecdf - x, where="mid", color=METHODS[0] if inside else METHODS[1], linewidth=1.2)
            panel.set_title(plain(name) + ("" if inside else ": outside"), fontweight="normal", fontsize=8.5)
        for panel in panels.flat[len(curves) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel("ECDF − uniform")
        for column in range(columns):
            lowest = max(row for row in range(n_rows) if row * COLUMNS + column < len(curves))
            panels[lowest, column].set_xlabel("share of draws below the truth")
            panels[lowest, column].xaxis.set_tick_params(labelbottom=True)
        said = f"{calibration.engine}: {calibration.n} data sets, bands of {BAND:.0%} for all quantities together"
        figure.suptitle(said if title is None else title, fontsize=10.0, fontweight="bold")
    return figure
