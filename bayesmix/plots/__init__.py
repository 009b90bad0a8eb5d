"""Pictures of fits and of comparisons, as matplotlib Figures."""

from .calibration import plot_calibration
from .comparison import plot_comparison, plot_densities, plot_intervals
from .density import plot_fit
from .partitions import plot_coclustering, plot_uncertainty
from .sweep import plot_sweep

__all__ = [
    "plot_calibration",
    "plot_coclustering",
    "plot_comparison",
    "plot_densities",
    "plot_fit",
    "plot_intervals",
    "plot_sweep",
    "plot_uncertainty",
]
