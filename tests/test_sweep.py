"""`sweep` finds what mclust and scikit-learn found, says what the criteria come to, and keeps what is done."""

import contextlib
import signal
import warnings
from functools import partial

import arviz as az
import numpy as np
import pandas as pd
import preliz as pz
import pytest
import xarray as xr
from fits import posterior
from reference import answers, columns
from scipy import stats
from scipy.stats import multivariate_normal as normal
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.cli import app
from bayesmix.criteria import conclude, rankings
from bayesmix.engines.interrupts import finishing
from bayesmix.sweep_tables import COLUMNS

FAITHFUL = bm.datasets.load("faithful")
QUIET = {"progressbar": False}


# -- several families in one specification -----------------------------------------------------------------------------
def test_a_list_of_structures_is_as_many_families():
    several = bm.MvNormal(covariance=["full", "tied"])
    assert several.alternatives() == (bm.MvNormal(), bm.MvNormal(covariance="tied"))
    assert bm.MvNormal().alternatives() == (bm.MvNormal(),)


def test_a_mixture_refuses_several_families_in_words():
    for structures in (["full", "tied"], ["tied"]):
        with pytest.raises(ValueError, match=r"stands for [12] families; .* bm\.sweep"):
            bm.Mixture(bm.MvNormal(covariance=structures), n_components=2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"covariance": []}, "names no structure"),
        ({"covariance": ["full", "ful"]}, "'ful' is not known; use one of full"),
        ({"covariance": ["tied", "full", "tied"]}, "names 'tied' more than once"),
        ({"covariance": ["full", "diag"], "cov": bm.InverseWishart(4.0, [[1.0, 0.0], [0.0, 1.0]])}, "no correlations"),
    ],
)
def test_a_list_is_checked_as_each_family_by_itself(settings, said):
    with pytest.raises(ValueError, match=said):
        bm.MvNormal(**settings)


# -- against mclust ----------------------------------------------------------------------------------------------------
STRUCTURES = {"full": ("VVV", "V"), "tied": ("EEE", "E"), "diag": ("VVI",), "spherical": ("VII",)}


def mclusts(case, structure, k) -> float:
    """mclust's BIC in our sign: smaller is better."""
    table = answers(case, "mclust_bic.json")["bic"]
    (model,) = (name for name in STRUCTURES[structure] if name in table)
    return -table[model][str(k)]


def check_against_mclust(result, case):
    for (_, structure, k), row in result.table.iterrows():
        theirs = mclusts(case, structure, k)
        # mclust stops at a relative change of 1e-5 of the log-likelihood, and at the optimum that its one start leads to
        assert row["bic"] <= theirs + 1e-3, (case, structure, k, row["bic"], theirs)
        if k == 1:
            assert row["bic"] == pytest.approx(theirs, abs=1e-5), (case, structure)


@pytest.fixture(scope="module")
def faithful():
    families = bm.MvNormal(covariance=list(STRUCTURES))
    return bm.sweep(families, FAITHFUL, range(1, 5), n_init=60, random_seed=1, **QUIET)


@pytest.fixture(scope="module")
def acidity():
    data = columns("acidity.csv")["log_anc"]
    families = bm.MvNormal(covariance=["full", "tied"])
    return bm.sweep(families, data, range(1, 5), n_init=60, random_seed=1, **QUIET)


def test_no_bic_is_worse_than_mclusts(faithful, acidity):
    check_against_mclust(faithful, "faithful")
    check_against_mclust(acidity, "acidity")


@pytest.mark.slow
def test_no_bic_of_up_to_nine_components_is_worse_than_mclusts():
    """Of the eruptions. For the acidity mclust goes on to components on a single lake, which EM takes for degenerate."""
    result = bm.sweep(bm.MvNormal(covariance=list(STRUCTURES)), FAITHFUL, range(1, 10), random_seed=1, **QUIET)
    check_against_mclust(result, "faithful")


def test_the_best_by_bic_is_mclusts(faithful, acidity):
    """Of these families: EEE with 3 components for the eruptions, E with 2 for the acidity."""
    for result, case in ((faithful, "faithful"), (acidity, "acidity")):
        model, k = answers(case, "mclust_bic.json")["best"]
        best = result.best("bic").mixture
        assert (best.component.covariance, best.n_components) == ("tied", k), case
        assert model in STRUCTURES["tied"]


