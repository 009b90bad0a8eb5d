"""Tables of parameters: which entries are shown, how they are called, and their summary."""

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr

SAMPLE_DIMS = ("chain", "draw")
MIRRORED = ("feature", "feature_2")  # dims of a symmetric matrix
POSTERIOR = ("nuts", "gibbs", "laplace")  # engines whose draws are draws of the posterior as they are
TRUSTED = ("converged", "labels switched only")  # verdicts under which labels of components mean something


class Entry(NamedTuple):
    """One number of a parameter: how it is called, the variable that it is in, and its place there."""

    label: str  # as ArviZ has it: "mu[0, eruptions]"
    variable: str
    index: tuple[int, ...]  # along the parameter's own dims


def entries(dataset: xr.Dataset, keep=SAMPLE_DIMS) -> list[Entry]:
    """List the entries of the parameters that a table shows.

    Left out are the entries of a symmetric matrix below its diagonal, which repeat those above, and entries that never
    vary: the zeros of a diagonal covariance, the weight of a single component.

    Parameters
    ----------
    dataset : xarray.Dataset
        Parameters; group ``posterior`` or ``point`` of a fit.
    keep : tuple of str
        Dims over which an entry may vary: those that are not the parameter's own.

    Returns
    -------
    list of Entry
        In the order of the variables, the last dim running fastest.
    """
    found = []
    for name in map(str, dataset.data_vars):
        array = dataset[name]
        own = [dim for dim in array.dims if dim not in keep]
        ahead = [dim for dim in array.dims if dim in keep]
        values = array.transpose(*ahead, *own).values.reshape(-1, *(array.sizes[dim] for dim in own))
        for index in np.ndindex(*values.shape[1:]):
            place = dict(zip(own, index, strict=True))
            row, column = (place[dim] for dim in MIRRORED) if set(MIRRORED) <= set(own) else (0, 0)
            if row > column or _is_fixed(values[:, *index], off_diagonal=row < column):
                continue
            names = (str(array[dim].values[i]) if dim in array.coords else str(i) for dim, i in place.items())
            label = f"{name}[{', '.join(names)}]" if own else name
            found.append(Entry(label, name, index))
    return found


def _is_fixed(values, *, off_diagonal: bool) -> bool:
    """Tell whether an entry never varies: values (draws,); of a single draw, only a zero off the diagonal."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return False
    if off_diagonal and np.all(values == 0.0):
        return True
    return len(values) > 1 and bool(np.ptp(values) == 0.0)


def parameters_of(fit, group: str) -> xr.Dataset:
    """Take the fit's own parameters of a group, without what a sampler kept beside them."""
    return fit.tree[group].to_dataset()[fit._names]


def summarise(fit, ci_prob: float = 0.89):
    """Table of a fit's parameters, one row per entry; see `Fit.summary`.

    Returns
    -------
    pandas.DataFrame
        With draws ``mean``, ``sd``, the ends of an equal-tailed interval, effective sample sizes, R-hat and Monte
        Carlo errors, as `arviz.summary` has them (Vehtari et al. 2021), and in front ``estimate`` where the fit has
        one besides the draws (EM). Without draws ``estimate`` alone. All in the units of the data.
    """
    import pandas as pd

    check_probability(ci_prob)
    estimates = None
    if "point" in fit.tree.children:
        point = parameters_of(fit, "point")
        estimates = {e.label: float(point[e.variable].values[e.index]) for e in entries(point)}
    if fit.has_draws:
        import arviz as az

        hyper = [name for name in fit.mixture.weights.hyper if name in fit.tree["posterior"].data_vars]
        posterior = parameters_of(fit, "posterior").assign(fit.tree["posterior"].to_dataset()[hyper])
        rows = [entry.label for entry in entries(posterior)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of entries that are constant, which are left out below
            table = az.summary(xr.DataTree.from_dict({"posterior": posterior}), ci_prob=ci_prob, ci_kind="eti")
        table = table.loc[rows]
        if estimates is not None:
            table.insert(0, "estimate", [estimates.get(label, np.nan) for label in rows])
    else:
        table = pd.DataFrame({"estimate": estimates or {}})
    table.attrs["message"] = fit.message
    if fit.engine in ("nuts", "gibbs", "laplace") and fit.verdict not in TRUSTED:
        warnings.warn(fit.message, UserWarning, stacklevel=3)
    return table


def check_probability(ci_prob) -> None:
    """Raise `ValueError` unless this is the probability of an interval."""
    if not 0 < ci_prob < 1:
        raise ValueError(f"ci_prob={ci_prob!r} but it is a probability between 0 and 1, for example 0.89.")


def number(value: float, digits: int = 3, scale: float | None = None) -> str:
    """Write a number for people: `digits` significant digits of `scale`, of the value itself if none is given.

    With ``scale`` the value is rounded to the place of that number's last digit, as estimates are to their standard
    error: 54.4812 with standard error 0.61 is written 54.48 when two digits of the error count.
    """
    if not np.isfinite(value):
        return {"nan": "-"}.get(str(float(value)), f"{value:g}")
    size = abs(value) if scale is None or not np.isfinite(scale) or scale == 0 else abs(scale)
    if size == 0:
        return "0"
    place = digits - 1 - int(np.floor(np.log10(size)))
    largest = max(abs(value), size)
    if largest >= 1e7 or largest < 1e-4:
        return f"{value:.{max(0, min(15, place + int(np.floor(np.log10(largest)))))}e}"
    return f"{round(value, place) + 0.0:.{max(0, place)}f}"  # + 0.0 turns -0 into 0
