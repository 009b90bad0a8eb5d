"""`sweep`: mixtures of several families and numbers of components fitted and ranked, and what the criteria come to."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

from .components import Component, as_family
from .criteria import CRITERIA, Ranking, conclude, listed, rankings
from .engines.em import em
from .engines.interrupts import listening
from .evidence import LogEvidence, log_evidence
from .fit import Fit
from .mixture import Mixture
from .randomness import generator
from .sweep_tables import MAXIMUM, Trial, identity, notes_on, plain, readable, tabulate
from .weight_priors import Dirichlet

WIDTH = 80  # of the printed text


@dataclass(frozen=True, eq=False)
class Sweep:
    """Fits of several families and numbers of components to the same data; made by `bayesmix.sweep`.

    Printing it shows what the criteria come to, and the table. ``first | second`` puts two sweeps of the same data
    together; where both have a fit, the second's is taken.

    Attributes
    ----------
    fits : dict of Fit
        By (engine, component, n_components), for example ``fits["EM", "tied", 3]``: the rows of `table`.
    table : pandas.DataFrame
        One row for each fit, and for each that failed. By EM: ``log_likelihood``, ``n_parameters``; ``aic``, ``bic`` and
        ``icl``, of which smaller is better (mclust's are the negatives); ``hits``, how many starts led to the best
        optimum. By engines that draw from the posterior: ``elpd`` by leave-one-out cross-validation with ``elpd_se``,
        in nats, higher is better; ``elpd_diff`` and ``elpd_diff_se``, the difference to the engine's best and its
        standard error (`arviz.compare`); ``khat_bad``, in how many rows the Pareto k is too large; ``log_evidence`` and
        ``log_evidence_error``, and ``k_plus`` and ``k_plus_probability``, the most probable number of components that
        rows belong to, where the fit has them; ``verdict``. By all: ``smallest_weight``, ``converged``, and ``usable``:
        whether the fit competes, which degenerate optima and draws that did not converge do not. ``message`` says how it
        went, or why there is no fit.
    conclusion : tuple of str
        What the criteria come to, in sentences.
    notes : tuple of str
        What to bear in mind, in sentences.
    """

    trials: tuple[Trial, ...]
    fits: dict
    table: Any  # pandas.DataFrame, which is not imported for its name alone
    conclusion: tuple
    notes: tuple

    @property
    def sentence(self) -> str:
        """What the criteria come to, in one paragraph."""
        return " ".join(self.conclusion)

    @property
    def rankings(self) -> dict[tuple[str, str], Ranking]:
        """The fits ranked by each criterion, by (criterion, engine)."""
        return rankings(self.table)

    def best(self, criterion: str = "bic", engine: str | None = None) -> Fit:
        """Pick the best fit by one criterion, among those that compete.

        Parameters
        ----------
        criterion : {"bic", "icl", "aic", "elpd", "log_evidence"}
            The smallest BIC, ICL or AIC, the largest elpd or evidence.
        engine : str, optional
            Which engine's, where several have it.

        Raises
        ------
        ValueError
            If the criterion is not known, no fit has it, or several engines do and none is named.
        """
        if criterion not in CRITERIA:
            raise ValueError(f"criterion={criterion!r} is not known; use one of {', '.join(CRITERIA)}.")
        ranked = {key: ranking for key, ranking in self.rankings.items() if key[0] == criterion}
        engines = [name for _, name in ranked]
        if not ranked:
            others = listed(sorted({name for name, _ in self.rankings})) if self.rankings else "none"
            raise ValueError(f"no fit of this sweep has {criterion} to rely on; the criteria it has are: {others}.")
        if engine is None and len(engines) > 1:
            raise ValueError(
                f"{listed(engines)} have {criterion}; say whose is meant, for example engine={engines[0]!r}."
            )
        if engine is not None and engine not in engines:
            raise ValueError(f"engine={engine!r} has no {criterion} to rely on; {listed(engines)} has.")
        chosen = engine or engines[0]
        return self.fits[chosen, *ranked[criterion, chosen].best]

    def plot(self, criteria: Sequence[str] | None = None):
        """Draw each criterion against the number of components, one line for each family, the best marked.

        Parameters
        ----------
        criteria : sequence of str, optional
            Which; all there are if not given.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .plots.sweep import plot_sweep

        return plot_sweep(self, criteria)

    def readable(self) -> dict:
        """All tables as text for people, by title; the best by each criterion has a star.

        Returns
        -------
        dict of pandas.DataFrame
        """
        return readable(self.table)

    def __or__(self, other):
        if not isinstance(other, Sweep):
            return NotImplemented
        both = {identity(trial): trial for trial in (*self.trials, *other.trials)}
        return _assemble(list(both.values()))

    def __repr__(self):
        from textwrap import fill

        parts = [f"Sweep of {len(self.table)} mixtures", *(fill(sentence, WIDTH) for sentence in self.conclusion)]
        for title, table in self.readable().items():
            text = table.rename_axis(index=None).to_string(line_width=WIDTH)
            parts.append(f"{fill(title, WIDTH)}\n{text}")
        if self.notes:
            parts.append("Notes\n" + "\n".join(fill(f"- {note}", WIDTH, subsequent_indent="  ") for note in self.notes))
        return "\n\n".join(parts)

    def _repr_html_(self):
        from .report.html import fragment

        return fragment(self)


def sweep(
    component,
    data,
    n_components: int | Iterable[int] = range(1, 9),
    *,
    engine=em,
    weights=None,
    prior=None,
    evidence: bool = False,
    random_seed=None,
    progressbar: bool = True,
    cores: int | None = None,
    **options,
) -> Sweep:
    """Fit mixtures of several families and numbers of components, and rank them by every criterion there is.

    Each fit is the one that the engine by itself would give with the same seed: it depends neither on what else is in
    the sweep, nor on the number of cores.

    Parameters
    ----------
    component : Component, or sequence of Component
        The family, or several. A setting of `MvNormal` may be a list: ``bm.MvNormal(covariance=["full", "tied"])``.
    data : array_like, data frame or xarray object
        Rows of observations, as for the engine.
    n_components : int or iterable of int
        Numbers of components, each at least 1 and none twice.
    engine : callable, or dict of callable
        What fits: `bayesmix.em`, `bayesmix.nuts`, ... Several go by name into one table:
        ``{"EM": bm.em, "NUTS": bm.nuts}``.
    weights : array_like, shape (obs,), optional
        Weight of each row.
    prior : WeightsPrior, optional
        Prior of the weights of the mixtures; ``bm.Dirichlet(1.0)`` if not given. EM does not use it.
    evidence : bool
        Find the log evidence of fits that draw from the posterior and do not have it yet, by `bayesmix.log_evidence`.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same result.
    progressbar : bool
        Show which fit is being made.
    cores : int, optional
        Cores that an engine may use. Fits are made one after another.
    **options
        Further options, handed to each engine that has one of this name. For one engine alone use `functools.partial`.

    Returns
    -------
    Sweep
        A fit that fails or is degenerate does not stop the others: its row says why. An interrupt (Ctrl-C) ends the
        sweep and keeps what is done.

    Raises
    ------
    TypeError, ValueError
        If a family, a number or an option is not one, or is given twice; if no fit could be made, what the first failed
        with.

    Examples
    --------
    >>> import bayesmix as bm
    >>> data = bm.datasets.load("faithful")["waiting"]
    >>> result = bm.sweep(bm.Normal(), data, n_components=range(1, 4), random_seed=1, progressbar=False)
    >>> result.best("bic").mixture
    Mixture of 2 Normal() components, weights ~ Dirichlet(1)
    """
    components, numbers = _families(component), _numbers(n_components)
    engines = _engines(engine)
    _check_options(engines, options)
    prior = Dirichlet(1.0) if prior is None else prior
    mixtures = [Mixture(family, k, prior) for family in components for k in numbers]
    seed = _seed(random_seed)
    settings = {"random_seed": seed, "progressbar": False, "cores": cores, "weights": weights, **options}
    cells = [(name, mixture) for name in engines for mixture in mixtures]
    trials, first_error, stopped = [], None, False
    with _progress(progressbar, len(cells)) as advance, listening() as interrupts:
        for name, mixture in cells:
            advance(f"{name}: {mixture.component}, {mixture.n_components} components")
            fit, why, found = None, "", None
            try:
                fit = engines[name](mixture, data, **_accepted(engines[name], settings))
                if evidence and fit.has_draws and fit.engine not in MAXIMUM and "log_evidence" not in fit.tree.attrs:
                    found = _evidence_of(fit, seed)
            except KeyboardInterrupt:
                stopped = True
            except Exception as error:  # whatever it is, the other fits are worth having; the row says why
                first_error = first_error or error
                why = str(error) or type(error).__name__
            if fit is not None or why:
                trials.append(Trial(name, mixture.component, mixture.n_components, fit, why, found))
            if stopped or interrupts:
                stopped = True
                break
    if not any(trial.fit for trial in trials):
        raise first_error or KeyboardInterrupt("the sweep was interrupted before its first fit was made.")
    done = sum(trial.fit is not None for trial in trials)
    notes = [f"The sweep was interrupted: {done} of {len(cells)} fits are there."] if stopped else []
    return _assemble(trials, notes)


def _assemble(trials: list[Trial], notes: Sequence[str] = ()) -> Sweep:
    """Make tables and words from the trials of one sweep or of several."""
    fits, table = tabulate(trials)
    said = conclude(table, rankings(table))
    return Sweep(tuple(trials), fits, table, tuple(said), (*notes, *notes_on(table, fits, trials)))


def _evidence_of(fit: Fit, seed: int) -> LogEvidence | str:
    """The evidence of a fit, or why it cannot be found."""
    try:
        return log_evidence(fit, random_seed=seed)
    except (TypeError, ValueError) as error:
        return str(error)


# -- what was asked for ------------------------------------------------------------------------------------------------
def _families(component) -> list[Component]:
    """The families one by one, none twice."""
    component = as_family(component)
    given = [component] if isinstance(component, Component | type | str) else component
    if isinstance(given, Mixture):
        raise TypeError(f"component is a {given}; give its family alone: the numbers of components are n_components.")
    if not isinstance(given, Iterable):
        raise TypeError(f"component must be a family such as bm.MvNormal(), or several, but it is {component!r}.")
    families = []
    for family in map(as_family, given):
        if isinstance(family, type) and issubclass(family, Component):
            raise TypeError(f"component is the class {family.__name__}; call it: bm.{family.__name__}().")
        if not isinstance(family, Component):
            raise TypeError(f"component must be a family such as bm.MvNormal(), or several, but there is {family!r}.")
        families += family.alternatives()
    if not families:
        raise ValueError("component names no family; give at least one, for example bm.MvNormal().")
    seen = [plain(family) for family in families]
    if twice := next((family for i, family in enumerate(families) if seen[i] in seen[:i]), None):
        raise ValueError(f"{twice} is given more than once.")
    return families


def _numbers(n_components) -> list[int]:
    given = [n_components] if isinstance(n_components, Integral) else n_components
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"n_components={given!r} but it must be whole numbers, for example range(1, 9).")
    found = list(given)
    if not found:
        raise ValueError(f"n_components={n_components!r} is empty; give whole numbers, for example range(1, 9).")
    for k in found:
        if isinstance(k, bool) or not isinstance(k, Integral):
            raise TypeError(f"n_components holds {k!r} but it must be whole numbers, for example range(1, 9).")
        if k < 1:
            raise ValueError(f"n_components holds {k}, but a mixture needs at least 1 component.")
        if found.count(k) > 1:
            raise ValueError(f"n_components holds {k} more than once.")
    return [int(k) for k in found]


