"""Each family beside its counterpart in SciPy and PyMC: a new family is one more row of `ROWS`.

The suite in `contract.py` reads nothing else about a family. Parameters are those of three components, in numbers that
binary floating point holds exactly, so that moving and rescaling them costs no rounding of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import integrate, optimize, special, stats
from scipy.spatial.transform import Rotation

import bayesmix as bm
from bayesmix.components.dirichlet import Dirichlet
from bayesmix.priors import Prior


@dataclass(frozen=True)
class Oracle:
    """One family, or one structure of it, and who else knows its density.

    scipy, pymc : parameters of one component -> SciPy's frozen distribution, PyMC's unnamed one
    moved : (params, offset, scale) -> parameters of ``scale * x + offset``; None where that makes no sense
    offsets : what rows are moved by; 0 alone for families that can only be rescaled
    off_support : values whose density is zero
    statistics : x, parameters -> what the pass sums over rows, first and second (row, cluster, ...), of passes of their own
    nodes : SciPy's distribution -> values (node, feature) and masses whose sum integrates the density, where a grid would not
    pymc_digits : log density above which PyMC's is compared, and how closely, where its own formula loses digits
    impossible : changed parameters, and values in the support of which the last is then impossible under all components
    atoms : all values (row, feature), of families of several discrete columns
    flat : are there directions in which the likelihood does not change? Then only the density has an optimum
    """

    name: str
    component: bm.Component
    params: dict
    scipy: Callable
    pymc: Callable
    moved: Callable | None = None
    offsets: tuple = (0.0, 1e6, -1e6)
    off_support: tuple = ()
    impossible: tuple = ()
    flat: bool = False
    atoms: Any = None
    statistics: Callable | None = None
    nodes: Callable | None = None
    pymc_digits: tuple = (-np.inf, 1e-11)

    def __str__(self):
        return self.name

    @property
    def n_components(self) -> int:
        return len(self.params["weights"])

    @property
    def n_features(self) -> int:
        return self.component.n_features_of(self.params)

    @property
    def mixture(self) -> bm.Mixture:
        return bm.Mixture(self.component, self.n_components)

    @property
    def with_zero_weight(self) -> dict:
        """The same parameters, the first component without weight."""
        return self.params | {"weights": np.array([0.0, 0.25, 0.75])}

    def components(self, params=None) -> list:
        """SciPy's distribution of each component."""
        params = params or self.params
        return [self.scipy(one) for one in split(params)]

    def log_density(self, x, params=None) -> np.ndarray:
        """SciPy's log density of each component: x (obs, feature) -> (obs, cluster)."""
        x = x if self.component.multivariate else x[:, 0]
        return np.stack([logpdf_of(d)(x).reshape(len(x)) for d in self.components(params)], axis=1)

    def data(self, n: int, seed: int = 0, params=None) -> np.ndarray:
        """Rows (n, feature) of the mixture, drawn by SciPy."""
        params = params or self.params
        rng = np.random.default_rng(seed)
        labels = rng.choice(self.n_components, size=n, p=params["weights"])
        rows = np.empty((n, self.n_features))
        for k, component in enumerate(self.components(params)):
            size = int(np.sum(labels == k))
            if size:
                rows[labels == k] = np.reshape(component.rvs(size=size, random_state=rng), (size, -1))
        return rows


def split(params: dict) -> list[dict]:
    """Parameters of each component by itself, without the weights."""
    return [
        {name: value[k] for name, value in params.items() if name != "weights"} for k in range(len(params["weights"]))
    ]


def logpdf_of(distribution) -> Callable:
    """Log density of a SciPy distribution, whatever it is called there."""
    return getattr(distribution, "logpmf", None) or distribution.logpdf


@dataclass(frozen=True)
class Between:
    """What SciPy lacks: counts of one of its laws from `low` to `high`, the others put on these ends or not seen."""

    law: Any
    low: int
    high: int
    censored: bool

    @property
    def _table(self):
        counts = np.arange(self.low, self.high + 1)
        table = self.law.pmf(counts)
        if self.censored:
            table[0], table[-1] = self.law.cdf(self.low), self.law.sf(self.high - 1)
        return counts, table / table.sum()

    def logpmf(self, x):
        counts, table = self._table
        x = np.asarray(x)
        inside = np.isin(x, counts)
        with np.errstate(divide="ignore"):
            return np.where(inside, np.log(table[np.where(inside, x - self.low, 0).astype(int)]), -np.inf)

    def cdf(self, x):
        place = np.floor(np.asarray(x) - self.low).astype(int) + 1
        return np.concatenate([[0.0], np.cumsum(self._table[1])])[np.clip(place, 0, self.high - self.low + 1)]

    def ppf(self, q):
        return self.low + np.searchsorted(np.cumsum(self._table[1]), np.minimum(q, 1 - 1e-15)).astype(float)

    def rvs(self, size, random_state):
        return self.ppf(random_state.random(size))

    def mean(self):
        counts, table = self._table
        return counts @ table

    def var(self):
        counts, table = self._table
        return (counts - self.mean()) ** 2 @ table