def test_icl_is_mclusts_with_the_other_sign(faithful, acidity):
    # 0.8: at their optimum BIC differs by up to 0.02 for mclust's early stop, responsibilities of overlapping rows by more
    for result, case, k in ((faithful, "faithful", 3), (acidity, "acidity", 2)):
        theirs = -answers(case, "mclust_bic.json")["icl_of_best"]
        assert result.table.loc[("EM", "tied", k), "icl"] == pytest.approx(theirs, abs=0.8), case


# -- the table ---------------------------------------------------------------------------------------------------------
def test_criteria_are_their_formulas(faithful):
    """AIC and BIC from the log-likelihood of SciPy's densities, ICL with the entropy-like charge of Biernacki et al."""
    x = np.column_stack([FAITHFUL["eruptions"], FAITHFUL["waiting"]])
    for key in (("EM", "full", 2), ("EM", "tied", 3), ("EM", "spherical", 4)):
        at, row, k = faithful.fits[key].estimates, faithful.table.loc[key], key[2]
        joint = np.stack([at["weights"][c] * normal(at["mu"][c], at["cov"][c]).pdf(x) for c in range(k)], axis=1)
        n_cov = {"full": 3 * k, "tied": 3, "spherical": k}[key[1]]
        p, height = 2 * k + k - 1 + n_cov, np.log(joint.sum(axis=1)).sum()
        bic = -2 * height + p * np.log(len(x))
        charge = -2 * np.log(joint.max(axis=1) / joint.sum(axis=1)).sum()
        assert row["n_parameters"] == p
        np.testing.assert_allclose([row["aic"], row["bic"], row["icl"]], [-2 * height + 2 * p, bic, bic + charge])


def test_best_is_the_smallest_of_each(faithful):
    for criterion in ("bic", "icl", "aic"):
        place = faithful.table[criterion].astype(float).idxmin()
        assert faithful.best(criterion) is faithful.fits[place], criterion


def posteriors(mixture, data, random_seed, **attrs):
    """An engine for tests: draws around EM's estimate, with a K_plus and a log evidence of our making."""
    fit = bm.em(mixture, data, n_init=5, random_seed=random_seed, **QUIET)
    k = mixture.n_components
    found = posterior(mixture, data, fit, "nuts", seed=random_seed, draws=100, **EVIDENCE[k], **attrs)
    occupied = xr.Dataset({"K_plus": (("chain", "draw"), np.where(np.arange(100) < 80, k, 1)[None].repeat(4, axis=0))})
    found.tree["sample_stats"] = xr.DataTree(occupied)
    return found


EVIDENCE = {
    1: {"log_evidence": -1110.0, "log_evidence_error": 0.1},
    2: {"log_evidence": -1052.5, "log_evidence_error": 0.2},
    3: {"log_evidence": -1051.0, "log_evidence_error": 0.3},
}


@pytest.fixture(scope="module")
def both():
    engines = {"EM": partial(bm.em, n_init=5), "NUTS": posteriors}
    return bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2, 3], engine=engines, random_seed=1, **QUIET)


