r"""Distribution functions, quantiles and draws of a density of one column that is known by its formula alone.

The line is mapped so that tails that fall like powers fall exponentially: :math:`x = m + s \sinh y` about the mode of a
density on all real numbers, :math:`x = a + e^y` above an end, the logistic function between two. There the density is
integrated by Gauss's rule in panels, as many as it takes for it to integrate to one; quantiles invert the integral by
Newton's method within a panel. Probabilities of counts are summed.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
PANELS = (64, 256, 1024)  # tried in turn, until the density integrates to one within
EXACT = 1e-11
NORMALISED = 1e-6  # further from one, it is no density, or none that quadrature can follow
DEPTH = 50.0  # nats below the mode at which the density ends
MOST_COUNTS = 2**22  # probabilities summed, at most
BATCH = 2**13  # values at a time
ROUNDING = 4e-15  # of a probability
SLOPES = 60  # Newton steps and bisections of a quantile, at most


def distribution(component, params: dict):
    """What offers cdf, ppf and rvs at these parameters, which broadcast, as SciPy's frozen distributions do."""
    arrays = np.broadcast_arrays(*(np.asarray(params[p.name], dtype=float) for p in component.parameters))
    rows, which = np.unique(np.stack([a.ravel() for a in arrays], axis=1), axis=0, return_inverse=True)
    return Numeric(_table(component, rows.tobytes()), which.reshape(arrays[0].shape))


@functools.lru_cache(maxsize=16)
def _table(component, rows: bytes):
    """The table of distinct parameters (set, parameter): predictive draws ask for the same ones many times."""
    table = Counts if component.discrete else Density
    return table(component, np.frombuffer(rows).reshape(-1, len(component.parameters)))


class Numeric(NamedTuple):
    """A table of distinct parameters, and which of them stands where."""

    table: Any
    which: np.ndarray

    def cdf(self, x):
        """Probability of a value <= x."""
        return self._each(self.table.cdf, x)

    def ppf(self, q):
        """Quantiles."""
        return self._each(self.table.ppf, q)

    def rvs(self, size, random_state):
        """Draws, one for each set of parameters, by inversion."""
        return self.ppf(random_state.uniform(size=size))

    def _each(self, function, values):
        """Apply a function of (values, sets) to values that broadcast against the parameters, batch by batch."""
        values, which = np.broadcast_arrays(np.asarray(values, dtype=float), self.which)
        flat, sets = values.ravel(), which.ravel()
        parts = [function(flat[i : i + BATCH], sets[i : i + BATCH]) for i in range(0, max(flat.size, 1), BATCH)]
        return np.concatenate(parts).reshape(values.shape)


class _Table:
    """Distinct parameters (set, parameter) of a family."""

    def __init__(self, component, rows):
        self.component, self.names, self.rows = component, [p.name for p in component.parameters], rows
        self.low, self.high = component.support()

    def log_density(self, x, which=slice(None)):
        """Log density of x (..., set) under sets of parameters, -inf where it is not finite."""
        params = {name: self.rows[which, i] for i, name in enumerate(self.names)}
        with np.errstate(all="ignore"):
            value = np.asarray(self.component.log_density(x, params), dtype=float)
        return np.where(np.isnan(value), -np.inf, value)

    def words(self, i):
        """One set of parameters."""
        return ", ".join(f"{name}={value:.6g}" for name, value in zip(self.names, self.rows[i], strict=True))


