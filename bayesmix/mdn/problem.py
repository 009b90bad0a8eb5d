"""From a specification, covariates and responses to what is trained."""

import json
from dataclasses import dataclass

import numpy as np

from ..arrays import Data, as_data
from ..likelihood.rowwise import Rowwise
from .covariates import Covariates
from .heads import Head, encoded, from_plain, head_of, rounded, rowwise_of, standard_settings, to_plain
from .network import Layout
from .specification import MDN
from .training import Problem

LEAST_WIDTH = 1e-3  # of components, in units of the standard deviation of the responses
MULTIPLE = 1e-6  # how near to a multiple of the step of a grid a response on it is, in steps
OUTER = 2.0  # prior standard deviation of the last layer's offsets, in prior scales of the weights


@dataclass(frozen=True, eq=False)
class Model:
    """A specification with what it learnt of the data: how covariates are read, where links begin.

    Attributes
    ----------
    mdn : MDN
    covariates : Covariates
    heads : tuple of Head
        One for each family.
    feature : tuple
        Names of the responses.
    named : bool
        Did they have names?
    floor : ndarray (response,)
        Least width of components, in units of that of one component for all responses.
    """

    mdn: MDN
    covariates: Covariates
    heads: tuple[Head, ...]
    feature: tuple
    named: bool
    floor: np.ndarray

    @classmethod
    def learn(cls, mdn: MDN, x, y) -> tuple["Model", np.ndarray, Data]:
        """The model, inputs (obs, input) and responses, checked."""
        data = as_data(y)
        covariates = Covariates.learn(x)
        inputs = covariates.encode(x)
        check_rows(len(inputs), data.n_obs)
        return cls.of(mdn, covariates, data), inputs, data

    @classmethod
    def of(cls, mdn: MDN, covariates: Covariates, data: Data, moments=None) -> "Model":
        """The model of responses, which are checked.

        Responses may be a sample, `moments` then the means and standard deviations (response,) of all rows.
        """
        if data.n_obs < 2:
            raise ValueError(f"a network needs rows to learn from, but there is {data.n_obs}.")
        for family in mdn.families:
            family.check_data(family.arrange(data), 1)
        floor = least_widths(data.values) if isinstance(mdn.floor, str) else np.full(data.n_features, mdn.floor)
        heads = tuple(head_of(family, data, floor, moments) for family in mdn.families)
        return cls(mdn, covariates, heads, data.feature, data.named, floor)

    def to_attrs(self) -> dict:
        """Write as attributes of a tree."""
        return {
            "mdn": json.dumps(self.mdn.to_dict()),
            "covariates": json.dumps(self.covariates.to_dict()),
            "heads": json.dumps([to_plain(head) for head in self.heads]),
            "feature_names": json.dumps(list(self.feature)),
            "named_features": int(self.named),
            "floor": self.floor.tolist(),
        }

    @classmethod
    def from_attrs(cls, attrs) -> "Model":
        """Inverse of `to_attrs`."""
        mdn = MDN.from_dict(json.loads(attrs["mdn"]))
        covariates = Covariates.from_dict(json.loads(attrs["covariates"]))
        heads = tuple(from_plain(plain) for plain in json.loads(attrs["heads"]))
        feature, named = tuple(json.loads(attrs["feature_names"])), bool(attrs["named_features"])
        return cls(mdn, covariates, heads, feature, named, np.atleast_1d(attrs["floor"]).astype(float))

    @property
    def layout(self) -> Layout:
        """Of the network."""
        mdn, k = self.mdn, len(self.mdn.kinds)
        outputs = k * (1 + self.n_outputs)
        return Layout((self.covariates.n_columns, *mdn.hidden, outputs), mdn.activation, mdn.residual, mdn.normalise)

    def _offsets(self, z, n_columns):
        """Outputs (cluster, output) of components spread over the encoded responses, to start from."""
        kinds = self.mdn.kinds
        offsets = np.zeros((len(kinds), self.n_outputs))
        for k, kind in enumerate(kinds):
            own = self.heads[kind].start(z[:, kind * n_columns : (kind + 1) * n_columns], (k + 0.5) / len(kinds))
            offsets[k, : len(own)] = own
        return offsets

    @property
    def discrete(self) -> bool:
        """Are responses counts or categories?"""
        return self.heads[0].component.discrete

    @property
    def n_outputs(self) -> int:
        """Outputs of the network for one component."""
        return max(head.n_outputs for head in self.heads)

    def problem(self, inputs: np.ndarray, y: np.ndarray, training: bool = False) -> Problem:
        """What is evaluated on inputs (obs, input) and responses (obs, column), or, rounded, trained."""
        rowwise, settings = rowwise_of(self.heads, y.shape[1])
        left_out, offsets = 0.0, np.empty((0, 0))
        if training:
            settings, left_out = standard_settings(self.heads)
            offsets = self._offsets(self._encoded(y, training), y.shape[1])
        inputs, columns = self.prepared(rowwise, inputs, y, training)
        layout = self.layout
        scale = np.full(layout.n_weights, self.mdn.prior_scale)
        layout.views(scale)[-1][1][:] *= OUTER
        return Problem(inputs, columns, layout, rowwise, self.mdn.kinds, settings, offsets, scale, left_out)

    def prepared(self, rowwise: Rowwise, inputs: np.ndarray, y: np.ndarray, training: bool) -> tuple:
        """Inputs (obs, input) and columns (column, obs) as a problem has them."""
        return rounded(inputs) if training else inputs, rowwise.prepare(self._encoded(y, training))

    def _encoded(self, y, training):
        z = encoded(self.heads, y)
        return rounded(z) if training and not self.discrete else z


def check_rows(n_covariates: int, n_responses: int) -> None:
    """Raise `ValueError` unless there is a response for every row of covariates."""
    if n_covariates != n_responses:
        raise ValueError(f"there are {n_covariates} rows of covariates, but {n_responses} of responses.")


def least_widths(y: np.ndarray) -> np.ndarray:
    """Standard deviation of the rounding of each column of responses (obs, column), in units of the column's own."""
    widths = np.full(y.shape[1], LEAST_WIDTH)
    for j, column in enumerate(y.T):
        distinct = np.unique(column)
        if len(distinct) < 3:
            continue
        step = np.diff(distinct).min()
        steps = (distinct - distinct[0]) / step
        if np.all(np.abs(steps - np.rint(steps)) < MULTIPLE * np.maximum(steps, 1.0)):
            widths[j] = max(LEAST_WIDTH, round(float(step / (np.sqrt(12.0) * column.std())), 6))
    return widths
