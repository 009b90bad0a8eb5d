"""The table of a sweep: what it says of each fit, its notes, and the same as text for people."""

import json
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .comparison import KHAT, check_same_data, leave_one_out, spoken
from .components import Component
from .criteria import CRITERIA, called, listed, rankings
from .evidence import LogEvidence
from .fit import Fit
from .mixture import Mixture
from .tables import TRUSTED, number

MAXIMUM = ("em", "online_em")  # engines whose fits have information criteria
DOUBTFUL_ROWS = 0.05  # of the rows with a large Pareto k: an elpd with more does not compete
DENSITY_ONLY = ("not identified", "not converged: run longer")  # verdicts on components under which a density may have
MIXED = 1.05  # converged: if R-hat of label-free quantities is below this
COLUMNS = (
    *("log_likelihood", "n_parameters", "aic", "bic", "icl", "hits"),
    *("elpd", "elpd_se", "elpd_diff", "elpd_diff_se", "khat_bad", "log_evidence", "log_evidence_error"),
    *("k_plus", "k_plus_probability", "smallest_weight", "verdict", "converged", "usable", "elpd_usable"),
    *("evidence_usable", "message"),
)


class Trial(NamedTuple):
    """One cell of a sweep: what was to be fitted, and the fit, or why there is none."""

    engine: str
    component: Component
    n_components: int
    fit: Fit | None
    why: str = ""
    evidence: LogEvidence | str | None = None  # by bridge sampling, if it was asked for; or why there is none


def tabulate(trials: Sequence[Trial]):
    """Make the fits by (engine, component, n_components), and the table; see `bayesmix.Sweep`.

    Raises
    ------
    ValueError
        If the fits are not of the same data.
    """
    import pandas as pd

    label = _labels([trial.component for trial in trials])
    levels = [
        list(dict.fromkeys(trial.engine for trial in trials)),
        list(label.values()),
        sorted({trial.n_components for trial in trials}),
    ]
    by_key = {(trial.engine, label[plain(trial.component)], trial.n_components): trial for trial in trials}
    codes = sorted(tuple(map(list.index, levels, key)) for key in by_key)  # sorted, or pandas finds rows slowly
    index = pd.MultiIndex(levels, list(zip(*codes, strict=True)), names=["engine", "component", "n_components"])
    by_key = {key: by_key[key] for key in index.tolist()}
    fits = {key: trial.fit for key, trial in by_key.items() if trial.fit is not None}
    in_memory = {_called(key, alone=False): fit for key, fit in fits.items() if fit.data.n_obs}
    if in_memory:
        check_same_data(in_memory)
    table = pd.DataFrame([_row(trial) for trial in by_key.values()], index=index)
    _add_elpd(table, fits)
    return fits, table


def plain(component: Component) -> str:
    """A family and its settings as text: equal families have equal text."""
    plain = Mixture(component, 1).to_dict()
    return json.dumps([plain["component"], plain["settings"]], sort_keys=True)


def identity(trial: Trial) -> tuple:
    """What a trial was of: two with the same are one cell of a table."""
    return trial.engine, plain(trial.component), trial.n_components


def _labels(components: list[Component]) -> dict[str, str]:
    """The shortest names that tell the families apart, by their text: their kind, or the settings that differ."""
    families = {plain(component): component for component in components}
    one_kind = len({type(component) for component in families.values()}) == 1
    names = {}
    for text, family in families.items():
        own = {name: getattr(family, name) for name in getattr(family, "__dataclass_fields__", {})}
        kind = [value for value in own.values() if isinstance(value, str)]
        names[text] = " ".join(kind if one_kind and kind else [type(family).__name__, *kind])
    for text, family in families.items():
        if list(names.values()).count(names[text]) > 1:
            rest = {n: v for n, v in family._settings().items() if not isinstance(v, str)}
            names[text] += f" ({', '.join(f'{n}={v}' for n, v in rest.items()) or 'default priors'})"
    return names


