"""What all pictures share: colours that colour-blind readers tell apart, a figure that notebooks show, axis labels."""

import io
from typing import Any

from matplotlib.figure import Figure

# Okabe & Ito (2008): one half for the components of a mixture, the other for methods, so that no colour means both.
COMPONENTS = ("#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#7A6A00", "#8F8F8F", "#6A4FA3", "#A8C545")
METHODS = ("#1F1F1F", "#D55E00", "#009E73", "#8B3FA0", "#B07D2B", "#4C78A8")
LINES = ((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "D", "^", "v", "P")
DATA = "#D9DDE2"  # bars of the data
POINTS = "#A4ABB5"  # points of the data, where colours belong to methods
DARK = "#2B2F36"  # text, and the mixture as a whole

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.edgecolor": "#8A9099",
    "axes.linewidth": 0.8,
    "axes.labelcolor": DARK,
    "axes.titlecolor": DARK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#5B626C",
    "ytick.color": "#5B626C",
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": DARK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
}


class Picture(Figure):
    """A matplotlib Figure that notebooks show without pyplot."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def component_colour(k: int) -> str:
    """Colour of component k; they repeat after eight."""
    return COMPONENTS[k % len(COMPONENTS)]


def method_colour(i: int) -> str:
    """Colour of the i-th method; they repeat after six."""
    return METHODS[i % len(METHODS)]


def axis_label(data, j: int, units=None) -> str:
    """Name of a column with its unit, "waiting (min)"; "x" for a single column without a name."""
    name = data.feature[j]
    unit = (units or {}).get(name)
    called = str(name) if data.named else ("x" if data.n_features == 1 else f"x[{name}]")
    return plain(f"{called} ({unit})" if unit and unit != "1" else called)


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: dollar signs start formulas otherwise."""
    return text.replace("$", r"\$")
