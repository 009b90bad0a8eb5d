"""Prior distributions: records that print like PreliZ distributions and become PyMC variables when a model is built.

A user hands over PreliZ distributions; the defaults are records of the same kind made from the data. Neither PreliZ
nor PyMC is imported before a model is built.
"""

import functools
import math
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

REAL, POSITIVE, UNIT = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)
_SUPPORT_WORDS = {REAL: "any real number", POSITIVE: "positive numbers", UNIT: "numbers between 0 and 1"}


def _words_of(support) -> str:
    return _SUPPORT_WORDS.get(support, f"numbers between {support[0]:g} and {support[1]:g}")


_PREFIX: ContextVar[str] = ContextVar("prefix", default="")


@contextmanager
def prefix(word: str):
    """Put a word in front of the names of all variables made in the open PyMC model, and of the dims that `dim` names."""
    import pymc as pm

    model: Any = pm.modelcontext(None)
    outer = _PREFIX.get()
    token = _PREFIX.set(outer + word)
    model.name_for = lambda name: f"{outer}{word}{name}"  # of this model, in place of its class's
    try:
        yield
    finally:
        _PREFIX.reset(token)
        del model.name_for
        if outer:
            model.name_for = lambda name: f"{outer}{name}"


@contextmanager
def clusters_called(name: str):
    """Let the dim ``cluster`` of variables made in the open PyMC model be another one, of some of the components."""
    import pymc as pm

    model: Any = pm.modelcontext(None)
    length, register = model._dim_lengths["cluster"], model.add_named_variable
    model._dim_lengths["cluster"] = model._dim_lengths[name]

    def renamed(variable, dims=None):
        if dims is not None:
            dims = tuple(name if dim == "cluster" else dim for dim in ([dims] if isinstance(dims, str) else dims))
        return register(variable, dims)

    model.add_named_variable = renamed
    try:
        yield
    finally:
        model._dim_lengths["cluster"] = length
        del model.add_named_variable


def dim(name: str) -> str:
    """Name of a dim of a component's own, inside `prefix` with the word in front."""
    return _PREFIX.get() + name


def _immutable(value):
    """Turn a hyperparameter into something hashable: a float, a nested tuple of floats, a `Prior`, or None."""
    if value is None or isinstance(value, Prior | str):
        return value
    if is_univariate_distribution(value):
        return Prior.from_preliz(value)
    if isinstance(value, list | tuple):
        return tuple(_immutable(item) for item in value)
    array = np.asarray(value, dtype=float)
    return float(array) if array.ndim == 0 else tuple(_immutable(item) for item in array)