def test_elpd_and_its_differences_are_arvizs(both):
    trees = {str(k): both.fits["NUTS", "Normal", k].tree for k in (1, 2, 3)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # differences are small
        expected = az.compare(trees, round_to="none")
    for k in (1, 2, 3):
        row = both.table.loc["NUTS", "Normal", k]
        ours = row[["elpd", "elpd_se", "elpd_diff", "elpd_diff_se"]].astype(float)
        np.testing.assert_allclose(ours, expected.loc[str(k), ["elpd", "se", "elpd_diff", "dse"]].astype(float))


def test_evidence_and_occupied_components_are_taken_from_the_fit(both):
    rows = both.table.loc["NUTS", "Normal"]
    assert rows["log_evidence"].tolist() == [-1110.0, -1052.5, -1051.0]
    assert rows["k_plus"].tolist() == [1, 2, 3]
    assert rows["k_plus_probability"].tolist() == [1.0, 0.8, 0.8]
    assert both.best("log_evidence").mixture.n_components == 3
    ranking = both.rankings["log_evidence", "NUTS"]
    np.testing.assert_allclose(ranking.error["Normal", 2], np.hypot(0.2, 0.3))


def test_evidence_is_found_where_it_is_asked_for():
    """That of one normal component, bridge-sampled from draws of its posterior, against the integral on a grid."""
    x = np.array([1.0, 2.0, 2.5, 4.0, 4.5, 7.0])
    family = bm.Normal(mu=pz.Normal(3, 2), sigma=pz.HalfNormal(3))
    engine = partial(bm.laplace, draws=400)

    def draws(mixture, data, random_seed):
        found = engine(mixture, data, random_seed=random_seed, progressbar=False)
        left = {name: value for name, value in found.tree.attrs.items() if not name.startswith("log_evidence")}
        found.tree.attrs = left
        return found

    result = bm.sweep(family, x, 1, engine=draws, evidence=True, random_seed=1, **QUIET)
    mu, sigma = np.meshgrid(np.linspace(-10, 16, 1301), np.linspace(0.01, 15, 1500), indexing="ij")
    density = stats.norm(3, 2).pdf(mu) * stats.halfnorm(scale=3).pdf(sigma)
    for value in x:
        density *= stats.norm(mu, sigma).pdf(value)
    exact = np.log(density.sum() * 0.02 * 0.01)
    row = result.table.loc["DRAWS", "Normal", 1]
    assert row["evidence_usable"]
    assert row["log_evidence"] == pytest.approx(exact, abs=4 * row["log_evidence_error"] + 1e-3)  # and the grid's


def test_evidence_that_cannot_be_found_is_a_note():
    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], engine=bm.advi, evidence=True, random_seed=1, **QUIET)
    assert result.table["log_evidence"].isna().all()
    assert any("Normal, K=1: no evidence. " in note for note in result.notes)


def test_criteria_of_several_engines_stand_side_by_side(both):
    side, em, nuts = both.readable().values()
    assert list(side.columns) == ["BIC", "ICL", "AIC", "elpd", "log evidence"]
    assert side.loc["2", "BIC"] == "0*"
    bic = both.table.loc["EM", "Normal"]["bic"]
    assert side.loc["3", "BIC"] == f"{bic[3] - bic[2]:.1f}"
    assert em.columns[0] == "log-lik."
    assert nuts.loc["2", "K+"] == "2 (80%)"
    assert nuts.loc["3", "evidence"] == "-1051.0 ± 0.3*"


def test_draws_that_did_not_converge_do_not_compete():
    def engine(mixture, data, random_seed):
        two = mixture.n_components == 2
        return (
            posteriors(mixture, data, random_seed, rhat_invariant=1.2, verdict="several modes")
            if two
            else posteriors(mixture, data, random_seed)
        )

    def unnamed(mixture, data, random_seed):
        found = posteriors(mixture, data, random_seed)
        found.tree.attrs |= {"verdict": "not identified (too many components)", "rhat_invariant": 1.02}
        return found

    def far_off(mixture, data, random_seed):
        found = posteriors(mixture, data, random_seed)
        found.tree.attrs |= {"khat": 0.9} if mixture.n_components == 2 else {}
        return found

    off = bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], engine=far_off, random_seed=1, **QUIET)
    assert off.table["usable"].tolist() == [True, False]
    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], engine=engine, random_seed=1, **QUIET)
    assert result.table["usable"].tolist() == [True, False]
    assert result.best("elpd").mixture.n_components == 1
    assert any("K=2 does not compete. several modes" in note for note in result.notes), result.notes
    kept = bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], engine=unnamed, random_seed=1, **QUIET)
    assert any("K=2 (not identified (too many components)): components are not" in note for note in kept.notes)
    assert kept.best("elpd").mixture.n_components == 2  # the density mixes, whatever its components are called


def test_two_sweeps_go_together():
    waiting = FAITHFUL["waiting"]
    first = bm.sweep(bm.Normal(), waiting, [1, 2], n_init=3, random_seed=1, **QUIET)
    second = bm.sweep(bm.Normal(), waiting, [2, 3], n_init=3, random_seed=2, **QUIET)
    other = bm.sweep(bm.MvNormal(covariance="tied"), waiting, 2, n_init=3, random_seed=1, **QUIET)
    together = second | first | second
    assert list(together.fits) == [("EM", "Normal", k) for k in (1, 2, 3)]
    assert together.fits["EM", "Normal", 2] is second.fits["EM", "Normal", 2]
    nuts = bm.sweep(bm.Normal(), waiting, [2, 1], engine={"NUTS": posteriors}, random_seed=1, **QUIET)
    sorted_rows = nuts | first | bm.sweep(bm.Normal(), waiting, 3, engine={"NUTS": posteriors}, random_seed=1, **QUIET)
    assert list(sorted_rows.table.loc["NUTS"].index) == [("Normal", k) for k in (1, 2, 3)]
    assert list(sorted_rows.table.loc["EM"].index) == [("Normal", k) for k in (1, 2)]
    assert set((first | other).fits) == {("EM", "Normal", 1), ("EM", "Normal", 2), ("EM", "MvNormal tied", 2)}
    with pytest.raises(ValueError, match="same data only"):
        first | bm.sweep(bm.Normal(), waiting[:100], [1], random_seed=1, **QUIET)