@dataclass(frozen=True)
class OtherZeros:
    """What SciPy lacks: counts of one of its laws with probability psi, otherwise zero; without its own zeros or with."""

    law: Any
    psi: float
    hurdle: bool

    def logpmf(self, x):
        some = np.log(self.psi) + self.law.logpmf(x) - (np.log(self.law.sf(0)) if self.hurdle else 0.0)
        zero = np.log(1 - self.psi + (0.0 if self.hurdle else self.psi * self.law.pmf(0)))
        return np.where(x == 0, zero, some)

    @property
    def _table(self):
        counts = np.arange(self.law.ppf(1 - 1e-15) + 50)
        return counts, np.exp(self.logpmf(counts))

    def cdf(self, x):
        counts, table = self._table
        return np.cumsum(table)[np.minimum(x, counts[-1]).astype(int)]

    def ppf(self, q):
        return np.searchsorted(np.cumsum(self._table[1]), np.minimum(q, 1 - 1e-15)).astype(float)

    def rvs(self, size, random_state):
        return self.ppf(random_state.random(size))

    def mean(self):
        counts, table = self._table
        return counts @ table

    def var(self):
        counts, table = self._table
        return (counts - self.mean()) ** 2 @ table


class SciPyMultinomial:
    """SciPy's multinomial distribution, with the names of its multivariate normal one."""

    def __init__(self, n, p):
        self.frozen = stats.multinomial(n, p)
        self.logpdf, self.rvs = self.frozen.logpmf, self.frozen.rvs
        self.mean, self.cov = n * np.asarray(p), self.frozen.cov()


class SciPyDirichlet:
    """SciPy's Dirichlet distribution, zero off the simplex, with the names of its multivariate normal one."""

    def __init__(self, alpha):
        self.alpha, self.frozen = alpha, stats.dirichlet(alpha)
        self.rvs, self.mean, self.cov = self.frozen.rvs, self.frozen.mean(), self.frozen.cov()

    def logpdf(self, x):
        on = np.all(x > 0, axis=1) & (np.abs(x.sum(axis=1) - 1) < 1e-9)
        return np.array([self.frozen.logpdf(row) if inside else -np.inf for row, inside in zip(x, on, strict=True)])

    def nodes(self):
        """Three shares of whole-numbered concentrations, a polynomial: Gauss's rule is exact on the triangle's square."""
        points, masses = np.polynomial.legendre.leggauss(40)
        u, v = (m.ravel() for m in np.meshgrid(0.5 * (points + 1.0), 0.5 * (points + 1.0)))
        x = np.stack([u, (1 - u) * v, (1 - u) * (1 - v)], axis=1)
        return x, 0.25 * np.outer(masses, masses).ravel() * (1 - u)


class SciPyStudent:
    """SciPy's multivariate t distribution, with the names of its multivariate normal one."""

    def __init__(self, mu, scale, nu):
        self.frozen = stats.multivariate_t(mu, scale, nu)
        self.logpdf, self.rvs = self.frozen.logpdf, self.frozen.rvs
        self.mean, self.cov, self.root = mu, scale * nu / (nu - 2.0), np.linalg.cholesky(scale)

    def nodes(self):
        """Spheres of the density."""
        return spheres(self.mean, self.root)


def spheres(mean, root):
    """Nodes on ellipsoids about the mean, by Gauss's rule in the arc tangent of their radius; on each, its poles."""
    d = len(mean)
    angle, mass = np.polynomial.legendre.leggauss(100)
    radius = np.tan(0.25 * np.pi * (angle + 1.0))
    mass = mass * 0.25 * np.pi * (1.0 + radius**2) * radius ** (d - 1) * np.prod(np.diag(root))
    poles = np.vstack([np.eye(d), -np.eye(d)])
    area = 2.0 * np.pi ** (0.5 * d) / special.gamma(0.5 * d)
    return mean + np.kron(radius[:, None], poles) @ root.T, np.repeat(mass, 2 * d) * area / (2 * d)


