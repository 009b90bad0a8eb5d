"""The specification of a mixture: a family of components, how many, and the prior of the weights."""

import warnings
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, cast

from . import components
from .arrays import Data, check_distinct_rows, check_enough_rows, check_missing
from .components import Component
from .components.gated import Gated
from .components.varied import Heterogeneous
from .constraints import Fixed
from .gating import Gating
from .known_weights import KnownWeights
from .priors import Priors, from_plain, to_plain
from .units import exchangeable, with_units, without_columns
from .weight_priors import NEEDS_GIBBS, Dirichlet, WeightsPrior


@dataclass(frozen=True)
class Mixture:
    r"""A finite mixture :math:`p(x) = \sum_{k=1}^K \pi_k\, p(x \mid \theta_k)`.

    A specification: it holds no data and no estimates, cannot be changed, and is fitted by `bayesmix.em`,
    `bayesmix.nuts` or `bayesmix.advi`.

    Parameters
    ----------
    component : Component or list of Component
        The family of the components, for example ``bm.Normal()`` or ``bm.MvNormal(covariance="tied")``; its
        arguments are priors that replace the defaults. A list gives each component a family of its own, or priors of its
        own: ``[bm.Normal(), bm.Normal(), bm.Uniform()]`` is two clusters and noise. Components of equal families
        may change places, others keep theirs; see `bayesmix.components.varied.Heterogeneous` for names of parameters.
    n_components : int, optional
        Number of components K, at least 1; under `StickBreaking` the level of truncation, under `MFM` the largest K. Of a
        list it is the length, and need not be given.
    weights : WeightsPrior or Fixed
        Prior of the weights: `Dirichlet`, `StickBreaking` or `MFM`. The default, ``bm.Dirichlet(1.0)``, is uniform over
        the simplex. EM does not use it. Weights that are known, ``bm.Fixed([0.7, 0.3])``, are not estimated; components of
        different known weights cannot change places.

    Raises
    ------
    TypeError, ValueError
        If the number of components is not a positive whole number, or an argument is of the wrong kind.

    Examples
    --------
    >>> import bayesmix as bm
    >>> print(bm.Mixture(bm.MvNormal(), n_components=2))
    Mixture of 2 MvNormal() components, weights ~ Dirichlet(1)
    """

    component: Component
    n_components: int = cast(int, None)
    weights: WeightsPrior = Dirichlet(1.0)

    def __post_init__(self):
        if isinstance(self.component, list | tuple):
            component, k = components.from_list(self.component, self.n_components)
            object.__setattr__(self, "component", component)
            object.__setattr__(self, "n_components", k)
        object.__setattr__(self, "component", components.as_family(self.component))
        if isinstance(self.component, type) and issubclass(self.component, Component):
            raise TypeError(
                f"component is the class {self.component.__name__}; call it to make a component: bm.{self.component.__name__}()."
            )
        if not isinstance(self.component, Component):
            raise TypeError(
                f"component must be a family of components such as bm.Normal() or bm.MvNormal(), "
                f"but it is {self.component!r} of type {type(self.component).__name__}."
            )
        if (several := self.component.alternatives()) != (self.component,):
            raise ValueError(
                f"{self.component} stands for {len(several)} families; give one of them, or all of them to bm.sweep, "
                "which compares them."
            )
        k = self.n_components
        if k is None:
            raise TypeError(f"a mixture needs a number of components: bm.Mixture(bm.{self.component}, n_components=2).")
        if isinstance(k, bool) or not isinstance(k, Integral):
            raise TypeError(
                f"n_components={k!r} but it must be a whole number, at least 1; to compare several, use bm.sweep."
            )
        if k < 1:
            raise ValueError(f"n_components={k} but a mixture needs at least 1 component.")
        object.__setattr__(self, "n_components", int(k))
        object.__setattr__(self, "component", self.component.for_components(int(k)))
        if type(self.weights).__name__ == "Dirichlet" and not isinstance(self.weights, Dirichlet):
            object.__setattr__(self, "weights", Dirichlet(self.weights.alpha))  # PreliZ's
        if isinstance(self.weights, Fixed):
            object.__setattr__(self, "weights", KnownWeights.of(self.weights, self.n_components))
        if not isinstance(self.weights, WeightsPrior):
            raise TypeError(
                f"weights must be a prior such as bm.Dirichlet(1.0), or known, bm.Fixed([0.7, 0.3]), but it is "
                f"{self.weights!r}."
            )
        self.weights.check(self.n_components)
        if isinstance(self.weights, Gating) and not self.component.gated:
            gated: Any = Gated  # delegates what is abstract
            object.__setattr__(self, "component", gated(self.component, self.weights, self.n_components))
        if isinstance(self.component, Heterogeneous):
            self.component.check_mixture(self.n_components, self.weights)

    def __str__(self):
        if isinstance(self.component, Heterogeneous):
            return f"Mixture of {self.component}, {self._weights}"
        noun = "component" if self.n_components == 1 else "components"
        return f"Mixture of {self.n_components} {self.component} {noun}, {self._weights}"

    __repr__ = __str__

    @property
    def _weights(self):
        return f"weights {'~' if self.weights.known is None else '='} {self.weights}"

    def exchangeable(self, data: Data | None = None):
        """Which components may change places: those of the same number.

        Parameters
        ----------
        data : Data, optional
            Checked rows; components that some of them are known to come from keep their places.

        Returns
        -------
        ndarray of int (cluster,)
        """
        return exchangeable(self.component, self.n_components, data, self.weights.known)

    @property
    def stated_n_components(self) -> int | None:
        """Number of components; None where it is random (`MFM`)."""
        return self.n_components if self.weights.fixed_n_components else None

    def check(self, data, weights=None, labels=None, group=None) -> Data:
        """Read the data and check that this mixture can describe them.

        Parameters
        ----------
        data : array_like, data frame or xarray object
            Rows of observations; see `bayesmix.em`.
        weights : array_like, shape (obs,), optional
            Weight of each row.
        labels, group : array_like, shape (obs,), or str, optional
            Known components, and rows that share one; see `bayesmix.em`.

        Returns
        -------
        Data
            Values (obs, feature) with the names of rows and columns; missing cells are NaN.

        Raises
        ------
        TypeError, ValueError
            If the data cannot be read, or do not suit the family or its priors.
        """
        if labels is not None or group is not None:
            data, (labels, group) = without_columns(data, labels, group)
        if not isinstance(data, Data):
            data = self.component.read(data, weights)
        checked = with_units(self.component.arrange(data), labels, group, self.n_components)
        check_missing(checked, self.component)
        needed, rows = self.stated_n_components or 1, checked.observed()  # a largest K needs no rows behind it
        check_enough_rows(rows, needed)
        self.component.check_data(rows, needed)
        self.component.check_priors(checked)
        if not self.component.mixes_to_itself:
            check_distinct_rows(rows, needed)
        if checked.weights is not None:
            warn_of_little_weight(self, checked, stacklevel=4)
        return checked

    def resolved(self, data: Data) -> "Mixture":
        """The same mixture with what its components leave to the data stated, such as a number of categories."""
        component = self.component.resolved(data)
        return self if component is self.component else replace(self, component=component)

    def priors(self, data, weights=None) -> Priors:
        """Priors in force for these data, by parameter; printing them shows the model.

        Parameters
        ----------
        data : array_like, data frame or xarray object
            Rows of observations: the defaults adapt to their location and spread, nothing else.
        weights : array_like, shape (obs,), optional
            Weight of each row.

        Returns
        -------
        Priors
            A mapping from parameter name to prior.
        """
        checked = self.check(data, weights)
        priors = self.resolved(checked).component.priors(checked, self.stated_n_components)
        return Priors({"weights": self.weights, **priors}, priors.notes)

    def to_pymc(self, data, weights=None, labels=None):
        """Write the mixture and its priors as an ordinary PyMC model, to extend and to sample with `pm.sample`.

        The likelihood is one observed variable ``x`` with one log-likelihood per row, so that pointwise
        log-likelihood, prior and posterior predictive are there. Dims are named ``cluster``, ``obs``, ``feature``.

        Parameters
        ----------
        data : array_like, data frame or xarray object
            Rows of observations.
        weights : array_like, shape (obs,), optional
            Weight of each row: its log-likelihood is multiplied by it.
        labels : array_like, shape (obs,), or str, optional
            Known components, as for `bayesmix.em`.

        Returns
        -------
        pymc.Model
        """
        from .model import to_pymc

        checked = self.check(data, weights, labels)
        return to_pymc(self.resolved(checked), checked)

    # -- persistence -----------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict:
        """Write the specification as nested dicts, lists and numbers, for JSON."""
        prior = to_plain(self.weights)
        return {**components.to_plain(self.component), "n_components": self.n_components, "weights": prior}

    @classmethod
    def from_dict(cls, plain: dict) -> "Mixture":
        """Inverse of `to_dict`."""
        return cls(components.from_plain(plain), plain["n_components"], from_plain(plain["weights"]))