# -- what a fit depends on ---------------------------------------------------------------------------------------------
def test_a_fit_is_that_of_the_engine_alone_whatever_else_is_asked_for():
    waiting = FAITHFUL["waiting"]
    alone = bm.em(bm.Mixture(bm.Normal(), 3), waiting, n_init=5, random_seed=7, **QUIET)
    for numbers, cores in (([3], 1), (range(1, 5), 2)):
        result = bm.sweep(bm.Normal(), waiting, numbers, n_init=5, random_seed=7, cores=cores, **QUIET)
        for name, value in result.fits["EM", "Normal", 3].estimates.items():
            np.testing.assert_array_equal(value, alone.estimates[name])


def test_the_same_generator_gives_the_same_sweep():
    heights = [
        bm.sweep(bm.Normal(), FAITHFUL["waiting"], [4], n_init=2, random_seed=np.random.default_rng(3), **QUIET)
        .table["log_likelihood"]
        .tolist()
        for _ in range(2)
    ]
    assert heights[0] == heights[1]


def test_options_go_to_the_engines_that_have_them():
    seen = {}

    def other(mixture, data, *, chains):
        seen["chains"] = chains
        return bm.em(mixture, data, n_init=1, random_seed=0, **QUIET)

    engines = {"EM": bm.em, "other": other}
    result = bm.sweep(
        bm.Normal(), FAITHFUL["waiting"], 2, engine=engines, chains=3, max_iter=1, n_init=2, random_seed=1, **QUIET
    )
    assert seen == {"chains": 3}
    assert not result.fits["EM", "Normal", 2].converged  # max_iter
    assert result.fits["other", "Normal", 2].converged


def test_row_weights_count_as_repeated_rows():
    x = np.array([1.0, 1.2, 1.9, 2.0, 5.0, 5.3, 5.9, 6.1])
    counts = np.array([3, 1, 2, 4, 2, 2, 1, 3])
    weighted = bm.sweep(bm.Normal(), x, [1, 2], weights=counts, n_init=5, random_seed=1, **QUIET)
    repeated = bm.sweep(bm.Normal(), np.repeat(x, counts), [1, 2], n_init=5, random_seed=1, **QUIET)
    np.testing.assert_allclose(weighted.table["bic"], repeated.table["bic"], rtol=1e-7)  # EM's tol of 1e-8


def test_data_that_are_not_in_memory(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.column_stack([FAITHFUL["eruptions"], FAITHFUL["waiting"]]))
    mapped = np.load(path, mmap_mode="r")
    result = bm.sweep(bm.MvNormal(), mapped, [1, 2], n_init=5, random_seed=1, **QUIET)
    assert result.best("bic").mixture.n_components == 2
    assert result.table["icl"].isna().all()  # it needs the responsibilities of all rows
    assert result.table.loc[("EM", "full", 1), "bic"] == pytest.approx(mclusts("faithful", "full", 1), abs=1e-5)


# -- fits that fail, and interrupts ------------------------------------------------------------------------------------
def test_a_fit_that_fails_has_a_row_that_says_why():
    x = np.array([1.0, 1.5, 2.5, 6.0, 7.0])
    result = bm.sweep(bm.Normal(), x, [1, 2, 7], n_init=3, random_seed=1, **QUIET)
    row = result.table.loc["EM", "Normal", 7]
    assert row["verdict"] == "failed"
    assert "n_components=7" in row["message"] or "7 components" in row["message"], row["message"]
    assert list(result.fits) == [("EM", "Normal", 1), ("EM", "Normal", 2)]
    assert any(note.startswith("Normal, K=7: no fit.") for note in result.notes)