def student_statistics(x, params):
    """What the pass of t components sums: u (x - mu), the slope of the log density in nu, u; and u (x - mu)(x - mu)'."""
    nu, d = params["nu"], x.shape[1]
    c = x[:, None, :] - params["mu"]
    squared = np.einsum("nki,kij,nkj->nk", c, np.linalg.inv(params["scale"]), c)
    u = (nu + d) / (nu + squared)
    slope = special.psi(0.5 * (nu + d)) - special.psi(0.5 * nu) - d / nu - np.log1p(squared / nu) + u * squared / nu
    second = u[..., None, None] * c[..., :, None] * c[..., None, :]
    return np.concatenate([u[..., None] * c, 0.5 * slope[..., None], u[..., None]], axis=-1), second


def _mvstudent(name: str, structure: str, **settings) -> "Oracle":
    diagonal = structure == "diag"

    def statistics(x, params):
        first, second = student_statistics(x, params)
        return first, np.diagonal(second, axis1=-2, axis2=-1) if diagonal else second

    def pymc(params):
        import pymc as pm

        return pm.MvStudentT.dist(**params)

    nu = settings.get("nu")
    return Oracle(
        name,
        bm.MvStudentT(covariance=structure, **settings),
        {
            "weights": WEIGHTS,
            "mu": MEANS,
            "scale": COVARIANCES[structure],
            "nu": np.array([5.0, 6.0, 8.0]) if nu is None else np.full(3, float(nu)),
        },
        scipy=lambda p: SciPyStudent(p["mu"], p["scale"], p["nu"]),
        pymc=pymc,
        moved=lambda p, offset, scale: p | {"mu": p["mu"] * scale + offset, "scale": p["scale"] * scale**2},
        statistics=statistics,
        nodes=SciPyStudent.nodes,
    )


def _pymc(name: str) -> Callable:
    def make(params):
        import pymc as pm

        return getattr(pm, name).dist(**params)

    return make


def _moved(location: str, width: str) -> Callable:
    """Move a location-scale family: these are the names of its two parameters."""
    return lambda params, offset, scale: (
        params | {location: params[location] * scale + offset, width: params[width] * scale}
    )


def _moved_normal(params, offset, scale):
    return params | {"mu": params["mu"] * scale + offset, "sigma": params["sigma"] * scale}


def _moved_mvnormal(params, offset, scale):
    return params | {"mu": params["mu"] * scale + offset, "cov": params["cov"] * scale**2}


def _pareto(params):
    import pymc as pm

    return pm.Pareto.dist(params["alpha"], m=np.asarray(0.5))  # of a number PyTensor makes a float32


def _chi_squared(params):
    import pymc as pm

    return pm.Gamma.dist(params["nu"] / 2.0, np.asarray(0.5))  # pm.ChiSquared has log 2 in single precision


def _positive(name: str, component, scipy, rescaled=None, pymc=None, **params) -> Oracle:
    """A family on the positive line; `rescaled`: by which power of the scale each parameter changes."""

    def moved(params, offset, scale):
        return params | {name: params[name] * scale**power for name, power in rescaled.items()}

    return Oracle(
        name,
        component,
        {"weights": WEIGHTS} | {name: np.array(value) for name, value in params.items()},
        scipy=scipy,
        pymc=pymc or _pymc(name),
        moved=None if rescaled is None else moved,
        offsets=(0.0,),
        off_support=(-1.0, -1e-9),
        impossible=({}, (1.0, -1.0)),
    )


class OnInterval:
    """Moments by quadrature for distributions that SciPy knows in another form."""

    low, high = 0.0, 1.0

    def pdf(self, x):
        return np.exp(self.logpdf(x))

    def mean(self):
        return self._moment(lambda x: x)

    def var(self):
        mean = self.mean()
        return self._moment(lambda x: (x - mean) ** 2)

    def _moment(self, of):
        points = self.ppf(np.array([0.01, 0.1, 0.5, 0.9, 0.99]))
        return integrate.quad(lambda x: of(x) * self.pdf(x), self.low, self.high, points=points, limit=200)[0]


class ExponentiatedExponential(OnInterval):
    """Kumaraswamy's distribution: -log(x) is exponentiated exponential (Jones 2009)."""

    def __init__(self, a, b):
        self.of_log = stats.exponweib(b, 1.0, scale=1.0 / a)

    def logpdf(self, x):
        with np.errstate(divide="ignore", invalid="ignore"):
            y = -np.log(x)
            return np.where((x > 0) & (x < 1), self.of_log.logpdf(y) + y, -np.inf)

    def cdf(self, x):
        return self.of_log.sf(-np.log(x))

    def ppf(self, q):
        return np.exp(-self.of_log.isf(q))

    def isf(self, q):
        return np.exp(-self.of_log.ppf(q))

    def rvs(self, size, random_state):
        return np.exp(-self.of_log.rvs(size=size, random_state=random_state))


