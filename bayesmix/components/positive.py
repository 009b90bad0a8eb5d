"""What families on the positive line share: default priors made of the mean and the variation of the data.

Such data are measured in units of their own and often span orders of magnitude. So priors are stated for logarithms:
the components' means vary half as much again as the rows do, and within a component rows vary K times less.
"""

from typing import Any, NamedTuple

import numpy as np

from ..arrays import Data
from ..priors import POSITIVE, Prior, ProportionalLogNormal
from .normal import moments

WIDER = 1.5  # priors of components' means than the data
MEAN_NOTE = "about the median of a log-normal distribution like the data, half as wide again"
LEAST_VARIATION = 1e-3  # coefficient of variation that priors are made for, at least
PRECISION_NOTE = "components that vary K times less than the data, within a factor of e"


class Positive(NamedTuple):
    """Mean and coefficient of variation of positive numbers, and a log-normal prior of the means of parts of them."""

    mean: float
    variation: float

    @property
    def median(self) -> float:
        """Median of the log-normal distribution of this mean and variation."""
        return float(self.mean / np.sqrt(1.0 + self.variation**2))

    @property
    def width(self) -> float:
        """Standard deviation of the logarithm of parts' means: `WIDER` than that of the log-normal distribution."""
        return float(WIDER * np.sqrt(np.log1p(self.variation**2)))

    def within(self, n_components: int | None) -> float:
        """Coefficient of variation to expect within one of K components; half of it for a random number of them."""
        return self.variation / (n_components or 2)


def variation_of(data, change=None) -> Positive:
    """Mean and variation of the data, or of what `change` makes of them: ``np.reciprocal`` for example."""
    mean, variance = moments(data) if change is None else moments(changed(data, change))
    return Positive(float(mean[0]), max(float(np.sqrt(variance[0]) / mean[0]), LEAST_VARIATION))


def changed(data, change) -> Data:
    """The data with another column; of data that are not in memory, a sample of their rows."""
    rows: Any = data if hasattr(data, "values") else data.sample
    return Data(change(rows.modelled), rows.feature, rows.named, rows.obs, rows.weights)


def log_normal(middle: float, sigma: float) -> Prior:
    """Log-normal prior with this median."""
    return Prior.of("LogNormal", POSITIVE, mu=np.log(middle), sigma=sigma)


def proportional(of: str, middle: float, sigma: float) -> ProportionalLogNormal:
    """Log-normal prior whose median is `middle` times another parameter."""
    return ProportionalLogNormal(of, float(np.log(middle)), sigma)