def test_any_error_of_an_engine_leaves_the_other_fits():
    def engine(mixture, data):
        if mixture.n_components == 2:
            raise KeyError("lost")
        return bm.em(mixture, data, n_init=1, random_seed=0, **QUIET)

    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2, 3], engine=engine, **QUIET)
    assert [key[2] for key in result.fits] == [1, 3]
    assert "lost" in result.table.loc["ENGINE", "Normal", 2]["message"]


def test_a_degenerate_optimum_does_not_compete():
    x = np.r_[np.zeros(6), 4.0, 4.1, 9.0, 9.4, 15.0, 15.2]
    result = bm.sweep(bm.Normal(), x, [1, 4], guard=None, n_init=5, random_seed=1, **QUIET)
    assert result.table.loc["EM", "Normal", 4]["verdict"] == "degenerate"
    assert result.best("bic").mixture.n_components == 1
    assert any("K=4 is degenerate and does not compete" in note for note in result.notes)


def test_a_likelihood_that_does_not_rise_is_noted():
    """Counts that vary less than a Poisson variable, where a mixture only varies more: one component fits best."""
    result = bm.sweep(bm.Poisson(), [2, 2, 2, 3, 3, 3, 4], [1, 2, 3], n_init=5, random_seed=1, **QUIET)
    assert any(note.startswith("Poisson, K=2 and 3: the likelihood is no higher") for note in result.notes), (
        result.notes
    )
    assert not any("no higher" in note for note in bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], **QUIET).notes)


def test_nothing_fitted_raises_what_the_first_fit_raised():
    with pytest.raises(ValueError, match="describes one column"):
        bm.sweep(bm.Normal(), FAITHFUL, [1, 2], **QUIET)
    with pytest.raises(ValueError, match="max_iter=0"):
        bm.sweep(bm.MvNormal(), FAITHFUL, [1, 2], max_iter=0, **QUIET)


def test_an_interrupt_keeps_what_is_done():
    def engine(mixture, data):
        if mixture.n_components == 3:
            raise KeyboardInterrupt
        return bm.em(mixture, data, n_init=1, random_seed=0, **QUIET)

    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], range(1, 6), engine=engine, **QUIET)
    assert [key[2] for key in result.fits] == [1, 2]
    assert len(result.table) == 2
    assert result.notes[0] == "The sweep was interrupted: 2 of 5 fits are there."


@pytest.mark.parametrize("held", [False, True])
def test_an_interrupt_that_an_engine_deals_with_ends_the_sweep_too(held):
    """Engines keep their best on Ctrl-C, or finish first, and return: the sweep must not go on to the next fit."""

    def engine(mixture, data):
        if mixture.n_components == 2 and held:
            with pytest.warns(UserWarning, match="interrupted while"), finishing("the draws are relabelled"):
                signal.raise_signal(signal.SIGINT)
        elif mixture.n_components == 2:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return bm.em(mixture, data, n_init=1, random_seed=0, **QUIET)

    before = signal.getsignal(signal.SIGINT)
    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], range(1, 6), engine=engine, **QUIET)
    assert [key[2] for key in result.fits] == [1, 2]
    assert "2 of 5 fits" in result.notes[0]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_before_the_first_fit_is_an_interrupt():
    def engine(mixture, data):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bm.sweep(bm.Normal(), FAITHFUL["waiting"], [1, 2], engine=engine, **QUIET)


# -- words -------------------------------------------------------------------------------------------------------------
def test_criteria_that_differ_are_explained(faithful):
    said = faithful.sentence
    assert said.startswith("The criteria differ: BIC prefers tied with 3 components; ICL prefers ")
    extra = faithful.table["icl"] - faithful.table["bic"]
    assert f"{extra['EM', 'tied', 3]:.0f} for tied with 3 components" in said
    assert "BIC asks how many components the density needs, ICL how many clusters lie apart" in said
    assert "some of BIC's 3 components overlap" in said
    assert "AIC charges 2 for a parameter where BIC charges 5.6" in said  # log 272
    assert "AIC prefers the largest number tried, 4: try more." in said


