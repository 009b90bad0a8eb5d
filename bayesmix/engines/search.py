"""Where the global optimum is looked for: many starts, the best of them to convergence, and neighbours of these."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..labels import ordering
from ..likelihood.likelihood import Likelihood
from .climb import Climb, climb, pass_cost, short_run
from .neighbours import neighbour
from .progress import track
from .starts import start

SPURIOUS = 1e-4  # smallest variance of a component, against that within all components, of an optimum taken seriously
SHORT_RUN = 40  # passes of a short run
SUBSAMPLE = 2000  # rows of a short run
N_STARTS = 60  # with n_init="auto", unless fewer are enough
MOST_STARTS = 240  # where passes are short
CLOSE = (0.01, 0.05)  # nats and standard deviations from an optimum at which a run is taken to go there
QUICK = 3e6  # nanoseconds, roughly, that a short run may take even where it has more passes
LONGEST_SHORT_RUN = 500  # passes
SHORT_TOL = 1e-5  # distance to its optimum at which a short run ends
BETTER = 0.001  # expected share of starts that would lead to a better optimum, below which there are enough
SURVIVORS = 8  # short runs that go on to convergence
SETTLED = 0.1  # share of the starts that led to the best optimum, from which on it is hardly looked for beyond
PATIENCE = (20, 200)  # neighbours in a row that are no better: of an optimum found that often, and of a rarer one
PLACES = 2  # optima whose neighbours are tried
COSTLY = 1e9  # nanoseconds, roughly, that neighbours of one optimum may take


@dataclass(frozen=True)
class Search:
    """Where the starts led: distinct optima, best first and degenerate ones last, and how many starts led to each."""

    optima: list[Climb]
    hits: list[int]
    n_starts: int
    interrupted: bool = False  # by Ctrl-C: what had been found until then


def search(
    likelihood: Likelihood,
    strategy: str,
    n_starts: int | None,
    rng: np.random.Generator,
    run: dict[str, Any],
    progress=None,
) -> Search:
    """Short runs from many starts, the best of them to convergence.

    Without a number there are 60, and up to 240 where they take less than about half a second in all, unless fewer are
    `_enough`; then neighbours of the two best optima are tried, see `bayesmix.engines.neighbours`: until 20 in a row are no
    better where a tenth of the starts led to the best optimum, 200 where fewer did, and fewer of either where runs are
    long. After `_enough` starts no neighbours are. Families by their formula have 60 starts.
    """
    all_rows = n_starts == 1 and likelihood.in_memory
    short_likelihood = likelihood if all_rows else likelihood.subsample(SUBSAMPLE, rng)
    cost = pass_cost(short_likelihood)
    passes = int(np.clip(QUICK / (cost + 1e3), SHORT_RUN, LONGEST_SHORT_RUN))
    short: dict[str, Any] = run | {"max_iter": min(passes, run["max_iter"]), "tol": max(SHORT_TOL, run["tol"])}
    automatic = n_starts is None
    if n_starts is None:
        most = MOST_STARTS if short_likelihood.component.newton_step is None else N_STARTS
        n_starts = int(np.clip(5e8 / (SHORT_RUN * cost), N_STARTS, most))
    if n_starts == 1 or likelihood.n_components == 1:
        short["max_iter"], n_starts, automatic = 0, 1, False
    places, ends, enough, interrupted = _Places(short_likelihood), [], False, False
    try:
        for stream in track(progress, rng.spawn(n_starts), "EM: short runs"):
            watch = _Watch(places)
            found_run = short_run(short_likelihood, start(short_likelihood, strategy, stream), watch=watch, **short)
            places.add(found_run, watch.found)
            enough = automatic and _enough(places)
            if enough:
                break
    except KeyboardInterrupt:
        interrupted = True
    if not places.runs:
        raise KeyboardInterrupt
    same_rows = short_likelihood is likelihood
    candidates, counts, n_starts = places.runs, places.hits, sum(places.hits)
    try:
        if not interrupted:
            for i in track(progress, _order(short_likelihood, candidates), "EM: to convergence"):
                end = candidates[i]
                if not (ends and same_rows and end.converged):  # lower optima are known well enough
                    end = _continue(likelihood, end, run, same_rows=same_rows)
                ends.append((end, counts[i]))
                if sum(not is_spurious(likelihood, end) for end, _ in ends) == SURVIVORS:
                    break
            if automatic and not enough:
                found = _grouped(likelihood, ends, n_starts)
                sound = [run for run in found.optima if not is_spurious(likelihood, run)][:PLACES]
                patience = PATIENCE[0 if found.hits[0] / n_starts >= SETTLED else 1]
                patience = min(patience, int(COSTLY / (100 * cost)))
                for place in track(progress, sound, "EM: neighbours"):
                    _explore(likelihood, short_likelihood, place, patience, rng, run, passes, ends)
    except KeyboardInterrupt:
        interrupted = True
    if not ends:  # the best short run as it stands, on all rows
        best = _order(short_likelihood, candidates)[0]
        end = _continue(likelihood, candidates[best], run | {"max_iter": 0}, same_rows=False)
        ends = [(replace(end, converged=False), counts[best])]
    return replace(_grouped(likelihood, ends, n_starts), interrupted=interrupted)


def _explore(likelihood, short_likelihood, place, patience, rng, run, passes, ends):
    """Climb from neighbour to neighbour on the rows of the short runs, and from the last of them on all rows.

    It ends when `patience` of them in a row are no better.
    """
    same_rows = short_likelihood is likelihood
    best = place if same_rows else climb(short_likelihood, place.params, **run)
    moved, failures, known = False, 0, _Places(short_likelihood)
    known.add(best)
    try:
        while failures < patience:
            labels = short_likelihood.responsibilities(best.params).argmax(axis=1)
            begin = neighbour(short_likelihood, labels, run["guard"], rng)
            watch = _Watch(known)
            near = short_run(short_likelihood, begin, watch=watch, **run | {"max_iter": min(passes, run["max_iter"])})
            if watch.found is not None:
                failures += 1
                continue
            near = climb(short_likelihood, near.params, **run)
            better = near.objective > best.objective + 1e-7 * abs(best.objective)
            if better and not is_spurious(short_likelihood, near):
                best, moved, failures = near, True, 0
                known.add(best)
            else:
                failures += 1
    finally:
        if moved:
            ends.append((best if same_rows else climb(likelihood, best.params, **run), 0))


def _enough(places):
    """Are more starts hardly worth their while, all having led to one optimum?

    With w different optima after n starts, and all numbers of optima and all shares of the starts that lead to them alike
    before, those not yet seen are expected to have w (w + 1) / (n (n - 1)) of the starts (Boender & Rinnooy Kan 1987,
    sec. 2), and one of w + 1 optima in no order is the best with probability 1 / (w + 1). Where there is a second optimum
    that is no comfort: then the best often has a few starts in a hundred.
    """
    n = sum(places.hits)
    return len(places.runs) == 1 and BETTER * n * (n - 1) >= 1 and not is_spurious(places.likelihood, places.runs[0])


def _order(likelihood, runs):
    """Indices of runs, best first, degenerate ones last."""
    ranked = _ranked(likelihood, runs)
    places = {id(run): i for i, run in enumerate(runs)}
    return [places[id(run)] for run in ranked]


def _grouped(likelihood, ends, n_starts) -> Search:
    """Equal ends put together, their hits added up: `ends` holds runs and how many starts led there."""
    merged, which = distinct(likelihood, [end for end, _ in ends])
    hits = [sum(count for (_, count), place in zip(ends, which, strict=True) if place == i) for i in range(len(merged))]
    order = _order(likelihood, merged)
    return Search([merged[i] for i in order], [hits[i] for i in order], n_starts)


def _ranked(likelihood: Likelihood, runs: list[Climb]) -> list[Climb]:
    """Runs by objective, best first, degenerate optima last; runs equal to 1e-10 keep their order."""
    grain = 1e-10 * max([1.0, *(abs(run.objective) for run in runs if np.isfinite(run.objective))])

    def rank(run):
        level = np.round(run.objective / grain) if np.isfinite(run.objective) else -np.inf
        return not is_spurious(likelihood, run), level

    return sorted(runs, key=rank, reverse=True)


class _Places:
    """Where runs ended, in the order of arrival, and how many ended at each place.

    Two ended at the same if their objectives agree to 1e-7 and their densities at the rows to 1e-3 nats.
    """

    def __init__(self, likelihood: Likelihood):
        self.likelihood = likelihood
        self.runs: list[Climb] = []
        self.hits: list[int] = []
        self._seen: list[_Marks] = []

    def add(self, run: Climb, known: int | None = None) -> int:
        """The place where a run ended, by its number; or that it is known to have been on its way to."""
        marks = _Marks(self.likelihood, run.params)
        for i, (other, seen) in enumerate(zip(self.runs, self._seen, strict=True)):
            near = abs(run.objective - other.objective) <= 1e-7 * abs(other.objective)
            if i == known or run.objective == other.objective or (near and marks.agree(seen)):
                self.hits[i] += 1
                return i
        self.runs.append(run)
        self.hits.append(1)
        self._seen.append(marks)
        return len(self.runs) - 1

    def ahead(self, objective: float, params: Callable[[], dict]) -> int | None:
        """The optimum that a run is on its way to, if it is close: within 0.01 nats and 0.05 standard deviations."""
        for i, (other, seen) in enumerate(zip(self.runs, self._seen, strict=True)):
            if other.converged and abs(objective - other.objective) < CLOSE[0]:
                if _Marks(self.likelihood, params()).apart(seen) < CLOSE[1]:
                    return i
        return None


class _Marks:
    """What tells one place from another, found when it is asked for."""

    def __init__(self, likelihood, params):
        self.likelihood, self.params = likelihood, params

    @cached_property
    def density(self):
        """At the rows."""
        return self.likelihood.fingerprint(self.params)

    @cached_property
    def vector(self):
        """Free coordinates, components by their weights."""
        order = np.argsort(self.params["weights"], kind="stable")
        return self.likelihood.to_vector({name: value[order] for name, value in self.params.items()})

    @cached_property
    def unit(self):
        """Standard deviations of components, and one for logarithms."""
        return self.likelihood.coordinate_scale(self.vector)

    def apart(self, other):
        """Largest difference in these units."""
        with np.errstate(invalid="ignore"):
            return np.abs((self.vector - other.vector) / other.unit).max()

    def agree(self, other):
        """Are parameters the same to 1e-4, or else densities to 1e-3 nats?"""
        return bool(self.apart(other) < 1e-4 or np.abs(self.density - other.density).max() < 1e-3)


class _Watch:
    """Says when a run is close to a place that is known, and which it is."""

    def __init__(self, places: _Places):
        self.places, self.found = places, None

    def __call__(self, objective: float, params: Callable[[], dict]) -> bool:
        self.found = self.places.ahead(objective, params)
        return self.found is not None


def distinct(likelihood: Likelihood, runs: list[Climb]) -> tuple[list[Climb], list[int]]:
    """Runs that ended in different places, in the order given, and for each run the one of these that it ended at."""
    places = _Places(likelihood)
    which = [places.add(run) for run in runs]
    return places.runs, which


def distinct_optima(likelihood: Likelihood, runs: list[Climb]) -> list[Climb]:
    """Runs that ended in different places, in the same order; collapsed ones left out if there are others."""
    return distinct(likelihood, [run for run in runs if not run.collapsed] or runs[:1])[0]


def spread_of(likelihood, found: Search):
    """What the starts found, as arrays over optima, best first."""
    return {
        "log_likelihood": np.array([run.log_likelihood for run in found.optima]),
        "hits": np.array(found.hits),
        "degenerate": np.array([is_spurious(likelihood, run) for run in found.optima]),
        "converged": np.array([run.converged for run in found.optima]),
    }


def describe_search(likelihood, found: Search) -> str:
    """How many starts found the best optimum, and how far the next is."""
    if found.n_starts == 1 or found.interrupted:
        return ""
    sound = [run for run in found.optima if not is_spurious(likelihood, run)]
    said = f"{found.hits[0]} of {found.n_starts} starts led there"
    if found.hits[0] == 0:
        said = f"No start of {found.n_starts} led there, but neighbours of a lower optimum did"
    if len(sound) > 1:
        lower = sound[0].objective - sound[1].objective
        said += f"; the next best optimum is {lower:.3g} nats lower"
    return said + "."


def _continue(likelihood: Likelihood, short: Climb, run: dict, *, same_rows: bool) -> Climb:
    """Run on from where a short run ended; the trace goes on too if that run saw the same rows."""
    left = run["max_iter"] - short.n_passes if same_rows else run["max_iter"]
    options: dict[str, Any] = run | {"max_iter": max(left, 0)}
    long = climb(likelihood, short.params, **options)
    trace = np.concatenate([short.trace, long.trace[1:]]) if same_rows else long.trace
    return replace(long, trace=trace, n_passes=short.n_passes + long.n_passes)


def is_spurious(likelihood: Likelihood, run: Climb) -> bool:
    """Is this optimum degenerate: a component with 1e-4 of the variance within components, or lighter than D + 2 rows?

    The rule only decides between optima of several starts; where all break it, the best of them is taken. Families
    whose likelihood is bounded have no degenerate optima.
    """
    if run.collapsed or not np.isfinite(run.objective):
        return True
    data = likelihood.data
    if not likelihood.can_collapse:
        return False
    rows = run.params["weights"] * data.total_weight
    thin = likelihood.component.collapsed(run.params, data) < SPURIOUS
    return bool(np.any(thin) or np.any(rows <= data.n_features + 1))


def sort_components(likelihood: Likelihood, run: Climb) -> Climb:
    """Order the components that may change places, by `Component.leading`."""
    component = likelihood.component
    own = {name: value for name, value in run.params.items() if name != "weights"}
    order = ordering(component.leading(own)[None], likelihood.exchangeable()).permutation[0]
    return replace(run, params={key: value[order] for key, value in run.params.items()})