class FromMinusPi(OnInterval):
    """SciPy's von Mises distribution, which winds around the circle, as numbers from -pi to pi."""

    low, high = -np.pi, np.pi

    def __init__(self, mu, kappa):
        self.line = stats.vonmises(kappa, mu)

    def logpdf(self, x):
        return np.where(np.abs(x) <= np.pi, self.line.logpdf(x), -np.inf)

    def cdf(self, x):
        return self.line.cdf(x) - self.line.cdf(-np.pi)

    def ppf(self, q):
        each = [optimize.brentq(lambda x, q=q: self.cdf(x) - q, -np.pi, np.pi) for q in np.ravel(q)]
        return np.reshape(each, np.shape(q))

    def isf(self, q):
        return self.ppf(1.0 - q)

    def rvs(self, size, random_state):
        return (self.line.rvs(size=size, random_state=random_state) + np.pi) % (2 * np.pi) - np.pi


WEIGHTS = np.array([0.1875, 0.3125, 0.5])
MEANS = np.array([[-2.0, 0.5, 1.0], [1.0, 3.0, -1.5], [4.0, -1.0, 0.25]])
COVARIANCES = {
    "full": np.array(
        [
            [[1.0, 0.5, -0.25], [0.5, 2.0, 0.5], [-0.25, 0.5, 0.75]],
            [[0.5, -0.25, 0.0], [-0.25, 0.5, 0.125], [0.0, 0.125, 1.5]],
            [[2.0, 1.0, 0.5], [1.0, 1.5, 0.25], [0.5, 0.25, 0.5]],
        ]
    ),
    "tied": np.repeat([[[1.0, 0.5, -0.25], [0.5, 2.0, 0.5], [-0.25, 0.5, 0.75]]], 3, axis=0),
    "diag": np.array([np.diag(v) for v in ([1.0, 0.5, 2.0], [0.25, 1.0, 0.75], [4.0, 0.5, 1.5])]),
    "spherical": np.array([v * np.eye(3) for v in (0.5, 1.0, 2.25)]),
}


def ellipsoids(letters: str) -> np.ndarray:
    """Covariances of three components by mclust's letters, from volume, shape and orientation, axes well apart."""
    volume = {"E": [1.0, 1.0, 1.0], "V": [0.5, 1.0, 2.0]}[letters[0]]
    shapes = {"I": [1.0, 1.0, 1.0], "E": [8.0, 1.0, 0.125], "V": [[4.0, 1.0, 0.25], [8.0, 0.5, 0.25], [2.0, 2.0, 0.25]]}
    turns = {"I": [0.0, 0.0, 0.0], "E": [0.25, 0.25, 0.25], "V": [0.25, -0.125, 0.5]}[letters[2]]
    out = []
    for size, shape, turn in zip(volume, np.broadcast_to(shapes[letters[1]], (3, 3)), turns, strict=True):
        axes = Rotation.from_rotvec(turn * np.array([1.0, -0.5, 0.25])).as_matrix()
        out.append(size * (axes * shape) @ axes.T)
    return np.array([0.5 * (one + one.T) for one in out])