def test_criteria_that_agree_say_so():
    """Two groups 12 standard deviations apart, of 200 rows each: every criterion sees two."""
    rng = np.random.default_rng(4)
    x = np.r_[rng.normal(0, 1, 200), rng.normal(12, 1, 200)]
    result = bm.sweep(bm.Normal(), x, [1, 2, 3], n_init=10, random_seed=1, **QUIET)
    assert result.sentence.startswith("BIC, ICL and AIC all prefer 2 components. Next come by BIC 3"), result.sentence
    assert len(result.conclusion) == 2  # and no word on why they differ


def numbers_only(engine, **columns):
    """A sweep's table made of numbers: rows for 1, 2, 3, ... components."""
    size = len(next(iter(columns.values())))
    index = pd.MultiIndex.from_product(
        [[engine], ["Normal"], range(1, size + 1)], names=["engine", "component", "n_components"]
    )
    frame = pd.DataFrame(np.nan, index=index, columns=list(COLUMNS))
    known = {
        "usable": True,
        "elpd_usable": True,
        "evidence_usable": True,
        "verdict": "converged",
        "n_parameters": np.arange(size) * 3 + 2,
    }
    return frame.assign(**(known | columns))


def test_elpd_that_cannot_tell_says_which_are_as_good():
    em = numbers_only("EM", bic=[140.0, 100.0, 112.0, 125.0], aic=[130.0, 90.0, 92.0, 95.0])
    nuts = numbers_only("NUTS", elpd=[-70.0, -52.0, -50.0, -50.5], elpd_diff_se=[4.0, 1.0, 0.0, 0.5])
    table = pd.concat([em, nuts])
    said = " ".join(conclude(table, rankings(table)))
    assert "BIC and AIC prefer 2 components; elpd prefers 3 components" in said
    assert "by elpd 2 and 4 components, about as good" in said  # 2 and 0.5 nats
    assert "The simplest that it does not tell from its best is 2 components" in said
    assert "nothing against the choice of BIC" in said
    table.loc[("NUTS", "Normal", 2), ["elpd", "elpd_diff_se"]] = [-60.0, 2.0]
    said = " ".join(conclude(table, rankings(table)))
    assert "The choice of BIC predicts worse, by 10 ± 2.0 nats." in said
    table.loc[("NUTS", "Normal", 2), "elpd_diff_se"] = 6.0  # 10 nats are within twice that
    assert "nothing against the choice of BIC" in " ".join(conclude(table, rankings(table)))


def test_evidence_that_differs_is_explained(both):
    assert "log evidence prefers 3 components" in both.sentence
    assert "by log evidence 2 components, 1.5 ± 0.36 behind" in both.sentence
    assert "depends on how wide the priors are" in both.sentence


def test_one_mixture_is_no_choice():
    result = bm.sweep(bm.Normal(), FAITHFUL["waiting"], 2, n_init=1, random_seed=1, **QUIET)
    assert "nothing to choose from" in result.sentence


def test_printing_fits_eighty_columns(faithful, both):
    for result in (faithful, both):
        long = [line for line in repr(result).splitlines() if len(line) > 80]
        assert not long, long
        assert "smaller is better" in repr(result)
        html = result._repr_html_()
        assert html.count("<table>") == len(result.readable())
        assert result.conclusion[0].split(";")[0] in html


# -- pictures ----------------------------------------------------------------------------------------------------------
def test_the_picture_shows_the_rankings(both, faithful, tmp_path):
    figure = both.plot()
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.axison] == [
        *("BIC: 2 components", "ICL: 2 components"),
        *(f"{name}: {k} components" for name, k in zip(("AIC", "elpd", "log evidence"), best_of(both), strict=True)),
    ]
    line = faithful.plot(["icl"]).axes[0].lines[0]
    expected = faithful.rankings["icl", "EM"].behind["full"]
    np.testing.assert_allclose(line.get_ydata(), expected)
    ring = faithful.plot("bic").axes[0].lines[-1]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([3], [0.0])
    faithful.plot().savefig(tmp_path / "sweep.svg")
    with pytest.raises(ValueError, match="the criteria of this sweep are bic, icl and aic"):
        faithful.plot(["elpd"])


def best_of(result):
    return [result.best(name).mixture.n_components for name in ("aic", "elpd", "log_evidence")]


