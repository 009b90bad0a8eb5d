"""Pictures of fits and of comparisons, as matplotlib Figures."""

from .comparison import plot_comparison, plot_densities, plot_intervals
from .density import plot_fit

__all__ = ["plot_comparison", "plot_densities", "plot_fit", "plot_intervals"]
