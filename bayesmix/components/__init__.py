"""Families of components, one per file."""

from .. import priors
from .base import Component as Component
from .bernoulli import Bernoulli
from .binomial import Binomial
from .chi_squared import ChiSquared
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .inverse_gamma import InverseGamma
from .laplace import Laplace
from .log_normal import LogNormal
from .logistic import Logistic
from .mvnormal import MvNormal
from .negative_binomial import NegativeBinomial
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .product import Part, Product
from .skew_normal import SkewNormal
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
        Logistic,
        NegativeBinomial,
        Gumbel,
        SkewNormal,
    )
}


def to_plain(component: Component) -> dict:
    """Write a family as nested dicts, lists and numbers, for JSON."""
    if isinstance(component, Product):
        parts = [{"name": p.name, "columns": p.columns, **to_plain(p.component)} for p in component.parts]
        return {"component": "Product", "settings": {}, "parts": parts}
    settings = {name: priors.to_plain(value) for name, value in component._settings().items()}
    return {"component": type(component).__name__, "settings": settings}


def from_plain(plain: dict) -> Component:
    """Inverse of `to_plain`."""
    if plain["component"] == "Product":
        columns = [None if p["columns"] is None else tuple(p["columns"]) for p in plain["parts"]]
        parts = zip(plain["parts"], columns, strict=True)
        return Product.of(tuple(Part(p["name"], from_plain(p), own) for p, own in parts))
    settings = {name: priors.from_plain(value) for name, value in plain["settings"].items()}
    return FAMILIES[plain["component"]](**settings)
