"""Comparing fits: labels, numbers, words."""

import warnings

import numpy as np
import pytest
from fits import posterior, three

import bayesmix as bm
from bayesmix.comparison import permuted
from bayesmix.fit import Fit

FAITHFUL = bm.datasets.load("faithful")
MIXTURE = bm.Mixture(bm.MvNormal(), 2)


@pytest.fixture(scope="module")
def fits():
    return three(MIXTURE, FAITHFUL)


@pytest.fixture(scope="module")
def result(fits):
    return bm.compare(fits)


@pytest.fixture(scope="module")
def waiting():
    mixture = bm.Mixture(bm.Normal(), 2)
    return three(mixture, FAITHFUL["waiting"])


def test_parameters_have_named_dims_and_one_method_each(result):
    assert result.parameters["mu"].dims == ("fit", "quantity", "cluster", "feature")
    assert result.parameters["cov"].dims == ("fit", "quantity", "cluster", "feature", "feature_2")
    assert list(result.parameters["fit"].values) == ["EM", "NUTS", "ADVI"]
    assert list(result.parameters["quantity"].values) == ["estimate", "se", "lower", "upper"]
    assert result.parameters.attrs["ci_prob"] == 0.89


def test_alignment_undoes_a_renaming_of_components(fits, result):
    assert fits["NUTS"].estimates["mu"][0, 1] > fits["NUTS"].estimates["mu"][1, 1]  # the renaming is there
    mu = result.parameters["mu"].sel(fit="NUTS", quantity="estimate")
    np.testing.assert_allclose(mu, fits["NUTS"].estimates["mu"][::-1])
    rows = result.agreement.rows
    assert (rows["EM"] == rows["NUTS"]).mean() > 0.99


def test_parameters_are_those_of_the_draws(fits, result):
    draws = fits["ADVI"].tree["posterior/weights"].values[0]
    found = result.parameters["weights"].sel(fit="ADVI")
    np.testing.assert_allclose(found.sel(quantity="estimate"), draws.mean(axis=0))
    np.testing.assert_allclose(found.sel(quantity="se"), draws.std(axis=0, ddof=1))
    np.testing.assert_allclose(found.sel(quantity="lower"), np.quantile(draws, 0.055, axis=0))
    np.testing.assert_allclose(found.sel(quantity="upper"), np.quantile(draws, 0.945, axis=0))
    em = result.parameters["weights"].sel(fit="EM", quantity="estimate")
    np.testing.assert_allclose(em, fits["EM"].tree["point/weights"])


def test_table_shows_those_numbers_once_each(result):
    table = result.table()
    assert list(table.columns) == ["EM", "NUTS", "ADVI"]
    assert "mu[0, eruptions]" in table.index and "cov[0, eruptions, waiting]" in table.index
    assert "cov[0, waiting, eruptions]" not in table.index
    assert len(table) == 2 + 4 + 6
    estimate, se, lower, upper = result.parameters["mu"].sel(fit="NUTS").values[:, 1, 1]
    assert table.loc["mu[1, waiting]", "NUTS"] == f"{estimate:.2f} ± {se:.2f} [{lower:.2f}, {upper:.2f}]"


def test_structural_zeros_are_not_in_the_table():
    diagonal = bm.em(
        bm.Mixture(bm.MvNormal(covariance="diag"), 2), FAITHFUL, n_init=3, random_seed=1, progressbar=False
    )
    table = bm.compare([diagonal]).table()
    assert [row for row in table.index if row.startswith("cov")] == [
        f"cov[{k}, {name}, {name}]" for k in (0, 1) for name in ("eruptions", "waiting")
    ]


def test_elpd_is_that_of_arviz(fits, result):
    import arviz as az

    tree = fits["ADVI"].tree
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # draws by hand have large Pareto k
        expected = {
            "EM": az.loo(fits["EM"].tree).elpd,
            "NUTS": az.loo(fits["NUTS"].tree).elpd,
            "ADVI": az.loo_approximate_posterior(
                tree, log_p=tree["sample_stats/log_p"], log_q=tree["sample_stats/log_q"]
            ).elpd,
        }
    assert set(result.elpd.index) == set(expected)
    for name, elpd in expected.items():
        assert result.elpd.loc[name, "elpd"] == pytest.approx(elpd, rel=1e-12), name
    assert result.elpd["elpd"].is_monotonic_decreasing
    assert result.elpd["weight"].sum() == pytest.approx(1.0)


def test_elpd_says_on_what_it_rests(result):
    assert result.elpd.loc["NUTS", "basis"] == "posterior draws (NUTS)"
    assert "sampling distribution (laplace), not a posterior" in result.elpd.loc["EM", "basis"]
    assert result.elpd.loc["ADVI", "basis"] == "variational draws, importance-corrected (k-hat 0.31)"


