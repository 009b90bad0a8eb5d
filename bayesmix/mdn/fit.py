"""What a fitted mixture density network offers: predictions for new covariates, with their uncertainty split in two."""

import functools
import inspect
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..arrays import Data, as_data, namespace
from ..components import Component
from ..prediction import log_mean_exp
from ..randomness import generator
from .pieces import Pieces
from .predictive import Predictive
from .problem import Model, check_rows
from .specification import MDN

CELLS = 2_000_000  # draws x rows x components x outputs worked on at once
POINTWISE_CELLS = 20_000_000  # draws x rows up to which the log-likelihood of the fitted rows is kept


def in_pieces(method):
    """Let a method of rows take those that are not in memory: piece by piece, its results put together."""
    takes_y = "y" in inspect.signature(method).parameters

    @functools.wraps(method)
    def of_pieces(self, X, *given, **named):
        y = named.pop("y", None) if "y" in named else given[0] if takes_y and given else None
        rest = given[1:] if takes_y and given else given
        pieces = Pieces.of(X, y if takes_y else None)
        if pieces is None:
            return method(self, X, *((y,) if takes_y else ()), *rest, **named)
        parts = []
        for start, table, data in pieces:
            found = method(self, table, *((data.values,) if takes_y else ()), *rest, **named)
            parts.append(found.assign_coords(obs=np.arange(start, start + found.sizes["obs"])))
        return xr.concat(parts, dim="obs")

    return of_pieces