def _floats(value, name: str, needed: str) -> np.ndarray:
    """A hyperparameter as an array of floats, or a `TypeError` that says what was given and what is needed."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r} but {needed}.") from None


def _number(value, name: str, needed: str) -> float:
    """The same for a hyperparameter that is one number."""
    array = _floats(value, name, needed)
    if array.ndim:
        raise TypeError(f"{name}={value!r} but {needed}.")
    return float(array)


def _n_features(values) -> int | None:
    """For how many features hyperparameters are that hold one number for each; None if all are single numbers."""
    found = []
    for value in values:
        if isinstance(value, Prior):
            found.append(value.n_features)
        elif isinstance(value, tuple) and value and isinstance(value[0], Prior):
            found.append(_n_features(value))
        elif isinstance(value, tuple) and len(value) > 1:
            found.append(len(value))
    return max((n for n in found if n is not None), default=None)


def _usable(value):
    """The inverse of `_immutable`, as PyMC wants it."""
    if isinstance(value, tuple) and value and not isinstance(value[0], Prior):
        return np.array(value, dtype=float)
    return value


def _text(value):
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_univariate_distribution(value) -> bool:
    """Is this a PreliZ distribution? Told by what it offers, so that PreliZ need not be imported."""
    is_class = isinstance(value, type)
    return not is_class and hasattr(value, "to_pymc") and hasattr(value, "params_dict") and hasattr(value, "support")


@dataclass(frozen=True)
class Prior:
    """A named univariate distribution in PyMC's parametrisation, independent over components and features.

    Parameters
    ----------
    family : str
        Name of the distribution, the same in PyMC and in PreliZ.
    params : tuple of (name, value)
        Hyperparameters; a value may hold one number per feature.
    support : tuple of float
        Lower and upper end of the values.
    """

    family: str
    params: tuple
    support: tuple = REAL

    @classmethod
    def of(cls, family: str, support=REAL, **params) -> "Prior":
        """Make a prior from keyword hyperparameters, for example ``Prior.of("Normal", mu=0, sigma=10)``."""
        return cls(family, tuple((name, _immutable(value)) for name, value in params.items()), tuple(support))

    @classmethod
    def from_preliz(cls, distribution) -> "Prior":
        """Copy a PreliZ distribution into a record; raise `ValueError` if its parameters are not all set."""
        family = type(distribution).__name__
        if family in ("Truncated", "Censored"):
            params = {"dist": distribution.dist, **{k: distribution.params_dict[k] for k in ("lower", "upper")}}
        elif family == "Mixture":
            params = {"comp_dists": list(distribution.dist), "w": distribution.weights}
        elif family == "Hurdle":
            raise ValueError(
                "a Hurdle distribution has an atom at zero, which no continuous parameter can have; use its continuous part."
            )
        else:
            params = {name: getattr(distribution, name) for name in distribution.param_names}
            missing = [name for name, value in params.items() if value is None]
            if missing or not params:
                raise ValueError(
                    f"the prior {family} has no value for {', '.join(missing) or 'its parameters'}; "
                    f"set them, for example with pz.maxent({family}(), lower, upper, mass), before it is used here."
                )
        low, high = distribution.support  # one for each feature, if the ends differ
        return cls.of(family, support=(float(np.min(low)), float(np.max(high))), **params)

    @property
    def kwargs(self) -> dict:
        """Hyperparameters by name, as numbers or arrays."""
        return {name: _usable(value) for name, value in self.params}

    @property
    def n_features(self) -> int | None:
        """For how many features the prior is, if hyperparameters hold one number for each; None for any number."""
        return _n_features(value for name, value in self.params if (self.family, name) != ("Mixture", "w"))

    def variable(self, name: str, **kwargs):
        """Make the PyMC variable of this prior, in the model whose context is open; sampled where no value is outside."""
        import pymc as pm

        if self.family == "LogitNormal":  # which PyMC samples as it is
            kwargs = {"transform": pm.distributions.transforms.logodds} | kwargs
        return getattr(pm, self.family)(name, **self._pymc_kwargs(), **kwargs)

    def dist(self, **kwargs):
        """Make the unnamed PyMC distribution of this prior."""
        import pymc as pm

        return getattr(pm, self.family).dist(**self._pymc_kwargs(), **kwargs)

    def logpdf(self, x) -> np.ndarray:
        """Log density at x, in nats; log probability if the distribution is discrete."""
        return np.asarray(_preliz(self).logpdf(np.asarray(x)), dtype=float)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        return float(np.asarray(_preliz(self).rvs(random_state=rng)).reshape(()))

    def _pymc_kwargs(self):
        def convert(value):
            if isinstance(value, Prior):
                return value.dist()
            if isinstance(value, tuple) and value and isinstance(value[0], Prior):
                return [item.dist() for item in value]
            return np.asarray(value) if isinstance(value, float) else value  # PyTensor would make a float32 of 2.0

        return {name: convert(value) for name, value in self.kwargs.items()}

    def __str__(self):
        arguments = ", ".join(f"{name}={_text(value)}" for name, value in self.params)
        return f"{self.family}({arguments})"


@dataclass(frozen=True)
class ScaledInverseChiSquared:
    r"""Prior of a standard deviation: its square is scaled-inverse-chi-squared.

    :math:`\sigma^2 = \nu s^2 / \chi^2_\nu`, that is :math:`\sigma^2 \sim \text{InverseGamma}(\nu/2, \nu s^2/2)`
    (Gelman et al. 2013, *Bayesian Data Analysis*, 3rd ed., p. 65): worth `nu` earlier observations with standard
    deviation `scale`. Its density vanishes at 0 faster than any power, so that no component can collapse.

    Parameters
    ----------
    nu : float
        Degrees of freedom, > 0.
    scale : float or sequence of float
        Standard deviation s, one for all features or one for each, in the units of the data.
    """

    nu: float
    scale: float | tuple | np.ndarray
    support = POSITIVE
    prior_of = ("sigma",)
    words = "standard deviations"

    def __post_init__(self):
        needed = "ScaledInverseChiSquared needs positive numbers"
        object.__setattr__(self, "nu", _number(self.nu, "nu", needed))
        object.__setattr__(self, "scale", _immutable(_floats(self.scale, "scale", needed)))
        if not self.nu > 0 or not np.all(np.asarray(self.scale) > 0):
            raise ValueError(f"nu and scale must be positive, but nu={self.nu:g} and scale={_text(self.scale)}.")

    @property
    def n_features(self) -> int | None:
        """For how many features the prior is, if `scale` holds one number for each; None for any number."""
        return _n_features([self.scale])

    def variable(self, name: str, **kwargs):
        """Make the PyMC variable, sampled as its logarithm, in the model whose context is open."""
        import pymc as pm

        log = pm.distributions.transforms.log
        return pm.CustomDist(name, *self._arrays, transform=log, **self._functions, **kwargs)

    def dist(self, **kwargs):
        """Make the unnamed PyMC distribution of this prior."""
        import pymc as pm

        return pm.CustomDist.dist(*self._arrays, **self._functions, **kwargs)

    @property
    def _arrays(self):
        return np.asarray(self.nu), np.asarray(self.scale)

    @property
    def _functions(self):
        import pymc as pm
        import pytensor.tensor as pt

        def random(nu, scale, size):
            chi2 = pm.ChiSquared.dist(nu + pt.zeros_like(scale), size=size)
            return scale * pt.sqrt(nu / chi2)

        def logp(sigma, nu, scale):
            half = 0.5 * nu * scale**2
            log_density = (
                np.log(2.0)
                + 0.5 * nu * pt.log(half)
                - pt.gammaln(0.5 * nu)
                - (nu + 1.0) * pt.log(sigma)
                - half / sigma**2
            )
            return pt.where(sigma > 0.0, log_density, -np.inf)

        return {"dist": random, "logp": logp, "class_name": "ScaledInverseChiSquared"}

    def __str__(self):
        return f"ScaledInverseChiSquared(nu={self.nu:g}, scale={_text(self.scale)})"


@dataclass(frozen=True)
class ProportionalLogNormal:
    r"""Default prior of a positive parameter in proportion to another one of the same component.

    :math:`\log(\theta / a) \sim \text{Normal}(\mu, \sigma)`, given the parameter a: what is known of the mean of a gamma
    distribution, alpha / beta, says nothing of alpha, but much of beta once alpha is known.

    Parameters
    ----------
    of : str
        Name of the other parameter, which stands before this one.
    mu, sigma : float
        Mean and standard deviation of the logarithm of the ratio.
    """

    of: str
    mu: float
    sigma: float

    def variable(self, name: str, **kwargs):
        """Make the PyMC variable, in the model whose context is open; the other one is there already."""
        import pymc as pm
        import pytensor.tensor as pt

        other: Any = pt.log(pm.modelcontext(None)[self.of])
        return pm.LogNormal(name, mu=other + self.mu, sigma=np.asarray(self.sigma), **kwargs)

    def __str__(self):
        return f"LogNormal(mu=log({self.of}){self.mu:+.4g}, sigma={self.sigma:.4g})"


@dataclass(frozen=True)
class HierarchicalInverseGamma:
    r"""Prior of standard deviations that share a scale, which is random itself.

    :math:`\sigma_k^2 \sim \text{InverseGamma}(\alpha, \beta)`, that is :math:`\sigma_k^{-2} \sim \text{Gamma}(\alpha,
    \beta)` with rate :math:`\beta`, the same for all components, and :math:`\beta \sim \text{Gamma}`. Richardson &
    Green (1997, sec. 2.4) take ``HierarchicalInverseGamma(2, pz.Gamma(0.2, 10 / R**2))`` for data of range R: the
    components are similar in size, and the data say of what size. `bayesmix.gibbs` fits it; ``mixture.to_pymc`` writes
    it with a variable ``sigma_rate``.

    Parameters
    ----------
    alpha : float
        Shape of the inverse gamma distribution, > 0.
    beta : PreliZ distribution
        Prior of its rate, in squared units of the data: Gamma, Exponential or ChiSquared, with single numbers or one for
        each feature.

    Raises
    ------
    TypeError, ValueError
        If alpha is not a positive number, or beta not such a distribution.
    """

    alpha: float
    beta: Any
    support = POSITIVE
    prior_of = ("sigma",)
    words = "standard deviations"

    def __post_init__(self):
        _check_hierarchy(self, "bm.ScaledInverseChiSquared(2 * alpha, sqrt(beta / alpha))")

    @property
    def n_features(self) -> int | None:
        """For how many features the prior is; None for any number."""
        return self.beta.n_features

    def variable(self, name: str, **kwargs):
        """Make the PyMC variables ``{name}_rate`` and ``name``, in the model whose context is open."""
        import pymc as pm
        import pytensor.tensor as pt

        rate = self.beta.variable(f"{name}_rate", **_size_of(self))
        arguments = np.asarray(2.0 * self.alpha), pt.sqrt(rate / self.alpha)
        functions: Any = ScaledInverseChiSquared(1.0, 1.0)._functions
        log = pm.distributions.transforms.log
        return pm.CustomDist(name, *arguments, transform=log, **functions, **kwargs)

    def __str__(self):
        return f"HierarchicalInverseGamma(alpha={self.alpha:g}, beta={self.beta})"


@dataclass(frozen=True)
class HierarchicalGamma:
    r"""Prior of Poisson rates that share a scale, which is random itself.

    :math:`\mu_k \sim \text{Gamma}(\alpha, \beta)` with rate :math:`\beta`, the same for all components, and
    :math:`\beta \sim \text{Gamma}` (Frühwirth-Schnatter & Malsiner-Walli 2019). `bayesmix.gibbs` fits it;
    ``mixture.to_pymc`` writes it with a variable ``mu_rate``.

    Parameters
    ----------
    alpha : float
        Shape, > 0.
    beta : PreliZ distribution
        Prior of the rate: Gamma, Exponential or ChiSquared.

    Raises
    ------
    TypeError, ValueError
        If alpha is not a positive number, or beta not such a distribution.
    """

    alpha: float
    beta: Any
    support = POSITIVE
    prior_of = ("mu",)
    words = "rates"

    def __post_init__(self):
        _check_hierarchy(self, "pz.Gamma(alpha, beta)")

    @property
    def n_features(self) -> int | None:
        """For how many features the prior is; None for any number."""
        return self.beta.n_features

    def variable(self, name: str, **kwargs):
        """Make the PyMC variables ``{name}_rate`` and ``name``, in the model whose context is open."""
        import pymc as pm

        rate = self.beta.variable(f"{name}_rate", **_size_of(self))
        return pm.Gamma(name, alpha=np.asarray(self.alpha), beta=rate, **kwargs)

    def __str__(self):
        return f"HierarchicalGamma(alpha={self.alpha:g}, beta={self.beta})"


def gamma_of(prior) -> tuple | None:
    """Shape and rate of a prior that is a gamma distribution under any of its names; None if it is none."""
    if not isinstance(prior, Prior):
        return None
    values = {name: np.asarray(value) for name, value in prior.kwargs.items()}
    match prior.family, tuple(values.values()):
        case "Gamma", (alpha, beta) if "alpha" in values:
            return alpha, beta
        case "Gamma", (mu, sigma):
            return (mu / sigma) ** 2, mu / sigma**2
        case "Exponential", (rate,):
            return np.ones_like(rate), rate if "lam" in values else 1.0 / rate
        case "ChiSquared", (nu,):
            return 0.5 * nu, np.full_like(nu, 0.5)
    return None


def _check_hierarchy(record, fixed):
    name = type(record).__name__
    alpha = _number(record.alpha, "alpha", f"{name} needs a positive number")
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha={alpha:g} but {name} needs a positive finite number.")
    beta = Prior.from_preliz(record.beta) if is_univariate_distribution(record.beta) else record.beta
    if gamma_of(beta) is None:
        raise TypeError(
            f"beta={record.beta!r} but {name} needs the prior of its rate, a Gamma, Exponential or ChiSquared "
            f"distribution such as pz.Gamma(0.2, 1); for a rate that is known use {fixed}."
        )
    object.__setattr__(record, "alpha", alpha)
    object.__setattr__(record, "beta", beta)


def _size_of(record):
    return {} if record.n_features is None else {"shape": record.n_features}


@dataclass(frozen=True)
class InverseWishart:
    r"""Prior of a covariance matrix: :math:`\Sigma^{-1} \sim W(\nu, \Psi^{-1})`, with mean :math:`\Psi/(\nu-D-1)`.

    Parameters
    ----------
    nu : float
        Degrees of freedom, > D - 1. The prior is worth about `nu` earlier observations.
    psi : array_like, shape (D, D)
        Scale matrix, symmetric and positive definite, in squared units of the data.
    """

    nu: float
    psi: tuple | np.ndarray

    def __post_init__(self):
        nu = _number(self.nu, "nu", "InverseWishart needs a number of degrees of freedom, > D - 1")
        psi = _floats(self.psi, "psi", "InverseWishart needs a symmetric (D, D) matrix of numbers")
        if psi.ndim != 2 or psi.shape[0] != psi.shape[1] or not np.allclose(psi, psi.T):
            raise ValueError(f"psi must be a symmetric (D, D) matrix, but it has shape {psi.shape}.")
        if np.linalg.eigvalsh(psi / np.sqrt(np.outer(np.diag(psi), np.diag(psi)))).min() <= 0:
            raise ValueError("psi must be positive definite; its smallest eigenvalue is not positive.")
        if not nu > len(psi) - 1:
            raise ValueError(f"nu={nu:g} but a {len(psi)} x {len(psi)} covariance needs nu > {len(psi) - 1}.")
        object.__setattr__(self, "nu", nu)
        object.__setattr__(self, "psi", _immutable(psi))

    @property
    def n_features(self) -> int:
        """Number of features D."""
        return len(self.psi)

    def __str__(self):
        return f"InverseWishart(nu={self.nu:g}, psi={_text(self.psi)})"


@dataclass(frozen=True)
class HierarchicalInverseWishart:
    r"""Prior of covariance matrices that share a scale matrix, which is random itself.

    :math:`\Sigma_k^{-1} \sim W(\nu, \Psi^{-1})` with the same :math:`\Psi` for all components, and :math:`\Psi \sim
    W(\nu_0, \Psi_0 / \nu_0)`, which has the mean :math:`\Psi_0` (Stephens 2000, sec. 4.2; Malsiner-Walli,
    Frühwirth-Schnatter & Grün 2016). `bayesmix.gibbs` fits it.

    Parameters
    ----------
    nu : float
        Degrees of freedom, > D - 1.
    psi : array_like, shape (D, D)
        Mean of the scale matrix, symmetric and positive definite, in squared units of the data.
    psi_nu : float
        Degrees of freedom of the scale matrix itself, > D - 1: the more, the closer it stays to `psi`.
    """

    nu: float
    psi: tuple | np.ndarray
    psi_nu: float

    def __post_init__(self):
        checked = InverseWishart(self.nu, self.psi)
        psi_nu = _number(self.psi_nu, "psi_nu", "HierarchicalInverseWishart needs a number > D - 1")
        if not psi_nu > checked.n_features - 1:
            d = checked.n_features
            raise ValueError(f"psi_nu={psi_nu:g} but a random {d} x {d} scale matrix needs psi_nu > {d - 1}.")
        for name, value in (("nu", checked.nu), ("psi", checked.psi), ("psi_nu", psi_nu)):
            object.__setattr__(self, name, value)

    @property
    def n_features(self) -> int:
        """Number of features D."""
        return len(self.psi)

    def __str__(self):
        return f"HierarchicalInverseWishart(nu={self.nu:g}, psi={_text(self.psi)}, psi_nu={self.psi_nu:g})"


@dataclass(frozen=True)
class LKJ:
    r"""Prior of a correlation matrix, :math:`p(R) \propto |R|^{\eta - 1}` (Lewandowski, Kurowicka & Joe 2009).

    Used with a prior on the standard deviations: ``bm.MvNormal(sigma=pz.HalfNormal(2), corr=bm.LKJ(2))``.

    Parameters
    ----------
    eta : float
        Concentration, > 0: 1 is uniform over correlation matrices, larger values favour small correlations.
    """

    eta: float = 2.0

    def __post_init__(self):
        object.__setattr__(self, "eta", _number(self.eta, "eta", "LKJ needs a positive number"))
        if not self.eta > 0:
            raise ValueError(f"eta must be positive, but eta={self.eta:g}.")

    def __str__(self):
        return f"LKJ(eta={self.eta:g})"


def as_prior(value, parameter: str, support: tuple):
    """Check a prior given by a user and return it as a record.

    Raises
    ------
    TypeError
        If it is not a distribution.
    ValueError
        If it is discrete, has parameters without values, or gives mass outside the parameter's support.
    """
    if value is None or isinstance(value, ScaledInverseChiSquared | HierarchicalInverseGamma | HierarchicalGamma):
        if value is not None and (parameter not in value.prior_of or support != POSITIVE):
            raise ValueError(f"the prior of {parameter} is {value}, which is for {value.words} only.")
        return value
    if is_univariate_distribution(value):
        if getattr(value, "kind", "continuous") != "continuous":
            raise ValueError(
                f"the prior of {parameter} is {value}, a discrete distribution; {parameter} takes "
                f"{_words_of(support)}: use a continuous one."
            )
        value = Prior.from_preliz(value)
    if not isinstance(value, Prior):
        raise TypeError(
            f"the prior of {parameter} must be a PreliZ distribution, for example "
            f"{'pz.HalfNormal(2)' if support == POSITIVE else 'pz.Normal(0, 10)'}; got {value!r} of type "
            f"{type(value).__name__}."
        )
    if any(isinstance(number, tuple) and np.ndim(number) > 1 for _, number in value.params):
        raise ValueError(
            f"the prior of {parameter} is {value}, which holds a table of numbers; it is the same for every component: "
            "give a single number, or one for each feature."
        )
    low, high = value.support
    if low < support[0] or high > support[1]:
        hint = {POSITIVE: "HalfNormal, Gamma, LogNormal or InverseGamma", UNIT: "Beta"}.get(support, "Normal")
        raise ValueError(
            f"the prior of {parameter} is {value}, with support ({low:g}, {high:g}), but {parameter} takes "
            f"{_words_of(support)}; try {hint}, or pz.Truncated."
        )
    return value


class Priors(Mapping):
    """The priors of a mixture for given data, by parameter name; prints as the model is written."""

    def __init__(self, priors: dict, notes: dict):
        self._priors = dict(priors)
        self.notes = dict(notes)

    def __getitem__(self, name):
        return self._priors[name]

    def __iter__(self):
        return iter(self._priors)

    def __len__(self):
        return len(self._priors)

    def __repr__(self):
        width = max(len(name) for name in self)
        lines = []
        for name, prior in self.items():
            lines.append(f"{name:<{width}} ~ {prior}")
            if self.notes.get(name):
                lines.append(" " * (width + 3) + self.notes[name])
        return "\n".join(lines)


_CLASSES = {
    cls.__name__: cls
    for cls in (Prior, ScaledInverseChiSquared, HierarchicalInverseGamma, HierarchicalGamma, InverseWishart, LKJ)
}


def storable(cls):
    """Let `to_plain` and `from_plain` carry the records of a frozen dataclass, under its name; a class decorator."""
    _CLASSES[cls.__name__] = cls
    return cls


@functools.lru_cache(maxsize=64)
def _preliz(prior: Prior):
    """Make the PreliZ distribution of a prior; kept, as making one takes longer than a call of it."""
    import preliz as pz

    def convert(value):
        if isinstance(value, Prior):
            return _preliz(value)
        if isinstance(value, tuple) and value and isinstance(value[0], Prior):
            return [_preliz(item) for item in value]
        return value

    arguments = {name: convert(value) for name, value in prior.kwargs.items()}
    if prior.family == "Mixture":
        return pz.Mixture(arguments["comp_dists"], arguments["w"])
    return getattr(pz, prior.family)(**arguments)


def to_plain(value):
    """Turn a prior into nested dicts, lists and numbers that JSON can hold."""
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if type(value).__name__ in _CLASSES:
        settings = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, **settings}
    if isinstance(value, float) and math.isinf(value):
        return {"class": "inf", "sign": math.copysign(1.0, value)}
    return value


def from_plain(value) -> Any:
    """Inverse of `to_plain`."""
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    if isinstance(value, dict) and value.get("class") == "inf":
        return value["sign"] * math.inf
    if isinstance(value, dict):
        settings = {name: from_plain(item) for name, item in value.items() if name != "class"}
        return _CLASSES[value["class"]](**settings)
    return value