def warn_of_little_weight(mixture: Mixture, data, stacklevel: int) -> None:
    """Warn if the weights sum to fewer rows than a mixture needs."""
    k = mixture.n_components
    if data.total_weight < min(k * (data.n_features + 1), data.n_obs):
        warnings.warn(
            f"the weights sum to {data.total_weight:.3g}, as if there were that many rows, which is few for "
            f"{k} components: weights are counts of rows. If yours are normalised, multiply them by "
            f"the number of rows, {data.n_obs}.",
            UserWarning,
            stacklevel=stacklevel,
        )


def check_mixture(mixture, data, *, random_n_components: bool = False) -> None:
    """Raise `TypeError` unless the first argument of an engine is a mixture; say so if the two were swapped.

    Only an engine with ``random_n_components=True`` takes mixtures whose number of components is random (`MFM`).
    """
    if isinstance(mixture, Mixture):
        if not (mixture.weights.fixed_n_components or random_n_components):
            raise TypeError(f"the prior of the weights, {mixture.weights}, {NEEDS_GIBBS}")
        return
    if isinstance(data, Mixture):
        raise TypeError(
            f"the first argument must be a bm.Mixture, the second the data; they seem to be swapped: the first is of type "
            f"{type(mixture).__name__}, the second a Mixture."
        )
    if isinstance(mixture, Component):
        given = f"the family {mixture}; give it a number of components, bm.Mixture(bm.{mixture}, n_components=2)"
    elif isinstance(mixture, type):
        given = f"the class {mixture.__name__}; make one, for example bm.Mixture(bm.Normal(), n_components=2)"
    else:
        given = f"of type {type(mixture).__name__}; make one, for example bm.Mixture(bm.Normal(), n_components=2)"
    raise TypeError(f"the first argument must be a bm.Mixture, the second the data, but the first is {given}.")
