"""Criteria for the number of components: how far behind the best each fit is, what each criterion is for, in words."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .comparison import SAME_ELPD
from .tables import number


class Criterion(NamedTuple):
    """A criterion as tables have it, and what there is to know about it."""

    called: str
    sign: int  # 1: larger is better, -1: smaller is better
    close: float  # a difference smaller than this says little
    strong: float  # and from here on much
    error: str | None = None  # column with the standard error of a difference


CRITERIA = {
    # Kass & Raftery (1995): 2 log B, which BIC approximates, below 2 is "not worth more than a bare mention", above 10
    # "very strong"; the evidence is in nats, half of that.
    "bic": Criterion("BIC", -1, 2.0, 10.0),
    "icl": Criterion("ICL", -1, 2.0, 10.0),
    "aic": Criterion("AIC", -1, 2.0, 10.0),  # Burnham & Anderson (2002), section 2.6: the same numbers
    "elpd": Criterion("elpd", 1, SAME_ELPD, np.inf, "elpd_diff_se"),
    "log_evidence": Criterion("log evidence", 1, 1.0, 5.0, "log_evidence_error"),
}
RESTS = {"elpd": "elpd_usable", "log_evidence": "evidence_usable"}  # whether what it is computed from is reliable


@dataclass(frozen=True, eq=False)
class Ranking:
    """One criterion by one engine, over the families and numbers of components.

    Attributes
    ----------
    criterion, engine : str
        Column of the table, and the engine whose fits have it.
    behind : pandas.Series
        How far each fit is behind the best, by (component, n_components); 0 for the best. Negative for fits that do not
        compete.
    competes : pandas.Series
        Which fits do: a degenerate optimum or draws that did not converge can have any value.
    error : pandas.Series
        Standard error of `behind`, or 0.
    """

    criterion: str
    engine: str
    behind: Any
    competes: Any
    error: Any

    @property
    def best(self) -> tuple:
        """The family's name and number of components of the best."""
        return _place(self.behind[self.competes].idxmin())

    @property
    def about_as_good(self) -> list[tuple]:
        """The best, and all that compete and are hardly behind it."""
        limit = np.maximum(CRITERIA[self.criterion].close, 2.0 * self.error)
        good = self.competes & ((self.behind < limit) | (self.behind == 0.0))
        return [_place(place) for place in self.behind.index[good]]

    @property
    def runner_up(self) -> tuple | None:
        """The best of the others that compete."""
        others = self.behind[self.competes].drop(self.best)
        return _place(others.idxmin()) if len(others) else None


def _place(label) -> tuple[str, int]:
    """The family's name and the number of components, as Python has them."""
    return label[0], int(label[1])


def rankings(table) -> dict[tuple[str, str], Ranking]:
    """Rank the fits of a sweep's table by every criterion it has, by (criterion, engine).

    Parameters
    ----------
    table : pandas.DataFrame
        ``table`` of a `bayesmix.Sweep`.
    """
    found = {}
    for criterion, about in CRITERIA.items():
        for engine in table.index.unique("engine"):
            rows = table.loc[engine]
            values = rows[criterion].astype(float)
            competes = rows["usable"].astype(bool) & np.isfinite(values)
            if criterion in RESTS:
                competes &= rows[RESTS[criterion]].astype(bool)
            if not competes.any():
                continue
            scores = about.sign * values
            behind = scores[competes].max() - scores
            error = behind * 0.0
            if criterion == "log_evidence":
                errors = rows["log_evidence_error"].fillna(0.0)
                error = np.hypot(errors, errors[behind[competes].idxmin()])
            elif criterion == "elpd":
                error = rows["elpd_diff_se"].fillna(0.0)
            found[criterion, engine] = Ranking(criterion, engine, behind, competes, error)
    return found


# -- words -----------------------------------------------------------------------------------------------------------
def conclude(table, ranked: dict) -> list[str]:
    """Say what the criteria come to: which fit each prefers, by how much, and why they differ if they do."""
    if not ranked:
        return ["No fit can be compared: see the notes."]
    several = len(table.index.unique("component")) > 1
    tally = {key: ranking.best for key, ranking in ranked.items()}
    if len(table.index.droplevel("engine").unique()) == 1:
        return [f"There is one mixture only, {spoken(next(iter(tally.values())), several)}: nothing to choose from."]
    preferred: dict[tuple, list] = {}
    for key, best in tally.items():
        preferred.setdefault(best, []).append(called(key, ranked))
    parts = [
        f"{listed(names)} {'all ' * (len(names) > 2)}prefer{'s' * (len(names) == 1)} {spoken(best, several)}"
        for best, names in preferred.items()
    ]
    sentences = [f"The criteria differ: {'; '.join(parts)}." if len(parts) > 1 else f"{parts[0]}."]
    if margins := [said for key, ranking in ranked.items() if (said := _margin(called(key, ranked), ranking, several))]:
        sentences.append(f"Next come {'; '.join(margins)}.")
    return sentences + _why(table, ranked, several) + _at_the_edge(table, ranked)