HALF_NORMAL = Prior.of("HalfNormal", (0.0, np.inf), sigma=2.0)
LETTERED = ("EII", "EEI", "VEI", "EVI", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV")  # beside those above


def _mvnormal(name: str, structure: str, **priors) -> Oracle:
    return Oracle(
        name,
        bm.MvNormal(covariance=structure, **priors),
        {
            "weights": WEIGHTS,
            "mu": MEANS,
            "cov": COVARIANCES[structure] if structure in COVARIANCES else ellipsoids(structure),
        },
        scipy=lambda p: stats.multivariate_normal(p["mu"], p["cov"]),
        pymc=_pymc("MvNormal"),
        moved=_moved_mvnormal,
    )


def _pymc_hurdle_binomial(p):
    """Of PyMC's parts, as its other hurdle distributions are made."""
    import pymc as pm
    import pytensor.tensor as pt

    some = pm.Truncated.dist(pm.Binomial.dist(n=12, p=p["p"]), lower=1)
    return pm.Mixture.dist(pt.stack([1.0 - p["psi"], p["psi"]], axis=-1), [pm.DiracDelta.dist(0), some])


def _other_zeros(name: str, component, law, settings=None, **params) -> Oracle:
    """A zero-inflated or hurdle family."""
    settings = settings or {}
    return Oracle(
        name,
        component,
        {"weights": WEIGHTS, "psi": np.array([0.25, 0.75, 0.875])} | {n: np.array(v) for n, v in params.items()},
        scipy=lambda p: OtherZeros(law(p), p["psi"], name.startswith("Hurdle")),
        pymc=_pymc_hurdle_binomial if name == "HurdleBinomial" else lambda p: _pymc(name)(settings | p),
        off_support=(-1.0, 0.5, 2.25),
        impossible=({}, (0.0, -1.0)),
        flat=True,  # the data do not say of which component a zero is
    )


ROWS = [
    Oracle(
        "Normal",
        bm.Normal(),
        {"weights": WEIGHTS, "mu": np.array([-2.0, 1.0, 4.0]), "sigma": np.array([0.5, 1.0, 2.0])},
        scipy=lambda p: stats.norm(p["mu"], p["sigma"]),
        pymc=_pymc("Normal"),
        moved=_moved_normal,
    ),
    _mvnormal("MvNormal full", "full"),
    _mvnormal("MvNormal tied", "tied"),
    _mvnormal("MvNormal diag", "diag"),
    _mvnormal("MvNormal spherical", "spherical"),
    *(_mvnormal(f"MvNormal {letters}", letters) for letters in LETTERED),
    Oracle(
        "FactorAnalyser",
        bm.FactorAnalyser(n_factors=1),
        {
            "weights": WEIGHTS,
            "mu": np.array([[-3.0, 0.5, 1.0, 0.0], [1.0, 4.0, -1.5, 3.0], [5.0, -3.0, 0.25, -2.0]]),
            "loadings": np.array([[1.5, 1.0, -1.25, 1.0], [1.75, -1.5, 1.25, 1.25], [1.5, 1.5, 1.25, -1.25]])[
                ..., None
            ],
            "sigma": np.array([[1.0, 1.25, 1.0, 1.25], [1.25, 1.0, 1.25, 1.0], [1.0, 1.25, 1.25, 1.0]]),
        },
        scipy=lambda p: stats.multivariate_normal(p["mu"], bm.FactorAnalyser.covariances(p)),
        pymc=lambda p: _pymc("MvNormal")({"mu": p["mu"], "cov": bm.FactorAnalyser.covariances(p)}),
        moved=lambda p, offset, scale: (
            p | {"mu": p["mu"] * scale + offset, "loadings": p["loadings"] * scale, "sigma": p["sigma"] * scale}
        ),
        nodes=lambda law: spheres(law.mean, np.linalg.cholesky(law.cov)),
    ),
    _mvstudent("MvStudentT full", "full"),
    _mvstudent("MvStudentT diag, nu known", "diag", nu=6),
    Oracle(
        "StudentT",
        bm.StudentT(),
        {
            "weights": WEIGHTS,
            "mu": np.array([-2.0, 1.0, 4.0]),
            "sigma": np.array([0.5, 1.0, 2.0]),
            "nu": np.array([5.0, 6.0, 8.0]),
        },
        scipy=lambda p: stats.t(p["nu"], p["mu"], p["sigma"]),
        pymc=_pymc("StudentT"),
        moved=_moved_normal,
    ),
    Oracle(
        "Poisson",
        bm.Poisson(),
        {"weights": WEIGHTS, "mu": np.array([0.5, 4.0, 16.0])},
        scipy=lambda p: stats.poisson(p["mu"]),
        pymc=_pymc("Poisson"),
        off_support=(-1.0, 0.5, 2.25, -0.5),
        impossible=({"mu": np.zeros(3)}, (0.0, 1.0)),
    ),
    Oracle(
        "Bernoulli",
        bm.Bernoulli(),
        {"weights": WEIGHTS, "p": np.array([0.125, 0.375, 0.75])},
        scipy=lambda p: stats.bernoulli(p["p"]),
        pymc=_pymc("Bernoulli"),
        off_support=(-1.0, 0.5, 2.0),
        impossible=({"p": np.zeros(3)}, (0.0, 1.0)),
    ),
    _positive(
        "Exponential", bm.Exponential(), lambda p: stats.expon(scale=1 / p["lam"]), {"lam": -1}, lam=[4.0, 1.0, 0.125]
    ),
    _positive(
        "Gamma",
        bm.Gamma(),
        lambda p: stats.gamma(p["alpha"], scale=1 / p["beta"]),
        {"beta": -1},
        alpha=[2.0, 8.0, 4.0],
        beta=[4.0, 2.0, 0.25],
    ),
    _positive(
        "LogNormal",
        bm.LogNormal(),
        lambda p: stats.lognorm(p["sigma"], scale=np.exp(p["mu"])),
        mu=[-1.0, 0.5, 2.0],
        sigma=[0.25, 0.5, 0.25],
    ),
    _positive(
        "Weibull",
        bm.Weibull(),
        lambda p: stats.weibull_min(p["alpha"], scale=p["beta"]),
        {"beta": 1},
        alpha=[1.0, 4.0, 8.0],
        beta=[1.0, 4.0, 8.0],
    ),
    _positive(
        "InverseGamma",
        bm.InverseGamma(),
        lambda p: stats.invgamma(p["alpha"], scale=p["beta"]),
        {"beta": 1},
        alpha=[12.0, 16.0, 12.0],
        beta=[4.0, 32.0, 128.0],
    ),
    _positive(
        "HalfNormal", bm.HalfNormal(), lambda p: stats.halfnorm(scale=p["sigma"]), {"sigma": 1}, sigma=[0.25, 2.0, 16.0]
    ),
    _positive("ChiSquared", bm.ChiSquared(), lambda p: stats.chi2(p["nu"]), pymc=_chi_squared, nu=[4.0, 16.0, 64.0]),
    _positive(
        "Wald",
        bm.Wald(),
        lambda p: stats.invgauss(p["mu"] / p["lam"], scale=p["lam"]),
        {"mu": 1, "lam": 1},
        mu=[0.5, 4.0, 16.0],
        lam=[2.0, 16.0, 256.0],
    ),
    _positive(
        "Pareto",
        bm.Pareto(m=0.5),
        lambda p: stats.pareto(p["alpha"], scale=0.5),
        pymc=_pareto,
        alpha=[512.0, 32.0, 8.0],
    ),
    Oracle(
        "Binomial",
        bm.Binomial(n=12),
        {"weights": WEIGHTS, "p": np.array([0.125, 0.5, 0.875])},
        scipy=lambda p: stats.binom(12, p["p"]),
        pymc=lambda p: _pymc("Binomial")({"n": 12, **p}),
        off_support=(-1.0, 0.5, 13.0),
        impossible=({"p": np.zeros(3)}, (0.0, 1.0)),
    ),
    Oracle(
        "Geometric",
        bm.Geometric(),
        {"weights": WEIGHTS, "p": np.array([0.875, 0.25, 0.015625])},
        scipy=lambda p: stats.geom(p["p"]),
        pymc=_pymc("Geometric"),
        off_support=(-1.0, 0.0, 1.5),
        impossible=({"p": np.ones(3)}, (1.0, 2.0)),
    ),
    Oracle(
        "Laplace",
        bm.Laplace(),
        {"weights": WEIGHTS, "mu": np.array([-2.0, 1.0, 4.0]), "b": np.array([0.5, 0.75, 1.5])},
        scipy=lambda p: stats.laplace(p["mu"], p["b"]),
        pymc=_pymc("Laplace"),
        moved=_moved("mu", "b"),
        impossible=({"b": np.full(3, 0.25)}, (0.0, 1.7e308)),
    ),
    Oracle(
        "NegativeBinomial",
        bm.NegativeBinomial(),
        {"weights": WEIGHTS, "mu": np.array([0.5, 4.0, 32.0]), "alpha": np.array([1.0, 4.0, 8.0])},
        scipy=lambda p: stats.nbinom(p["alpha"], p["alpha"] / (p["alpha"] + p["mu"])),
        pymc=_pymc("NegativeBinomial"),
        off_support=(-1.0, 0.5, 2.25),
        impossible=({}, (0.0, -1.0)),
    ),
    _other_zeros(
        "ZeroInflatedPoisson", bm.ZeroInflatedPoisson(), lambda p: stats.poisson(p["mu"]), mu=[1.0, 6.0, 24.0]
    ),
    _other_zeros(
        "ZeroInflatedNegativeBinomial",
        bm.ZeroInflatedNegativeBinomial(),
        lambda p: stats.nbinom(p["alpha"], p["alpha"] / (p["alpha"] + p["mu"])),
        mu=[2.0, 16.0, 128.0],
        alpha=[4.0, 16.0, 32.0],
    ),
    _other_zeros(
        "ZeroInflatedBinomial",
        bm.ZeroInflatedBinomial(n=12),
        lambda p: stats.binom(12, p["p"]),
        {"n": 12},
        p=[0.125, 0.5, 0.875],
    ),
    _other_zeros("HurdlePoisson", bm.HurdlePoisson(), lambda p: stats.poisson(p["mu"]), mu=[1.0, 6.0, 24.0]),
    _other_zeros(
        "HurdleNegativeBinomial",
        bm.HurdleNegativeBinomial(),
        lambda p: stats.nbinom(p["alpha"], p["alpha"] / (p["alpha"] + p["mu"])),
        mu=[2.0, 16.0, 128.0],
        alpha=[4.0, 16.0, 32.0],
    ),
    _other_zeros(
        "HurdleBinomial", bm.HurdleBinomial(n=12), lambda p: stats.binom(12, p["p"]), {"n": 12}, p=[0.125, 0.5, 0.875]
    ),
    Oracle(
        "Logistic",
        bm.Logistic(),
        {"weights": WEIGHTS, "mu": np.array([-2.0, 1.0, 4.0]), "s": np.array([0.25, 0.5, 1.0])},
        scipy=lambda p: stats.logistic(p["mu"], p["s"]),
        pymc=_pymc("Logistic"),
        moved=_moved("mu", "s"),
        impossible=({"s": np.full(3, 0.25)}, (0.0, 1.7e308)),
    ),
    Oracle(
        "Gumbel",
        bm.Gumbel(),
        {"weights": WEIGHTS, "mu": np.array([-2.0, 1.0, 4.0]), "beta": np.array([0.5, 0.75, 1.5])},
        scipy=lambda p: stats.gumbel_r(p["mu"], p["beta"]),
        pymc=_pymc("Gumbel"),
        moved=_moved("mu", "beta"),
        impossible=({}, (0.0, -1e200)),
    ),
    Oracle(
        "SkewNormal",
        bm.SkewNormal(),
        {
            "weights": WEIGHTS,
            "mu": np.array([-4.0, 1.0, 6.0]),
            "sigma": np.array([1.0, 2.0, 3.0]),
            "alpha": np.array([2.0, -3.0, 4.0]),
        },
        scipy=lambda p: stats.skewnorm(p["alpha"], p["mu"], p["sigma"]),
        pymc=_pymc("SkewNormal"),
        pymc_digits=(-9.0, 1e-7),  # its log(1 + erf) has none in the tail, and its sqrt(2) is a single
        moved=_moved("mu", "sigma"),
    ),
    Oracle(
        "Beta",
        bm.Beta(),
        {"weights": WEIGHTS, "alpha": np.array([2.0, 32.0, 96.0]), "beta": np.array([24.0, 32.0, 8.0])},
        scipy=lambda p: stats.beta(p["alpha"], p["beta"]),
        pymc=_pymc("Beta"),
        off_support=(-1.0, 1.5),
        impossible=({}, (0.5, 1.0)),
    ),
    Oracle(
        "Kumaraswamy",
        bm.Kumaraswamy(),
        {"weights": WEIGHTS, "a": np.array([1.5, 8.0, 32.0]), "b": np.array([16.0, 128.0, 4.0])},
        scipy=lambda p: ExponentiatedExponential(p["a"], p["b"]),
        pymc=_pymc("Kumaraswamy"),
        off_support=(-1.0, 1.5),
        impossible=({}, (0.5, 1.0)),
    ),
    Oracle(
        "Categorical",
        bm.Categorical(n_categories=4),
        {"weights": WEIGHTS, "p": np.array([[4, 4, 5, 3], [1, 3, 2, 10], [7, 5, 3, 1]]) / 16},
        scipy=lambda p: stats.rv_discrete(values=(np.arange(4), p["p"])),
        pymc=_pymc("Categorical"),
        off_support=(-1.0, 0.5, 4.0),
        impossible=({"p": np.tile([1.0, 0.0, 0.0, 0.0], (3, 1))}, (0.0, 1.0)),
    ),
    Oracle(
        "VonMises",
        bm.VonMises(),
        {"weights": WEIGHTS, "mu": np.array([-2.0, 0.5, 2.25]), "kappa": np.array([8.0, 4.0, 16.0])},
        scipy=lambda p: FromMinusPi(p["mu"], p["kappa"]),
        pymc=_pymc("VonMises"),
        off_support=(-4.0, 3.5),
        impossible=({}, (0.0, 3.5)),
    ),
    Oracle(
        "TruncatedNormal",
        bm.TruncatedNormal(lower=-1.0, upper=8.0),
        {"weights": WEIGHTS, "mu": np.array([0.0, 2.0, 7.0]), "sigma": np.array([0.75, 0.75, 1.0])},
        scipy=lambda p: stats.truncnorm(
            (-1.0 - p["mu"]) / p["sigma"], (8.0 - p["mu"]) / p["sigma"], p["mu"], p["sigma"]
        ),
        pymc=lambda p: _pymc("TruncatedNormal")({"lower": -1.0, "upper": 8.0, **p}),
        off_support=(-1.5, 8.25),
        pymc_digits=(-np.inf, 1e-6),  # its sqrt(2) is a single
        impossible=({}, (0.0, 9.0)),
    ),
    Oracle(
        "Truncated",
        bm.Truncated(bm.Normal(), lower=-1.0, upper=8.0),
        {"weights": WEIGHTS, "mu": np.array([0.0, 2.0, 7.0]), "sigma": np.array([0.75, 0.75, 1.0])},
        scipy=lambda p: stats.truncnorm(
            (-1.0 - p["mu"]) / p["sigma"], (8.0 - p["mu"]) / p["sigma"], p["mu"], p["sigma"]
        ),
        pymc=lambda p: _pymc("Truncated")({"dist": _pymc("Normal")(p), "lower": -1.0, "upper": 8.0}),
        off_support=(-1.5, 8.25),
        pymc_digits=(-np.inf, 1e-6),  # its sqrt(2) is a single
        impossible=({}, (0.0, 9.0)),
    ),
    Oracle(
        "TruncatedPoisson",
        bm.Truncated(bm.Poisson(), lower=1),
        {"weights": WEIGHTS, "mu": np.array([0.5, 6.0, 24.0])},
        scipy=lambda p: Between(stats.poisson(p["mu"]), 1, 400, censored=False),
        pymc=lambda p: _pymc("Truncated")({"dist": _pymc("Poisson")(p), "lower": 1}),
        off_support=(0.0, 1.5, -1.0),
        impossible=({}, (1.0, 0.0)),
    ),
    Oracle(
        "Censored",
        bm.Censored(bm.Poisson(), upper=24),
        {"weights": WEIGHTS, "mu": np.array([0.5, 6.0, 20.0])},
        scipy=lambda p: Between(stats.poisson(p["mu"]), 0, 24, censored=True),
        pymc=lambda p: _pymc("Censored")({"dist": _pymc("Poisson")(p), "lower": None, "upper": 24}),
        off_support=(-1.0, 0.5, 25.0),
        pymc_digits=(-20.0, 1e-9),  # far in the tail it takes the logarithm of a difference from 1
        impossible=({}, (0.0, 25.0)),
    ),
    Oracle(
        "Uniform",
        bm.Uniform(-2.0, 6.0),
        {"weights": WEIGHTS, "lower": np.full(3, -2.0), "upper": np.full(3, 6.0)},
        scipy=lambda p: stats.uniform(p["lower"], p["upper"] - p["lower"]),
        pymc=_pymc("Uniform"),
        off_support=(-2.5, 6.25),
        impossible=({}, (0.0, 7.0)),
    ),
    Oracle(
        "Multinomial",
        bm.Multinomial(n=12),
        {"weights": WEIGHTS, "p": np.array([[2, 6, 8], [10, 4, 2], [4, 1, 11]]) / 16},
        scipy=lambda p: SciPyMultinomial(12, p["p"]),
        pymc=lambda p: _pymc("Multinomial")({"n": np.int64(12), **p}),
        off_support=((-1.0, 6.0, 7.0), (0.5, 1.5, 10.0)),
        impossible=({"p": np.tile([1.0, 0.0, 0.0], (3, 1))}, (12.0, 0.0, 0.0, 11.0, 1.0, 0.0)),
        atoms=np.array([(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)], dtype=float),
    ),
    Oracle(
        "Dirichlet",
        Dirichlet(),
        {"weights": WEIGHTS, "alpha": np.array([[2.0, 6.0, 8.0], [20.0, 8.0, 4.0], [8.0, 2.0, 22.0]])},
        scipy=lambda p: SciPyDirichlet(p["alpha"]),
        pymc=lambda p: _pymc("Dirichlet")({"a": p["alpha"]}),
        off_support=((-1.0, 0.5, 1.5), (0.0, 0.5, 0.5), (0.25, 0.25, 0.25)),
        impossible=({}, (0.25, 0.25, 0.5, 0.0, 0.5, 0.5)),
        nodes=SciPyDirichlet.nodes,
    ),
]

# The same families under other priors: what is promised of models holds for these too.
PRIOR_ROWS = [
    *ROWS,
    _mvnormal("MvNormal full, LKJ", "full", sigma=HALF_NORMAL, corr=bm.LKJ(2.0)),
    _mvnormal("MvNormal tied, LKJ", "tied", sigma=HALF_NORMAL),
    _mvnormal("MvNormal diag, HalfNormal", "diag", sigma=HALF_NORMAL),
]