class Density(_Table):
    """A continuous distribution by the integral of its density."""

    def __init__(self, component, rows):
        super().__init__(component, rows)
        if self.low == -np.inf and self.high < np.inf:
            raise ValueError(f"{component} lies below {self.high:g} and has no lower end; describe -x instead.")
        one = np.ones(len(self.rows))
        self.centre, self.scale = self._mode() if self.low == -np.inf else (0.0 * one, one)
        begin, end = self._window()
        for panels in PANELS:
            self.edges = begin + (end - begin) * np.linspace(0.0, 1.0, panels + 1)[:, None]
            masses = self._integral(self.edges[:-1], self.edges[1:], slice(None))
            self.cumulative = np.vstack([np.zeros(len(self.rows)), np.cumsum(masses, axis=0)])
            off = np.abs(self.cumulative[-1] - 1.0)
            if np.all(off < EXACT):
                break
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        if not off[worst] < NORMALISED:
            raise ValueError(
                f"the density of {type(component).__name__} at {self.words(worst)} integrates to "
                f"{self.cumulative[-1, worst]:.6g} over ({self.low:g}, {self.high:g}), not to 1: look whether log_density has "
                "all its constants and support() is right. If it is a density that quadrature cannot follow, with peaks "
                "far apart, say, define scipy(params), which offers cdf, ppf and rvs."
            )
        self.cumulative /= self.cumulative[-1]

    # -- the line --------------------------------------------------------------------------------------------------------
    def _x(self, y, which):
        if self.low == -np.inf:
            return self.centre[which] + self.scale[which] * np.sinh(y)
        if self.high == np.inf:
            return self.low + np.exp(y)
        return self.low + (self.high - self.low) / (1.0 + np.exp(-y))

    def _log_slope(self, y, which):
        if self.low == -np.inf:
            return np.log(self.scale[which]) + np.logaddexp(y, -y) - np.log(2.0)
        if self.high == np.inf:
            return y
        return np.log(self.high - self.low) - np.logaddexp(0.0, y) - np.logaddexp(0.0, -y)

    def _y(self, x, which):
        with np.errstate(all="ignore"):
            if self.low == -np.inf:
                return np.arcsinh((x - self.centre[which]) / self.scale[which])
            above = np.log(np.maximum(x - self.low, 0.0))
            return above if self.high == np.inf else above - np.log(np.maximum(self.high - x, 0.0))

    def _log_mass(self, y, which=slice(None)):
        """Log density in y."""
        with np.errstate(all="ignore"):
            x = self._x(y, which)
            value = self.log_density(x, which) + self._log_slope(y, which)
        return np.where(np.isfinite(x) & ~np.isnan(value), value, -np.inf)

    def _mode(self):
        """The mode, and the distance from it over which the density falls by a nat, of each set."""
        powers = 10.0 ** np.arange(-12.0, 12.5, 0.5)
        tried = np.concatenate([[0.0], powers, -powers])[:, None] + np.zeros(len(self.rows))
        tried = np.vstack([tried, self.rows.T])
        value = self.log_density(tried)
        best, columns = np.argmax(value, axis=0), np.arange(len(self.rows))
        centre, top = tried[best, columns], value[best, columns]
        centre, top = _climb(self.log_density, centre, top, np.maximum(np.abs(centre), 1.0), 200)
        width = np.maximum(1e-14 * np.abs(centre), 1e-300)
        falling = np.ones(len(self.rows), dtype=bool)
        for _ in range(2100):
            near = np.maximum(self.log_density(centre - width), self.log_density(centre + width))
            falling &= near > top - 1.0
            if not falling.any():
                break
            width = np.where(falling, 2.0 * width, width)
        return centre, width

    def _window(self):
        """Where the density in y begins and ends, `DEPTH` below its mode."""
        if self.low == -np.inf:
            mode = np.zeros(len(self.rows))
        else:
            end = 700.0 if self.high == np.inf else 40.0
            grid = np.linspace(-end, end, 281)[:, None] + np.zeros(len(self.rows))
            value = self._log_mass(grid)
            best, columns = np.argmax(value, axis=0), np.arange(len(self.rows))
            mode, _ = _climb(self._log_mass, grid[best, columns], value[best, columns], 0.5 * end / 140.0, 40)
        top = self._log_mass(mode)
        ends = []
        for sign in (-1.0, 1.0):
            inside, outside = np.zeros(len(self.rows)), np.full(len(self.rows), 0.25)
            for _ in range(13):
                low = self._log_mass(mode + sign * outside) < top - DEPTH
                inside, outside = np.where(low, inside, outside), np.where(low, outside, 2.0 * outside)
            for _ in range(30):
                middle = 0.5 * (inside + outside)
                low = self._log_mass(mode + sign * middle) < top - DEPTH
                inside, outside = np.where(low, inside, middle), np.where(low, middle, outside)
            ends.append(mode + sign * outside)
        return ends

    def _integral(self, begin, end, which):
        """Gauss's rule from begin to end, both in y."""
        middle, half, total = 0.5 * (begin + end), 0.5 * (end - begin), 0.0
        for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
            total = total + weight * np.exp(self._log_mass(middle + half * node, which))
        return half * total

    # -- what is asked for ------------------------------------------------------------------------------------------------
    def cdf(self, x, which):
        """Probability of a value <= x under the sets `which`."""
        begin, end = self.edges[0, which], self.edges[-1, which]
        y = np.clip(self._y(x, which), begin, end)
        return self._cdf_in_y(y, which)

    def _cdf_in_y(self, y, which):
        begin, end = self.edges[0, which], self.edges[-1, which]
        panels = len(self.edges) - 1
        panel = np.clip(((y - begin) / (end - begin) * panels).astype(int), 0, panels - 1)
        value = self.cumulative[panel, which] + self._integral(self.edges[panel, which], y, which)
        return np.clip(value, 0.0, 1.0)

    def ppf(self, q, which):
        """Quantiles under the sets `which`."""
        panel = np.clip((self.cumulative[:, which] < q).sum(axis=0) - 1, 0, len(self.edges) - 2)
        low, high = self.edges[panel, which], self.edges[panel + 1, which]
        below, above = self.cumulative[panel, which], self.cumulative[panel + 1, which]
        share = (q - below) / np.where(above > below, above - below, 1.0)
        y = low + (high - low) * np.clip(share, 0.0, 1.0)
        for _ in range(SLOPES):
            off = self._cdf_in_y(y, which) - q
            if np.all(np.abs(off) <= ROUNDING):
                break
            low, high = np.where(off < 0, y, low), np.where(off < 0, high, y)
            with np.errstate(all="ignore"):
                newton = y - off / np.exp(self._log_mass(y, which))
            step = np.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
            y = np.where(np.abs(off) <= ROUNDING, y, step)
        x = self._x(y, which)
        x = np.where(q <= 0.0, self.low, np.where(q >= 1.0, self.high, x))
        return np.where((q >= 0.0) & (q <= 1.0), x, np.nan)