class MDNFit:
    """A fitted network: made by `bayesmix.map_estimate` and `bayesmix.advi`.

    Predictions average the density over the draws of the weights and the members of the ensemble, never the weights
    themselves. Covariates are handed in as for the fit, matched by name where there are names. Rows that are not in memory
    (`numpy.memmap`, Dask) are read in pieces by `logpdf`, `cdf`, `pit`, `crps`, `quantile`, `interval`, `mean` and `var`. A fit of
    such rows keeps none of them.

    Attributes
    ----------
    tree : xarray.DataTree
        Groups ``posterior`` (``network``, the weights, by chain = member and draw), ``log_likelihood`` (of the fitted
        rows, in nats), ``training`` (its history), ``observed_data`` and ``constant_data``, as ArviZ reads them.
    mdn : MDN
        The specification.
    """

    def __init__(self, model: Model, tree: xr.DataTree):
        self.model, self.tree = model, tree

    # -- making ------------------------------------------------------------------------------------------------------------
    @classmethod
    def assemble(
        cls, model: Model, inputs, X, data: Data | None, weights: np.ndarray, history: dict, attrs
    ) -> "MDNFit":
        """From weights (member, draw, weight) and what is known of the run; of rows that are not in memory none are kept."""
        chain, draw = np.arange(weights.shape[0]), np.arange(weights.shape[1])
        posterior = xr.Dataset({"network": (("chain", "draw", "weight"), weights)}, {"chain": chain, "draw": draw})
        groups, obs = {"posterior": posterior}, {}
        if data is not None:
            obs = {"obs": row_labels(X, data.n_obs)}
            y = data.values[:, 0] if data.n_features == 1 else data.values
            dims = ("obs",) if data.n_features == 1 else ("obs", "feature")
            coords = obs if data.n_features == 1 else obs | {"feature": np.array(data.feature)}
            groups["observed_data"] = xr.Dataset({"y": (dims, y)}, coords)
            groups["constant_data"] = xr.Dataset({"inputs": (("obs", "input"), inputs)}, obs)
        if history:
            groups["training"] = xr.Dataset(
                {name: (("epoch", "chain"), value) for name, value in history.items()}, {"chain": chain}
            )
        fit = cls(model, xr.DataTree.from_dict(groups))
        fit.tree.attrs = model.to_attrs() | attrs
        if data is not None and weights.shape[0] * weights.shape[1] * data.n_obs <= POINTWISE_CELLS:
            value = fit._log_densities(inputs, data.values).reshape(*weights.shape[:2], data.n_obs)
            pointwise = xr.Dataset({"y": (("chain", "draw", "obs"), value)}, {"chain": chain, "draw": draw} | obs)
            fit.tree["log_likelihood"] = xr.DataTree(pointwise)
        return fit

    @classmethod
    def from_tree(cls, tree: xr.DataTree) -> "MDNFit":
        """The fit that a tree was saved from."""
        return cls(Model.from_attrs(tree.attrs), tree)

    # -- what was found ----------------------------------------------------------------------------------------------------
    @property
    def mdn(self) -> MDN:
        """The specification."""
        return self.model.mdn

    @property
    def engine(self) -> str:
        """Which engine made this fit: "map_estimate" or "advi"."""
        return self.tree.attrs["engine"]

    @property
    def converged(self) -> bool:
        """Did training end as planned? `message` says how."""
        return bool(self.tree.attrs["converged"])

    @property
    def message(self) -> str:
        """How training ended, in words."""
        return self.tree.attrs["message"]

    @property
    def n_members(self) -> int:
        """Networks of the ensemble."""
        return self.tree["posterior"].sizes["chain"]

    @cached_property
    def weights(self) -> np.ndarray:
        """Weights of the networks, (member x draw, weight)."""
        network = self.tree["posterior"].dataset["network"].values
        return np.ascontiguousarray(network.reshape(-1, network.shape[-1]))

    def members(self) -> list["MDNFit"]:
        """Each network of the ensemble by itself."""
        groups = [name for name in ("posterior", "log_likelihood", "training") if name in self.tree.children]
        found = []
        for chain in range(self.n_members):
            tree = self.tree.filter(lambda node: node.name != "training_state")
            for name in groups:
                tree[name] = xr.DataTree(self.tree[name].to_dataset().isel(chain=[chain]))
            found.append(MDNFit(self.model, tree))
        return found

    def __repr__(self):
        draws = self.tree["posterior"].sizes["draw"]
        lines = [
            f"{self.mdn}, by {self.engine} ({self.tree.attrs['method']})",
            f"{self.n_members} member{'s' * (self.n_members != 1)}, {draws} draw{'s' * (draws != 1)} each; "
            f"widths of components at least {', '.join(f'{width:.2g}' for width in self.model.floor)} of those of all responses",
            self.message,
        ]
        return "\n".join(lines)

    # -- densities ---------------------------------------------------------------------------------------------------------
    @in_pieces
    def logpdf(self, X, y) -> xr.DataArray:
        """Log density of responses given covariates, in nats, averaged over draws and members: (obs,).

        Parameters
        ----------
        X : array_like, data frame or xarray object
            Covariates (obs, covariate).
        y : array_like, data frame or xarray object
            Responses (obs,) or (obs, response).

        Returns
        -------
        xarray.DataArray (obs)
        """
        inputs, values = self._inputs(X), self._responses(X, y)
        return xr.DataArray(
            log_mean_exp(self._log_densities(inputs, values), axis=0), {"obs": row_labels(X, len(inputs))}
        )

    def _log_densities(self, inputs, values):
        """Log density of each row under each draw, (draw, obs), by the compiled likelihood."""
        problem, rows = self.model.problem(inputs, values), np.arange(len(inputs))[None]
        every = [problem.log_likelihood(one[None], rows)[0] for one in self.weights]
        return np.array(every)

    @in_pieces
    def cdf(self, X, y) -> xr.DataArray:
        """Probability of a response <= y given covariates, (obs,), averaged over draws and members; of one response."""
        self._needs_one("cdf")
        values = self._responses(X, y)
        return self._over_rows(X, lambda mixture, rows: mixture.cdf(values[rows, 0]))

    def pit(self, X, y, random_seed=None) -> xr.DataArray:
        """Probability integral transform of the responses, (obs,): uniform on (0, 1) if the predictions are right.

        Of counts and categories a point drawn between the cdf below and at the response (Czado, Gneiting & Held 2009).
        """
        self._needs_one("pit")
        return self._pit(X, y, generator(random_seed))

    @in_pieces
    def _pit(self, X, y, rng):
        values = self._responses(X, y)
        return self._over_rows(X, lambda mixture, rows: mixture.pit(values[rows, 0], rng))

    @in_pieces
    def crps(self, X, y) -> xr.DataArray:
        r"""Continuous ranked probability score of each row, in units of the response; smaller is better.

        :math:`\int (F(t) - 1[t \ge y])^2 dt` (Matheson & Winkler 1976; Gneiting & Raftery 2007, eq. 20).
        """
        self._needs_one("crps")
        values = self._responses(X, y)
        return self._over_rows(X, lambda mixture, rows: mixture.crps(values[rows, 0]))

    # -- predictions -------------------------------------------------------------------------------------------------------
    @in_pieces
    def quantile(self, X, q) -> xr.DataArray:
        """Quantiles of the response given covariates: (quantile, obs) or (quantile, obs, feature), no axis for one q.

        Of several responses those of each by itself.
        """
        probabilities = np.atleast_1d(np.asarray(q, dtype=float))
        if probabilities.ndim != 1 or not np.all((probabilities > 0) & (probabilities < 1)):
            raise ValueError(f"q={q!r} but quantiles need probabilities strictly between 0 and 1.")

        def each(mixture, rows):
            return np.stack(
                [self._by_response(mixture, lambda one, p=p: one.quantile(p)) for p in probabilities], axis=1
            )

        found = self._over_rows(X, each, ("quantile", *self._response_dims), {"quantile": probabilities})
        found = found.transpose("quantile", ...)
        return found.isel(quantile=0) if np.ndim(q) == 0 else found

    def interval(self, X, probability: float = 0.9) -> xr.Dataset:
        """Interval with equal tails that holds the response with this probability: variables ``lower`` and ``upper``."""
        if not 0.0 < probability < 1.0:
            raise ValueError(f"probability={probability!r} but it must lie between 0 and 1, for example 0.9.")
        found = self.quantile(X, [(1.0 - probability) / 2.0, (1.0 + probability) / 2.0])
        parts = {name: found.isel(quantile=i, drop=True) for i, name in enumerate(("lower", "upper"))}
        return xr.Dataset(parts, attrs={"probability": probability})

    @in_pieces
    def mean(self, X) -> xr.DataArray:
        """Mean of the response given covariates, (obs[, feature])."""
        return self._over_rows(
            X, lambda mixture, rows: self._squeezed(mixture.means_and_variances()[0].mean(axis=0)), self._response_dims
        )

    @in_pieces
    def var(self, X) -> xr.Dataset:
        """Variance of the response given covariates, split by the law of total variance.

        Variables ``total``, and its parts ``aleatoric``, the mean over draws and members of the mixture's variance, which
        more data do not diminish, and ``epistemic``, the variance of its mean (Depeweg et al. 2018), (obs[, feature]).
        """
        parts = []
        for _, mixture in self._mixtures(self._inputs(X)):
            mean, variance = mixture.means_and_variances()
            parts.append((variance.mean(axis=0), mean.var(axis=0)))
        aleatoric, epistemic = (self._squeezed(np.concatenate(one)) for one in zip(*parts, strict=True))
        dims, coords = ("obs", *self._response_dims), self._coords(X, sum(len(one[0]) for one in parts))
        named = {"total": aleatoric + epistemic, "aleatoric": aleatoric, "epistemic": epistemic}
        return xr.Dataset({name: (dims, value) for name, value in named.items()}, coords)

    def modes(self, X) -> xr.DataArray:
        """Places of the local maxima of the density of one response, (obs, mode), the highest first; NaN where there are fewer."""
        self._needs_one("modes")
        found = [one for _, mixture in self._mixtures(self._inputs(X)) for one in mixture.modes()]
        table = np.full((len(found), max(map(len, found))), np.nan)
        for row, places in zip(table, found, strict=True):
            row[: len(places)] = places
        return xr.DataArray(table, dims=("obs", "mode"), coords={"obs": row_labels(X, len(table))})

    def sample(self, X, n: int = 1, random_seed=None) -> xr.DataArray:
        """Draw n responses for each row, each from a member and draw picked at random: (sample, obs[, feature])."""
        rng = generator(random_seed)
        inputs = self._inputs(X)
        parts = [self._squeezed(mixture.sample(n, rng)) for _, mixture in self._mixtures(inputs)]
        dims = ("sample", "obs", *self._response_dims)
        return xr.DataArray(np.concatenate(parts, axis=1), dims=dims, coords=self._coords(X, len(inputs)))

    def components(self, X) -> xr.Dataset:
        """Weights and parameters of the mixture of each row, by member and draw.

        Variables ``weights`` (member, draw, obs, cluster) and the family's parameters by PyMC's names with their own dims
        behind; of a list of families each by ``<family>_<parameter>`` with dim ``<family>_cluster``. Components have no
        common labels across members and draws.
        """
        inputs = self._inputs(X)
        members, draws = self.n_members, len(self.weights) // self.n_members
        parts = [mixture for _, mixture in self._mixtures(inputs)]
        shape = (members, draws, len(inputs))
        weights = np.concatenate([one.weights for one in parts], axis=1)
        found: dict[str, Any] = {"weights": (("member", "draw", "obs", "cluster"), weights.reshape(*shape, -1))}
        for which, family in enumerate(parts[0].families):
            several = len(parts[0].families) > 1
            prefix = f"{type(family).__name__}_" if several else ""
            dims = {p.name: p.event_dims for p in family.parameters}
            for name in parts[0].params[which]:
                value = np.concatenate([one.params[which][name] for one in parts], axis=1)
                own = tuple(f"{prefix}{dim}" for dim in dims[name])
                found[f"{prefix}{name}"] = (
                    ("member", "draw", "obs", f"{prefix}cluster", *own),
                    value.reshape(*shape, *value.shape[2:]),
                )
        return xr.Dataset(found, {"obs": row_labels(X, len(inputs))})

    # -- persistence -------------------------------------------------------------------------------------------------------
    def save(self, path) -> None:
        """Write the fit to a netCDF file, or a Zarr store if the name ends in ``.zarr``; `bayesmix.load` reads it.

        Parameters
        ----------
        path : str or path
        """
        from ..storage import write

        write(self.tree, Path(path))

    # -- plots -------------------------------------------------------------------------------------------------------------
    def plot(self, x=None, y=None, kind: str = "density", ax=None, **options):
        """Draw the prediction over a covariate, or judge it; see `bayesmix.mdn.plots`.

        Parameters
        ----------
        x, y : array_like, optional
            Covariates and responses to show; the fitted rows by default.
        kind : {"density", "weights", "pit"}
            The density with quantiles over one covariate, the weights of the components over one covariate, or the
            probability integral transforms of responses and the coverage of intervals.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        from . import plots

        return plots.plot(self, x, y, kind, ax, **options)

    # -- inside ------------------------------------------------------------------------------------------------------------
    @property
    def _families(self) -> tuple[Component, ...]:
        return tuple(head.component for head in self.model.heads)

    @property
    def _n_responses(self) -> int:
        return len(self.model.feature)

    @property
    def _response_dims(self) -> tuple:
        return () if self._n_responses == 1 else ("feature",)

    def _squeezed(self, values):
        return values[..., 0] if self._n_responses == 1 else values

    def _needs_one(self, what):
        if self._n_responses > 1:
            raise ValueError(
                f"{what} is of one response, but this network has {self._n_responses}: "
                f"{', '.join(map(repr, self.model.feature[:8]))}."
            )

    def _inputs(self, X):
        return self.model.covariates.encode(X)

    def _responses(self, X, y):
        wanted = self.model.feature if self.model.named else None
        data = as_data(y, feature=wanted) if wanted is not None and hasattr(y, "columns") else as_data(y)
        if data.n_features != self._n_responses:
            raise ValueError(f"y has {data.n_features} columns, but the network was fitted to {self._n_responses}.")
        check_rows(len(self._inputs(X)), data.n_obs)
        return data.values

    def _coords(self, X, n):
        coords: dict = {"obs": row_labels(X, n)}
        return coords if self._n_responses == 1 else coords | {"feature": np.array(self.model.feature)}

    def _mixtures(self, inputs):
        """The mixtures of rows in pieces that fit into memory, with the place of their first row."""
        k, p = len(self.mdn.kinds), self.model.n_outputs
        step = max(1, CELLS // (len(self.weights) * k * (p + 1) * max(1, self._n_responses)))
        for begin in range(0, len(inputs), step):
            yield begin, self._mixture(inputs[begin : begin + step])

    def _mixture(self, inputs) -> Predictive:
        """The mixtures of rows at all draws."""
        problem = self.model.problem(inputs, np.zeros((len(inputs), self._n_responses)))
        rows = np.tile(np.arange(len(inputs)), (len(self.weights), 1))
        outputs = np.moveaxis(problem.outputs(self.weights, rows)[0], 1, 2)  # (draw, row, output)
        kinds, heads = self.mdn.kinds, self.model.heads
        k = len(kinds)
        logits = outputs[..., :k]
        log_weights = logits - namespace(logits).logsumexp(logits, axis=-1, keepdims=True)
        u = outputs[..., k:].reshape(*outputs.shape[:2], k, -1)
        params = tuple(head.family_parameters(u[:, :, kinds == which]) for which, head in enumerate(heads))
        return Predictive(self._families, kinds, log_weights, params)

    def _by_response(self, mixture, function):
        """Function of each response's own mixture, (obs,) or (obs, feature)."""
        if self._n_responses == 1:
            return function(mixture)
        return np.stack([function(mixture.marginal(j)) for j in range(self._n_responses)], axis=-1)

    def _over_rows(self, X, function, dims=(), coords=None) -> xr.DataArray:
        """function(mixture, rows) -> (obs, ...) over all rows, labelled."""
        inputs = self._inputs(X)
        parts = []
        for begin, mixture in self._mixtures(inputs):
            parts.append(function(mixture, slice(begin, begin + mixture.n_obs)))
        found = self._coords(X, len(inputs)) | (coords or {})
        found = {name: value for name, value in found.items() if name in ("obs", *dims)}
        return xr.DataArray(np.concatenate(parts), dims=("obs", *dims), coords=found)


def row_labels(X, n):
    """Labels of the rows of covariates: a frame's index, a coordinate of xarray, or 0, 1, ..."""
    index = getattr(X, "index", None)
    if index is not None and not callable(index) and len(index) == n:
        values = np.asarray(index)
        return values if values.dtype.kind != "O" else np.array([str(v) for v in values])
    if hasattr(X, "coords") and "obs" in X.coords:
        return np.asarray(X.coords["obs"].values)
    return np.arange(n)
