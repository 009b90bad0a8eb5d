"""Small published data sets that ship with the package.

`names` lists them, `load` gives one as an `xarray.Dataset` whose variables are the columns, along dimension "obs".
A data set is one CSV file beside this module and one entry in the table below.
"""

import csv
import difflib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

__all__ = ["load", "names"]


@dataclass(frozen=True)
class _Entry:
    """What is known of a data set besides its numbers; `variables` holds (units, long name) of each column."""

    description: str
    source: str
    licence: str
    variables: dict[str, tuple[str, str]] = field(default_factory=dict)


_FACTS = (
    "Published measurements, which are facts; bayesmix ships the numbers. "
    "R distributes the same table, as datasets::{name}, under GPL-2 | GPL-3."
)

_ENTRIES = {
    "acidity": _Entry(
        description="Acidity of 155 lakes in north-central Wisconsin: log(ANC + 50), with ANC the acid neutralising "
        "capacity in microequivalents per litre. Two or three groups of lakes.",
        source=(
            "S. L. Crawford, M. H. DeGroot, J. B. Kadane and M. J. Small (1992), Modeling lake-chemistry distributions: "
            "approximate Bayesian methods for estimating a finite-mixture model, Technometrics 34, 441-453."
        ),
        licence="Published measurements, which are facts; bayesmix ships the numbers. R distributes them with mclust.",
        variables={"log_anc": ("log(ueq/L)", "log of acid neutralising capacity + 50")},
    ),
    "death_notices": _Entry(
        description=(
            "Death notices of women aged 80 and over in The Times of London, per day, in 1910-1912 (1096 days): "
            "the number of notices and the number of days that had so many. Pass freq as weights."
        ),
        source=(
            "V. Hasselblad (1969), Estimation of finite mixtures of distributions from the exponential family, "
            "Journal of the American Statistical Association 64, 1459-1471."
        ),
        licence="Published figures, which are facts; bayesmix ships the numbers.",
        variables={
            "deaths": ("notices per day", "death notices of women aged 80 and over"),
            "freq": ("days", "number of days with so many notices"),
        },
    ),
    "faithful": _Entry(
        description="Eruptions of the Old Faithful geyser in Yellowstone: how long each lasted, and the wait until "
        "the next one. 272 eruptions in two groups.",
        source=(
            "A. Azzalini and A. W. Bowman (1990), A look at some data on the Old Faithful geyser, "
            "Applied Statistics 39, 357-365."
        ),
        licence=_FACTS.format(name="faithful"),
        variables={
            "eruptions": ("min", "duration of the eruption"),
            "waiting": ("min", "waiting time to the next eruption"),
        },
    ),
    "iris": _Entry(
        description="Flowers of three species of iris, 50 of each: four measurements, and the species as text.",
        source=(
            "R. A. Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, "
            "179-188; collected by E. Anderson (1935), The irises of the Gaspe Peninsula, Bulletin of the American "
            "Iris Society 59, 2-5."
        ),
        licence=_FACTS.format(name="iris"),
        variables={
            "sepal_length": ("cm", "length of the sepal"),
            "sepal_width": ("cm", "width of the sepal"),
            "petal_length": ("cm", "length of the petal"),
            "petal_width": ("cm", "width of the petal"),
            "species": ("", "species of iris"),
        },
    ),
    "worked_example": _Entry(
        description="Six points in two groups, small enough to follow EM by hand; the documentation does.",
        source="Made up for the documentation of bayesmix.",
        licence="Part of bayesmix, under its licence.",
        variables={"y": ("1", "observed value")},
    ),
}


def names() -> list[str]:
    """Names that `load` accepts, in alphabetical order.

    Returns
    -------
    list of str
    """
    return sorted(_ENTRIES)


def load(name: str) -> "xarray.Dataset":
    """Load a data set that ships with the package.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    xarray.Dataset
        One variable per column, each of shape (obs,): numbers as float64, or as int64 when the file holds whole
        numbers only, and text as strings. Attributes of the data set: description, source, licence. Attributes of
        each variable: units, long_name.

    Raises
    ------
    ValueError
        If there is no data set of that name; the message lists the names there are.

    Examples
    --------
    >>> import bayesmix as bm
    >>> bm.datasets.load("faithful").sizes["obs"]
    272
    """
    import xarray as xr

    if name not in _ENTRIES:
        close = difflib.get_close_matches(str(name), names(), n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"there is no data set {name!r}.{hint} The data sets are {', '.join(map(repr, names()))}.")
    entry = _ENTRIES[name]
    variables = {
        column: ("obs", _typed(cells), dict(zip(("units", "long_name"), entry.variables[column], strict=True)))
        for column, cells in _read(name).items()
    }
    attrs = {"name": name, "description": entry.description, "source": entry.source, "licence": entry.licence}
    return xr.Dataset(variables, attrs=attrs)


def _read(name: str) -> dict[str, tuple[str, ...]]:
    """Columns of a CSV file beside this module, by name, as text."""
    text = resources.files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def _typed(cells: tuple[str, ...]) -> np.ndarray:
    """Whole numbers as int64, other numbers as float64, anything else as text."""
    text = np.array(cells)
    for dtype in (np.int64, np.float64):
        try:
            return text.astype(dtype)
        except ValueError:
            continue
    return text