def _margin(name: str, ranking: Ranking, several: bool) -> str:
    """What comes next after the best, and how far behind it is."""
    about, second = CRITERIA[ranking.criterion], ranking.runner_up
    if second is None:
        return ""
    behind, error = float(ranking.behind[second]), float(ranking.error[second])
    equals = [place for place in ranking.about_as_good if place != ranking.best]
    if ranking.criterion == "elpd" and equals:
        return f"by {name} {_among(equals, several)}, about as good"
    amount = number(behind, 2) + (f" ± {number(error, 2)}" if error > 0 else "")
    if equals:
        remark = ", hardly a difference"
    else:
        remark = ", which is clear" if behind >= about.strong else ""
    return f"by {name} {spoken(second, several)}, {amount} behind{remark}"


def _why(table, ranked, several) -> list[str]:
    """Why the criteria differ, for those that do."""
    by = {criterion: ranking for (criterion, _), ranking in reversed(ranked.items())}
    said = []
    if "bic" in by and "icl" in by and by["bic"].best != by["icl"].best:
        said.append(_bic_and_icl(table, by["bic"], by["icl"], several))
    if "bic" in by and "aic" in by and by["bic"].best != by["aic"].best:
        rows = table.loc[by["bic"].engine]
        price = (rows["bic"] - rows["aic"]) / rows["n_parameters"] + 2.0
        said.append(
            f"AIC charges 2 for a parameter where BIC charges {number(float(price.iloc[0]), 2)}, the log of the number of "
            "rows. It is made for prediction, and its theory does not hold for the number of components: it tends to take "
            "too many."
        )
    if "elpd" in by and any(by["elpd"].best != by[name].best for name in ("bic", "icl") if name in by):
        said.append(_elpd_and_others(table, by["elpd"], by, several))
    evidence = by.get("log_evidence")
    if evidence and any(by[name].best not in evidence.about_as_good for name in ("bic", "icl") if name in by):
        said.append(
            "The evidence is the probability of the data under the priors, averaged over all parameters: it answers what "
            "BIC approximates for many rows, and unlike the others it depends on how wide the priors are."
        )
    return said


def _bic_and_icl(table, bic: Ranking, icl: Ranking, several) -> str:
    """BIC asks for the density, ICL for clusters."""
    rows = table.loc[bic.engine]
    extra = (rows["icl"] - rows["bic"]).astype(float)
    charges = (
        f"here {number(extra[bic.best], 2)} for {spoken(bic.best, several)} and {number(extra[icl.best], 2)} for "
        f"{spoken(icl.best, several)}"
    )
    why = (
        "BIC asks how many components the density needs, ICL how many clusters lie apart: it adds to BIC a charge for "
        f"rows that may belong to several components, {charges}."
    )
    if icl.best[1] < bic.best[1]:
        return (
            f"{why} So some of BIC's {bic.best[1]} components overlap, and describe one group together: take ICL's "
            "number for groups, BIC's for the density."
        )
    return why


def _elpd_and_others(table, elpd: Ranking, by: dict, several) -> str:
    """Elpd rules out too few components, hardly ever too many."""
    rows = table.loc[elpd.engine]
    equals = elpd.about_as_good
    simplest = min(equals, key=lambda place: rows.loc[place, "n_parameters"])
    others = {name: ranking.best for name, ranking in by.items() if name in ("bic", "icl")}
    said = (
        "elpd is about predicting new rows: averaged over the posterior a component too many costs next to nothing, so it "
        "rules out too few components rather than too many."
    )
    if len(equals) > 1:
        said += f" The simplest that it does not tell from its best is {spoken(simplest, several)}."
    known = {name: best for name, best in others.items() if best in elpd.behind.index and elpd.competes[best]}
    fine = [CRITERIA[name].called for name, best in known.items() if best in equals]
    if fine:
        said += f" It has nothing against the choice of {listed(fine)}."
    for name, best in known.items():
        if best not in equals:
            behind, error = float(elpd.behind[best]), float(elpd.error[best])
            said += f" The choice of {CRITERIA[name].called} predicts worse, by {number(behind, 2)} ± {number(error, 2)} nats."
    return said


def _at_the_edge(table, ranked) -> list[str]:
    """Warn where the best is the largest number of components tried."""
    largest = max(table.index.get_level_values("n_components"))
    if largest == min(table.index.get_level_values("n_components")):
        return []
    at = [called(key, ranked) for key, ranking in ranked.items() if ranking.best[1] == largest]
    if not at:
        return []
    return [f"{listed(at)} prefer{'s' * (len(at) == 1)} the largest number tried, {largest}: try more."]


def called(key: tuple[str, str], ranked: dict) -> str:
    """Name of a criterion, with its engine where several have it."""
    criterion, engine = key
    alone = sum(name == criterion for name, _ in ranked) == 1
    return CRITERIA[criterion].called + ("" if alone else f" ({engine})")


def spoken(place: tuple, several: bool) -> str:
    """Name a mixture: "3 components", or "tied with 3 components" where there are several families."""
    component, k = place
    many = f"{k} component{'s' * (k != 1)}"
    return f"{component} with {many}" if several else many


def _among(places: list, several: bool) -> str:
    """Name several mixtures in short: "2, 4 and 5 components", "full with 2 and tied with 3 and 4 components"."""
    groups: dict[str, list] = {}
    for component, k in places:
        groups.setdefault(component, []).append(str(k))
    numbers = [f"{component} with {listed(ks)}" if several else listed(ks) for component, ks in groups.items()]
    noun = "component" if len(places) == 1 and places[0][1] == 1 else "components"
    return f"{', '.join(numbers)} {noun}"


def listed(names) -> str:
    """Write "a, b and c"."""
    names = list(map(str, names))
    return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1]
