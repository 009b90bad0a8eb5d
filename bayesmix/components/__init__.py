"""Families of components, one per file."""

from .base import Component as Component
from .bernoulli import Bernoulli
from .binomial import Binomial
from .exponential import Exponential
from .geometric import Geometric
from .mvnormal import MvNormal
from .normal import Normal
from .poisson import Poisson
from .student_t import StudentT

FAMILIES = {
    family.__name__: family
    for family in (Normal, MvNormal, Poisson, StudentT, Bernoulli, Exponential, Binomial, Geometric)
}