def _climb(function, at, top, step, steps):
    """Walk uphill from `at`, where the function is `top`: twice as far after a step that leads up, else half as far."""
    step = np.zeros_like(at) + step
    for _ in range(steps):
        moved = np.stack([at - step, at + step])
        value = function(moved)
        side, columns = np.argmax(value, axis=0), np.arange(len(at))
        better = value[side, columns] > top
        at, top = np.where(better, moved[side, columns], at), np.where(better, value[side, columns], top)
        step = np.where(better, 2.0 * step, 0.5 * step)
    return at, top


class Counts(_Table):
    """A distribution of counts by sums of its probabilities."""

    def __init__(self, component, rows):
        super().__init__(component, rows)
        if self.low == -np.inf:
            raise ValueError(
                f"the support of {type(component).__name__} has no lower end to sum probabilities from; let support() "
                "state one, or define scipy(params), which offers cdf, ppf and rvs."
            )
        n = 64
        while True:
            most = int(min(n, self.high - self.low + 1))
            counts: Any = self.low + np.arange(most, dtype=float)[:, None]
            self.cumulative = np.cumsum(np.exp(self.log_density(counts + np.zeros(len(self.rows)))), axis=0)
            off = np.abs(self.cumulative[-1] - 1.0)
            if np.all(off < EXACT) or most < n or n * len(self.rows) > MOST_COUNTS:
                break
            n *= 4
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        if not off[worst] < NORMALISED:
            raise ValueError(
                f"the probabilities of {type(component).__name__} at {self.words(worst)} sum to "
                f"{self.cumulative[-1, worst]:.6g} over the {most} values from {self.low:g}, not to 1: look whether "
                "log_density has all its constants and support() is right. If the tail is as heavy as that, define "
                "scipy(params), which offers cdf, ppf and rvs."
            )
        self.cumulative /= self.cumulative[-1]

    def cdf(self, x, which):
        """Probability of a value <= x under the sets `which`."""
        last = len(self.cumulative) - 1
        index = np.floor(np.clip(x - self.low, -1.0, last)).astype(int)
        return np.where(index < 0, 0.0, self.cumulative[np.maximum(index, 0), which])

    def ppf(self, q, which):
        """Smallest values whose cdf reaches q, under the sets `which`."""
        found = np.empty(len(q))
        for one in np.unique(which):
            here = which == one
            found[here] = np.searchsorted(self.cumulative[:, one], q[here])
        return self.low + np.minimum(found, len(self.cumulative) - 1)