def test_large_pareto_k_is_counted_and_said(result):
    bad = result.elpd.loc["ADVI", "khat_bad"]  # too narrow draws have heavy weights
    assert bad > 0
    assert any(note.startswith(f"ADVI: {bad} row") and "not reliable" in note for note in result.notes)


def test_diagnostics_take_over_what_the_engines_found(result):
    diagnostics = result.diagnostics
    assert diagnostics.loc["NUTS", "rhat_raw"] == 1.6
    assert diagnostics.loc["NUTS", "ess_relabelled"] == 900
    assert diagnostics.loc["ADVI", "khat"] == 0.31
    assert diagnostics.loc["EM", "bic"] == pytest.approx(result.fits["EM"].bic)
    assert np.isnan(diagnostics.loc["NUTS", "bic"])
    assert list(diagnostics["n_parameters"]) == [11, 11, 11]


def test_agreement_of_methods_that_agree(result):
    agreement = result.agreement
    assert list(agreement.marginals["pair"].values) == ["EM and NUTS", "EM and ADVI", "NUTS and ADVI"]
    assert float(agreement.marginals["mu"].sel(pair="EM and NUTS").min()) > 0.85  # 1 but for 240 draws each
    # standard deviations in the ratio 0.7: the overlap of two such normals is 0.83
    assert float(agreement.marginals["mu"].sel(pair="EM and ADVI").mean()) == pytest.approx(0.83, abs=0.07)
    assert float(agreement["density"]["total_variation"].max()) < 0.05
    assert float(agreement.classification["alike"].min()) > 0.99
    assert len(agreement.rows) == 272


def test_conclusion_says_that_methods_agree_and_that_advi_is_narrow(result):
    said = " ".join(result.conclusion)
    assert "EM and NUTS agree" in said
    assert "of 272 rows are classified alike" in said
    assert "Standard errors of ADVI are 0." in said


def test_conclusion_says_that_methods_differ(waiting):
    mixture = bm.Mixture(bm.Normal(), 2)
    moved = posterior(mixture, FAITHFUL["waiting"], waiting["EM"], "advi", seed=5, shift=3.0)
    result = bm.compare({"EM": waiting["EM"], "moved": moved})
    assert result.conclusion[0].startswith("moved and EM differ")


def test_an_unconverged_posterior_is_said_and_no_yardstick(waiting):
    mixture = bm.Mixture(bm.Normal(), 2)
    words = {"verdict": "several modes", "message": "The chains have different means.", "converged": 0}
    bad = posterior(mixture, FAITHFUL["waiting"], waiting["EM"], "nuts", **words)
    result = bm.compare({"EM": waiting["EM"], "NUTS": bad})
    assert result.conclusion[0].startswith("Mind NUTS: several modes.")
    assert any(sentence.startswith("NUTS and EM") for sentence in result.conclusion)
    assert result.notes[0].startswith("NUTS: several modes.")


def test_em_without_draws_has_an_estimate_and_no_more(waiting):
    plain = bm.em(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], n_init=3, random_seed=1, progressbar=False)
    result = bm.compare({"EM": plain, "NUTS": waiting["NUTS"]})
    own = result.parameters["mu"].sel(fit="EM")
    assert np.isfinite(own.sel(quantity="estimate")).all()
    assert np.isnan(own.sel(quantity=["se", "lower", "upper"])).all()
    assert list(result.elpd.index) == ["NUTS"]
    assert any('uncertainty="laplace"' in note for note in result.notes)
    assert any("BIC" in note for note in result.notes)
    assert np.isnan(result.agreement.marginals["mu"]).all()
    assert "agree" in result.conclusion[0]


def test_mixtures_of_other_size_and_family_share_all_but_parameters(waiting):
    rows = FAITHFUL["waiting"]
    three_normals = bm.em(bm.Mixture(bm.Normal(), 3), rows, n_init=3, random_seed=1, progressbar=False)
    counts = bm.em(
        bm.Mixture(bm.Poisson(), 2), rows, uncertainty="laplace", draws=200, random_seed=1, progressbar=False
    )
    result = bm.compare({"two": waiting["EM"], "three": three_normals, "counts": counts})
    for name in ("three", "counts"):
        assert np.isnan(result.parameters["mu"].sel({"fit": name})).all(), name
    assert list(result.table().columns) == ["two"]
    assert any("another family or number of components" in note for note in result.notes)
    assert set(result.elpd.index) == {"two", "counts"}
    assert np.isfinite(result.agreement.classification["rand"]).all()
    assert np.isnan(result.agreement.density["total_variation"].sel(pair="two and counts"))
    assert 0 < float(result.agreement.density["total_variation"].sel(pair="two and three")) < 0.2
    assert "different mixtures" in " ".join(result.conclusion)


