"""Families of components, one per file."""

import importlib
from typing import Any

from .. import priors
from .base import Component as Component
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .bounded import Censored, Truncated
from .categorical import Categorical
from .chi_squared import ChiSquared
from .constrained import Constrained
from .dirichlet import Dirichlet
from .dirichlet import as_family as as_family
from .exponential import Exponential
from .factor_analyser import FactorAnalyser
from .gamma import Gamma
from .gated import Gated
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .hurdle import HurdleBinomial, HurdleNegativeBinomial, HurdlePoisson
from .inverse_gamma import InverseGamma
from .kumaraswamy import Kumaraswamy
from .laplace import Laplace
from .log_normal import LogNormal
from .logistic import Logistic
from .multinomial import Multinomial
from .mvnormal import MvNormal
from .mvstudent_t import MvStudentT
from .negative_binomial import NegativeBinomial
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .product import Part, Product
from .regression import Regression
from .skew_normal import SkewNormal
from .student_t import StudentT
from .truncated_normal import TruncatedNormal
from .uniform import Uniform
from .varied import Heterogeneous
from .varied import from_list as from_list
from .von_mises import VonMises
from .wald import Wald
from .weibull import Weibull
from .zero_inflated import ZeroInflatedBinomial, ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

FAMILIES = {
    family.__name__: family
    for family in (
        Normal,
        MvNormal,
        MvStudentT,
        FactorAnalyser,
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
        Gumbel,
        SkewNormal,
        HurdleBinomial,
        HurdleNegativeBinomial,
        HurdlePoisson,
        NegativeBinomial,
        ZeroInflatedBinomial,
        ZeroInflatedNegativeBinomial,
        ZeroInflatedPoisson,
        Beta,
        Kumaraswamy,
        Categorical,
        VonMises,
        TruncatedNormal,
        Truncated,
        Censored,
        Uniform,
        Multinomial,
        Dirichlet,
        Regression,
    )
}


def to_plain(component: Component) -> dict:
    """Write a family as nested dicts, lists and numbers, for JSON."""
    if isinstance(component, Constrained):
        return to_plain(component.family)
    if isinstance(component, Product):
        parts = [{"name": p.name, "columns": p.columns, **to_plain(p.component)} for p in component.parts]
        return {"component": "Product", "settings": {}, "parts": parts}
    if isinstance(component, Heterogeneous):
        members = [to_plain(member) for member in component.members]
        return {"component": "Heterogeneous", "n_features": component.n_features, "members": members}
    settings = {
        name: to_plain(value) if isinstance(value, Component) else priors.to_plain(value)
        for name, value in component._settings().items()
    }
    family = type(component)
    plain = {"component": family.stands_for or family.__name__, "settings": settings}
    if family.stands_for is None and family not in (Gated, FAMILIES.get(family.__name__)):  # a user's own
        plain |= {"module": family.__module__, "qualname": family.__qualname__}
    return plain


def from_plain(plain: dict) -> Component:
    """Inverse of `to_plain`."""
    if plain["component"] == "Product":
        columns = [None if p["columns"] is None else tuple(p["columns"]) for p in plain["parts"]]
        parts = zip(plain["parts"], columns, strict=True)
        return Product.of(tuple(Part(p["name"], from_plain(p), own) for p, own in parts))
    if plain["component"] == "Heterogeneous":
        return Heterogeneous(tuple(from_plain(p) for p in plain["members"]), plain["n_features"])
    settings = {
        name: from_plain(value) if isinstance(value, dict) and "component" in value else priors.from_plain(value)
        for name, value in plain["settings"].items()
    }
    known: dict = FAMILIES | {"Gated": Gated}
    family: Any = _own_family(plain["module"], plain["qualname"]) if "module" in plain else known[plain["component"]]
    return family(**settings)


def _own_family(module: str, name: str) -> type[Component]:
    """A family that is defined outside of this package, imported if need be."""
    reason = ""
    if (module, name) not in Component.defined and module != "__main__":
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = f" ({type(error).__name__}: {error})"
    if (module, name) not in Component.defined:
        where = "the script or notebook that made it" if module == "__main__" else f"the module {module}"
        raise ValueError(
            f"the components are of a family of its own, {name} from {where}, which is not known here{reason}: define or "
            f"import that class, with the same name in the same module, and load again. To be found by itself it must be "
            "in a module that can be imported."
        )
    return Component.defined[module, name]