def _row(trial: Trial) -> dict:
    """What the table says of one fit."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {"converged": False, "usable": False, "elpd_usable": False, "evidence_usable": False}
    row |= {"verdict": "failed", "message": trial.why}
    fit = trial.fit
    if fit is None:
        return row
    attrs = fit.tree.attrs
    row |= {"n_parameters": fit.n_parameters, "converged": fit.converged, "verdict": fit.verdict}
    row |= {"message": fit.message, "smallest_weight": float(fit.estimates["weights"].min())}
    if fit.engine in MAXIMUM:
        row |= {name: _or_nan(fit, name) for name in ("log_likelihood", "aic", "bic", "icl")}
        starts = fit.tree["starts"].dataset if "starts" in fit.tree.children else None
        if starts is not None and fit.mixture.n_components > 1:
            row["hits"] = float(starts["hits"].values[0])
        if starts is not None and starts["degenerate"].values[0]:
            return row | {"verdict": "degenerate"}
        return row | {"usable": bool(np.isfinite(row["log_likelihood"]))}
    row |= {name: float(attrs.get(name, np.nan)) for name in ("log_evidence", "log_evidence_error")}
    row["evidence_usable"] = np.isfinite(row["log_evidence"])
    if isinstance(trial.evidence, LogEvidence):
        row |= {"log_evidence": trial.evidence.value, "log_evidence_error": trial.evidence.error}
        row["evidence_usable"] = trial.evidence.converged
    stats = fit.tree["sample_stats"].dataset if "sample_stats" in fit.tree.children else None
    if stats is not None and "K_plus" in stats:
        sizes, counts = np.unique(stats["K_plus"].values, return_counts=True)
        row |= {"k_plus": float(sizes[counts.argmax()]), "k_plus_probability": float(counts.max() / counts.sum())}
    unnamed = fit.verdict.startswith(DENSITY_ONLY) and attrs.get("rhat_invariant", np.inf) < MIXED
    settled = fit.verdict in TRUSTED or unnamed  # elpd and evidence know no labels
    return row | {"usable": bool(settled and not attrs.get("khat", 0.0) > KHAT)}


def _or_nan(fit: Fit, name: str) -> float:
    """A criterion, or nan where the fit keeps no rows to work it out from."""
    try:
        return float(getattr(fit, name))
    except ValueError:
        return np.nan


def _add_elpd(table, fits) -> None:
    """Fill in elpd, and within each engine the differences to the best that competes."""
    import arviz as az

    for engine in table.index.unique("engine"):
        found = {}
        for key, fit in fits.items():
            if key[0] != engine or fit.engine in MAXIMUM or not fit.has_draws:
                continue
            pointwise = fit.tree["log_likelihood/x"]
            if pointwise.shape[-1] > 1 and np.all(np.isfinite(pointwise.values)):
                found[key], _ = leave_one_out(fit)
        for key, loo in found.items():
            k = np.asarray(loo.pareto_k)
            bad = int((k > loo.good_k).sum())
            usable = bool(table.loc[key, "usable"]) and bad <= DOUBTFUL_ROWS * k.size
            table.loc[key, ["elpd", "elpd_se", "khat_bad"]] = [float(loo.elpd), float(loo.se), float(bad)]
            table.loc[key, "elpd_usable"] = usable
        if not found:
            continue
        names = {" ".join(map(str, key)): key for key in found}
        competing = [key for key in found if table.loc[key, "elpd_usable"]] or list(found)
        best = max(competing, key=lambda key: table.loc[key, "elpd"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of small differences and few rows: the sentences speak of both
            ranked = az.compare(
                {name: found[key] for name, key in names.items()},
                method="pseudo-BMA",  # the weights are not used; these cost nothing
                reference=" ".join(map(str, best)),
                round_to="none",
            )
        for name, key in names.items():
            table.loc[key, ["elpd_diff", "elpd_diff_se"]] = ranked.loc[name, ["elpd_diff", "dse"]].astype(float).values


def notes_on(table, fits, trials) -> list[str]:
    """What to bear in mind: fits that failed or do not compete, optima found once, likelihoods that fall."""
    notes, doubtful, unnamed = [], [], []
    alone = len(table.index.unique("engine")) == 1
    label = _labels([trial.component for trial in trials])
    unsettled = []
    for trial in trials:
        called = _called((trial.engine, label[plain(trial.component)], trial.n_components), alone)
        if isinstance(trial.evidence, str):
            notes.append(f"{called}: no evidence. {trial.evidence}")
        elif trial.evidence is not None and not trial.evidence.converged:
            unsettled.append(called)
    if unsettled:
        notes.append(
            f"{listed(unsettled)}: the evidence does not compete, because the draws behind it did not converge."
        )
    for key, row in table.iterrows():
        called = _called(key, alone)
        if key not in fits:
            notes.append(f"{called}: no fit. {row['message']}")
        elif row["verdict"] == "degenerate":
            notes.append(f"{called} is degenerate and does not compete. {row['message']}")
        elif not row["usable"]:
            notes.append(f"{called} does not compete. {spoken(fits[key])}")
        elif fits[key].engine in MAXIMUM and not row["converged"]:
            notes.append(f"{called}: {row['message']}")
        elif np.isfinite(row["elpd"]) and not row["elpd_usable"]:
            doubtful.append(f"{called} ({int(row['khat_bad'])})")
        elif fits[key].engine not in MAXIMUM and row["verdict"] not in TRUSTED:
            unnamed.append(f"{called} ({row['verdict']})")
    if doubtful:
        notes.append(f"{listed(doubtful)}: Pareto k is too large in so many rows, and elpd does not compete.")
    if unnamed:
        notes.append(
            f"{listed(unnamed)}: components are not to be relied on, but the density converged (its R-hat is below {MIXED}), "
            "on which elpd rests."
        )
    once = [_called(key, alone) for key, row in table.iterrows() if row["hits"] == 1 and row["usable"]]
    if once:
        notes.append(
            f"{listed(once)}: the best optimum was found by one start only; raise n_init to look for a better one."
        )
    for (engine, component), rows in table[table["usable"]].groupby(level=["engine", "component"], sort=False):
        heights = rows["log_likelihood"].droplevel(["engine", "component"]).sort_index().dropna()
        above = heights - heights.cummax().shift()  # what more components gain over the best of fewer
        flat = [int(k) for k, gain in above.items() if gain < 1e-3]
        if flat:
            notes.append(
                f"{_called((engine, component, listed(flat)), alone)}: the likelihood is no higher than with fewer "
                "components. Either nothing is left to gain, or all that is higher is degenerate (a component on next to no "
                "rows), or a better optimum was missed: raise n_init."
            )
    if fits and next(iter(fits.values())).data.weights is not None and np.isfinite(table["elpd"]).any():
        notes.append("Rows have weights: elpd leaves out a row with all its weight at once.")
    return notes


def _called(key, alone: bool) -> str:
    engine, component, k = key
    return f"{component}, K={k}" if alone else f"{engine} {component}, K={k}"


# -- text for people -----------------------------------------------------------------------------------------------------
def readable(table) -> dict:
    """All tables as text by title: criteria side by side where several engines ran, then those of each engine."""
    engines = list(table.index.unique("engine"))
    alone = len(table.index.unique("component")) == 1
    ranked = rankings(table)
    tables = {}
    if len(engines) > 1:
        tables["Criteria: how far behind the best (0, with a star)"] = _side_by_side(table, ranked, alone)
    for engine in engines:
        rows, stars = table.loc[engine], {c: r.best for (c, name), r in ranked.items() if name == engine}
        of = f"{engine}: " if len(engines) > 1 else ""
        if rows["log_likelihood"].notna().any():
            tables[f"{of}AIC, BIC, ICL: smaller is better; * the best"] = _of_maximum(rows, stars, alone)
        else:
            tables[f"{of}elpd, evidence in nats: higher is better; * the best"] = _of_posterior(rows, stars, alone)
    return tables


def _side_by_side(table, ranked, alone):
    import pandas as pd

    places = list(dict.fromkeys(table.index.droplevel("engine")))
    columns = {}
    for key, ranking in ranked.items():
        with_error = CRITERIA[key[0]].error and ranking.error.max() > 0

        def cell(place, ranking=ranking, with_error=with_error):
            if place not in ranking.behind.index or not np.isfinite(ranking.behind[place]):
                return ""
            if place == ranking.best:
                return "0*"
            error = f" ± {number(float(ranking.error[place]), 2)}" if with_error else ""
            return f"{ranking.behind[place]:.1f}{error}" + ("" if ranking.competes[place] else "?")

        columns[called(key, ranked)] = [cell(place) for place in places]
    return pd.DataFrame(columns, index=_row_names(places, alone))


def _of_maximum(rows, stars, alone):
    import pandas as pd

    text = {
        "log-lik.": _numbers(rows["log_likelihood"]),
        "params": _counts(rows["n_parameters"]),
        **{CRITERIA[c].called: _numbers(rows[c], stars.get(c)) for c in ("aic", "bic", "icl") if rows[c].notna().any()},
        "hits": _counts(rows["hits"]),
        "least weight": ["" if np.isnan(w) else f"{w:.3f}" for w in rows["smallest_weight"]],
    }
    if not (rows["verdict"] == "converged").all():
        text["verdict"] = _verdicts(rows)
    return pd.DataFrame(text, index=_row_names(rows.index, alone))


def _of_posterior(rows, stars, alone):
    import pandas as pd

    star, best = stars.get("log_evidence"), stars.get("elpd")
    text = {"elpd": _numbers(rows["elpd"], best), "difference": [], "high k": _counts(rows["khat_bad"])}
    for place, row in rows.iterrows():
        plain = (
            "" if np.isnan(row["elpd_diff"]) or place == best else f"{row['elpd_diff']:.1f} ± {row['elpd_diff_se']:.1f}"
        )
        text["difference"].append(plain)
    if rows["log_evidence"].notna().any():
        text["evidence"] = _numbers(rows["log_evidence"], star, rows["log_evidence_error"])
    if rows["k_plus"].notna().any():
        text["K+"] = [
            "" if np.isnan(k) else f"{k:.0f} ({p:.0%})"
            for k, p in zip(rows["k_plus"], rows["k_plus_probability"], strict=True)
        ]
    text["verdict"] = _verdicts(rows)
    return pd.DataFrame(text, index=_row_names(rows.index, alone))


def _row_names(places, alone: bool):
    import pandas as pd

    names = [str(k) if alone else f"{component} {k}" for component, k in places]
    return pd.Index(names, name="K" if alone else "family, K")


def _numbers(values, star=None, errors=None) -> list[str]:
    """Numbers to a tenth, or whole from 100 000; the best with a star, which the others leave room for."""
    digits = 1 if values.abs().max() < 1e5 else 0
    text = []
    for place, value in values.items():
        error = "" if errors is None or not errors[place] > 0 else f" ± {errors[place]:.1g}"
        text.append("" if np.isnan(value) else f"{value:.{digits}f}{error}{'*' if place == star else ' '}")
    return text


def _counts(values) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.0f}" for value in values]


def _verdicts(rows) -> list[str]:
    return [verdict.partition(" (")[0].partition(":")[0] for verdict in rows["verdict"]]