def test_one_fit_can_be_looked_at_alone(waiting):
    result = bm.compare([waiting["EM"]])
    assert list(result.fits) == ["EM"]
    assert result.conclusion[0].startswith("EM: EM converged")
    assert len(result.agreement.rows) == 272
    assert "Parameters" in repr(result)


def test_a_list_is_named_by_engine(waiting):
    plain = bm.em(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], n_init=2, random_seed=1, progressbar=False)
    result = bm.compare([plain, waiting["NUTS"], plain])
    assert list(result.fits) == ["EM", "NUTS", "EM 2"]


def test_reference_gives_its_labels_to_the_others(waiting):
    result = bm.compare(waiting, reference="NUTS")
    mu = result.parameters["mu"].sel(quantity="estimate")
    assert (mu.isel(cluster=0) > mu.isel(cluster=1)).all()


def test_permuted_fit_is_the_same_mixture(waiting):
    fit = waiting["NUTS"]
    other = permuted(fit, np.array([1, 0]))
    x = np.array([50.0, 65.0, 80.0])
    np.testing.assert_allclose(other.logpdf(x), fit.logpdf(x))
    np.testing.assert_allclose(other.responsibilities(x), fit.responsibilities(x)[:, ::-1])
    np.testing.assert_array_equal(other.tree["posterior/cluster"], [0, 1])


def test_doubtful_alignment_is_said():
    """Two components in the same place can be named either way."""
    mixture = bm.Mixture(bm.Normal(), 2)
    a = Fit.from_parameters(mixture, FAITHFUL["waiting"], weights=[0.5, 0.5], mu=[70, 71], sigma=[12, 13])
    b = Fit.from_parameters(mixture, FAITHFUL["waiting"], weights=[0.5, 0.5], mu=[71, 70], sigma=[13, 13])
    assert any("only doubtfully" in note for note in bm.compare({"a": a, "b": b}).notes)


def test_printing_shows_every_table(result):
    text = repr(result)
    for part in ("mu[0, eruptions]", "Expected log predictive density", "Diagnostics", "Agreement", "Notes", "BIC"):
        assert part in text, part
    html = result._repr_html_()
    assert "mu[0, eruptions]" in html and "<table>" in html


def test_row_weights_take_part():
    x = FAITHFUL["waiting"].values
    weights = np.random.default_rng(0).integers(1, 4, len(x)).astype(float)
    fit = bm.em(
        bm.Mixture(bm.Normal(), 2), x, weights=weights, uncertainty="laplace", draws=100, n_init=3, progressbar=False
    )
    result = bm.compare({"EM": fit})
    assert any("Rows have weights" in note for note in result.notes)


# -- what cannot be compared -----------------------------------------------------------------------------------------
def test_nothing_to_compare():
    with pytest.raises(ValueError, match="no fits"):
        bm.compare({})


def test_one_fit_without_a_name(waiting):
    with pytest.raises(TypeError, match="give a dict"):
        bm.compare(waiting["EM"])


def test_something_else_than_a_fit(waiting):
    with pytest.raises(TypeError, match="'b' is of type int"):
        bm.compare({"a": waiting["EM"], "b": 3})


def test_unknown_reference(waiting):
    with pytest.raises(ValueError, match="names are EM, NUTS, ADVI"):
        bm.compare(waiting, reference="MCMC")


def test_bad_probability(waiting):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bm.compare(waiting, ci_prob=89)


def test_other_data_are_named(waiting):
    mixture, rows = bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"].values
    quick = {"n_init": 2, "random_seed": 1, "progressbar": False}
    with pytest.raises(ValueError, match="'b' differs from 'a': 100 rows and 1 column instead of 272 rows"):
        bm.compare({"a": waiting["EM"], "b": bm.em(mixture, rows[:100], **quick)})
    changed = rows.copy()
    changed[7] += 1
    with pytest.raises(ValueError, match="1 of 272 rows have other values, the first is obs 7"):
        bm.compare({"a": waiting["EM"], "b": bm.em(mixture, changed, **quick)})
    with pytest.raises(ValueError, match="its rows have other weights"):
        bm.compare({"a": waiting["EM"], "b": bm.em(mixture, rows, weights=np.full(272, 2.0), **quick)})
    other = bm.em(mixture, FAITHFUL["eruptions"], **quick)
    with pytest.raises(ValueError, match="columns are eruptions instead of waiting"):
        bm.compare({"a": waiting["EM"], "b": other})


def test_fit_without_data():
    bare = Fit.from_parameters(bm.Mixture(bm.Normal(), 1), weights=[1.0], mu=[0.0], sigma=[1.0])
    with pytest.raises(ValueError, match="has no data"):
        bm.compare({"bare": bare})