# -- wrong input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"n_components": []}, ValueError, r"n_components=\[\] is empty"),
        ({"n_components": range(3, 3)}, ValueError, "is empty; give whole numbers, for example"),
        ({"n_components": [0, 1]}, ValueError, "holds 0, but a mixture needs at least 1"),
        ({"n_components": [1, 2, 2]}, ValueError, "holds 2 more than once"),
        ({"n_components": [1, 2.5]}, TypeError, "holds 2.5"),
        ({"n_components": True}, TypeError, "holds True"),
        ({"n_components": "1-8"}, TypeError, "must be whole numbers"),
        ({"component": bm.Normal}, TypeError, r"class Normal; call it: bm.Normal\(\)"),
        ({"component": "normal"}, TypeError, "must be a family such as"),
        ({"component": 3}, TypeError, "must be a family such as"),
        ({"component": []}, ValueError, "names no family"),
        ({"component": bm.Mixture(bm.Normal(), 2)}, TypeError, "give its family alone"),
        ({"component": [bm.Normal(), bm.Normal()]}, ValueError, "given more than once"),
        ({"component": [bm.MvNormal(covariance=["full", "tied"]), bm.MvNormal()]}, ValueError, "more than once"),
        ({"engine": "em"}, TypeError, "must be a function that fits"),
        ({"engine": {}}, ValueError, "engine names none"),
        ({"engine": {1: bm.em}}, TypeError, "names of engines are text"),
        ({"n_inits": 3}, TypeError, "n_inits= is not an option of EM, nor of bm.sweep"),
        ({"random_seed": -1}, ValueError, "a seed must be 0 or more"),
        ({"weights": [1.0, 2.0]}, ValueError, "2"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, said):
    settings = {"component": bm.Normal(), "data": FAITHFUL["waiting"], "n_components": [1, 2], **QUIET} | arguments
    with pytest.raises(error, match=said):
        bm.sweep(**settings)


def test_best_says_what_there_is(both, faithful):
    with pytest.raises(ValueError, match="criterion='BIC' is not known; use one of bic, icl, aic, elpd, log_evidence"):
        faithful.best("BIC")
    with pytest.raises(ValueError, match="has elpd to rely on; the criteria it has are: aic, bic and icl"):
        faithful.best("elpd")
    with pytest.raises(ValueError, match="engine='NUTS' has no bic to rely on; EM has"):
        both.best("bic", engine="NUTS")
    twice = bm.sweep(
        bm.Normal(), FAITHFUL["waiting"], [1, 2], engine={"a": bm.em, "b": bm.em}, n_init=1, random_seed=1, **QUIET
    )
    with pytest.raises(ValueError, match="a and b have bic; say whose is meant"):
        twice.best()
    assert twice.best(engine="b") is twice.fits["b", "Normal", 2]


# -- the command line --------------------------------------------------------------------------------------------------
@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "faithful.csv"
    FAITHFUL.to_dataframe().to_csv(path, index=False)
    return path


def test_the_command_prints_the_sentence_and_writes_table_and_picture(csv, tmp_path):
    table, picture = tmp_path / "table.csv", tmp_path / "picture.png"
    command = [
        "sweep",
        str(csv),
        "-k",
        "1-2,3",
        "--covariance",
        "full,tied",
        "--csv",
        str(table),
        "--plot",
        str(picture),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "BIC prefers tied with 3 components" in " ".join(result.output.replace("│", " ").split())
    assert "smaller is better" in result.output
    written = pd.read_csv(table, index_col=["engine", "component", "n_components"])
    assert list(written.index) == [("EM", family, k) for family in ("full", "tied") for k in (1, 2, 3)]
    assert written.loc[("EM", "full", 1), "bic"] == pytest.approx(mclusts("faithful", "full", 1), abs=1e-5)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-k", "0-2"], "holds 0, but a mixture needs at least 1 component"),
        (["-k", "a"], "'a' is not a number of components"),
        (["-k", ","], "holds no number of components"),
        (["-k", "5-3"], "holds no number of components"),
        (["--covariance", "full,fulll"], "covariance='fulll' is not known"),
        (["--family", "normal", "--covariance", "full"], "belongs to the family mvnormal"),
        (["--family", "gaussian"], "family 'gaussian' is not known"),
        (["--plot", "picture.bmp"], "ends in .png, .svg, .pdf"),
        (["--csv", "nowhere/table.csv"], "there is no folder nowhere"),
        (["--engines", "emm"], "engine 'emm' is not known"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(csv, options, said):
    result = CliRunner().invoke(app, ["sweep", str(csv), *options])
    assert result.exit_code == 2
    assert said in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr
