"""Families of components, one per file."""

from .. import priors
from .base import Component as Component
from .bernoulli import Bernoulli
from .binomial import Binomial
from .chi_squared import ChiSquared
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .half_normal import HalfNormal
from .inverse_gamma import InverseGamma
from .laplace import Laplace
from .log_normal import LogNormal
from .mvnormal import MvNormal
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .product import Part, Product
from .student_t import StudentT
from .wald import Wald
from .weibull import Weibull

FAMILIES = {
    family.__name__: family
    for family in (
        Normal,
        MvNormal,
        Poisson,
        Product,
        StudentT,
        Bernoulli,
        Exponential,
        Binomial,
        Geometric,
        ChiSquared,
        Gamma,
        HalfNormal,
        InverseGamma,
        LogNormal,
        Pareto,
        Wald,
        Weibull,
        Laplace,
    )
}