def _engines(engine) -> dict[str, Callable]:
    named = dict(engine) if isinstance(engine, Mapping) else {_name(engine): engine}
    if not named:
        raise ValueError('engine names none; use bm.em, or several: {"EM": bm.em, "NUTS": bm.nuts}.')
    for name, function in named.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"names of engines are text, but one is {name!r}.")
        if not callable(function):
            raise TypeError(
                f"engine must be a function that fits a mixture, such as bm.em, but it is {function!r}; several go into a "
                'dict: {"EM": bm.em, "NUTS": bm.nuts}.'
            )
    return named


def _name(engine) -> str:
    """The name of an engine, behind its settings."""
    while isinstance(engine, partial):
        engine = engine.func
    name = getattr(engine, "__name__", type(engine).__name__)
    return name.upper() if name.isidentifier() else "engine"


def _takes(engine, name: str) -> bool:
    parameters = inspect.signature(engine).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _accepted(engine, settings: dict) -> dict:
    """The settings that an engine has; row weights are never dropped."""
    return {
        name: value
        for name, value in settings.items()
        if (name == "weights" and value is not None) or (name != "weights" and _takes(engine, name))
    }


def _check_options(engines, options) -> None:
    for name in options:
        if not any(_takes(engine, name) for engine in engines.values()):
            raise TypeError(
                f"{name}= is not an option of {' or '.join(engines)}, nor of bm.sweep; see the options of the engine."
            )


def _seed(random_seed) -> int:
    """One number for all fits, so that none depends on the others: the seed itself where that is a number."""
    rng = generator(random_seed)
    if isinstance(random_seed, Integral):
        return int(random_seed)
    return int(rng.integers(2**31 - 1))


def _progress(show: bool, n_fits: int):
    """Give a function that names the fit being made."""
    from contextlib import contextmanager

    @contextmanager
    def shown():
        if not show:
            yield lambda words: None
            return
        from rich.progress import Progress

        with Progress(transient=True) as progress:
            task = progress.add_task("", total=n_fits)
            begun = 0

            def advance(words):
                nonlocal begun
                progress.update(task, description=words, completed=begun)
                begun += 1

            yield advance

    return shown()
