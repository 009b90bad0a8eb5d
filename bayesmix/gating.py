"""Weights that depend on covariates: concomitant variables, the gating of a mixture of experts."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .components import design as designs
from .priors import REAL, as_prior, storable
from .weight_priors import WeightsPrior


@storable
@dataclass(frozen=True)
class Gating(WeightsPrior):
    r"""Weights by multinomial logistic regression on covariates (Dayton & Macready 1988).

    .. math:: \pi_{nk} = \frac{\exp(z_n' \gamma_k)}{\sum_l \exp(z_n' \gamma_l)}, \qquad \gamma_0 = 0

    Also called concomitant variables, or the gating network of a mixture of experts (Jacobs, Jordan, Nowlan & Hinton 1991).
    The coefficients are the parameter ``gating`` (cluster, gating_term), those of the first component zero; ``weights``
    are then the averages of the weights over the rows of the data. Columns of the data that the formula names are not
    modelled by the components.

    Parameters
    ----------
    formula : str
        Covariates in the language of R and formulae, ``"~ z + group"``; it has an intercept.
    coef : PreliZ distribution, optional
        Prior of every coefficient of every component; what is identified is the difference from the first. By default
        Normal(0, 2.5 / (sqrt(2) sd(z))), so that differences have the width of Gelman et al. (2008). EM does not use it.

    Raises
    ------
    TypeError, ValueError
        If the formula cannot be read, or has a response or no intercept.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.Normal(), n_components=2, weights=bm.Gating("~ age")))
    Mixture of 2 Normal() components, weights ~ Gating('~ age')
    """

    formula: str
    coef: Any = None
    alpha: ClassVar[Any] = None  # there is no concentration

    def __post_init__(self):
        left, right = designs.split(self.formula)
        if left:
            raise ValueError(f'gating has no response, but the formula is {self.formula!r}; write "~ {right}".')
        object.__setattr__(self, "coef", as_prior(self.coef, "coef", REAL))

    @property
    def right(self) -> str:
        """The covariates."""
        return designs.split(self.formula)[1]

    def check(self, n_components):
        """Weights of one component have nothing to depend on."""
        if n_components < 2:
            raise ValueError(
                f"n_components={n_components}, but weights can depend on covariates only if there are two."
            )

    @property
    def exchangeable(self):
        """Every component has the same prior."""
        return True

    def log_density(self, weights, alpha=None):
        """Not of the average weights."""
        raise TypeError(_NO_WEIGHTS)

    def draw_given_counts(self, counts, rng, alpha=None):
        """Not without covariates."""
        raise TypeError(_NO_WEIGHTS)

    def log_allocations(self, counts, alpha=None):
        """Not without covariates."""
        raise TypeError(_NO_WEIGHTS)

    def pymc_variables(self, n_components):
        """The components make them: `bayesmix.components.gated`."""
        raise TypeError(_NO_WEIGHTS)

    def start_values(self, weights: np.ndarray) -> dict:
        """None: the average weights are no variable."""
        return {}

    def __str__(self):
        return f"Gating({self.formula!r}{'' if self.coef is None else f', coef={self.coef}'})"


_NO_WEIGHTS = (
    "weights under Gating depend on the covariates of each row, so that no one vector of weights has a density or is drawn; "
    "use bm.em, bm.nuts, bm.advi or bm.laplace."
)
