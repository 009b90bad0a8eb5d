"""Tables of parameters: entries, labels, numbers, warnings."""

import numpy as np
import pytest
from fits import posterior

import bayesmix as bm
from bayesmix.tables import entries, number, parameters_of

FAITHFUL = bm.datasets.load("faithful")
QUICK = {"n_init": 3, "random_seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def em():
    return bm.em(bm.Mixture(bm.MvNormal(), 2), FAITHFUL, uncertainty="laplace", draws=300, **QUICK)


def test_labels_are_those_of_arviz(em):
    import arviz as az

    labels = [entry.label for entry in entries(parameters_of(em, "posterior"))]
    rows = list(az.summary(em.tree, var_names=["weights", "mu", "cov"]).index)
    assert labels == [row for row in rows if "waiting, eruptions" not in row]


def test_summary_holds_the_numbers_of_the_draws(em):
    table = em.summary(ci_prob=0.9)
    draws = em.tree["posterior/mu"].values[0, :, 1, 0]
    row = table.loc["mu[1, eruptions]"]
    assert float(row["mean"]) == pytest.approx(draws.mean())
    assert float(row["sd"]) == pytest.approx(draws.std(ddof=1), rel=0.01)
    assert float(row["eti90_lb"]) == pytest.approx(np.quantile(draws, 0.05), rel=1e-3)
    assert float(row["estimate"]) == em.estimates["mu"][1, 0]
    assert table.attrs["message"] == em.message


def test_summary_without_draws_is_the_estimate():
    fit = bm.em(bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"], **QUICK)
    table = fit.summary()
    assert list(table.columns) == ["estimate"]
    assert list(table.index) == ["weights[0]", "weights[1]", "mu[0]", "mu[1]", "sigma[0]", "sigma[1]"]


def test_summary_leaves_out_what_never_varies():
    fit = bm.em(bm.Mixture(bm.MvNormal(covariance="diag"), 1), FAITHFUL, uncertainty="laplace", draws=50, **QUICK)
    assert list(fit.summary().index) == [
        "mu[0, eruptions]",
        "mu[0, waiting]",
        "cov[0, eruptions, eruptions]",
        "cov[0, waiting, waiting]",
    ]


def test_summary_warns_of_labels_that_cannot_be_trusted(em):
    words = {"verdict": "several modes", "message": "The chains have different means.", "converged": 0}
    bad = posterior(em.mixture, FAITHFUL, em, "nuts", draws=60, **words)
    with pytest.warns(UserWarning, match="different means"):
        table = bad.summary()
    assert table.attrs["message"] == "The chains have different means."
    assert "estimate" not in table


def test_summary_of_a_good_posterior_is_silent(em):
    assert len(posterior(em.mixture, FAITHFUL, em, "nuts", draws=60).summary()) == 12


def test_bad_probability(em):
    with pytest.raises(ValueError, match="between 0 and 1"):
        em.summary(ci_prob=89)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (54.4812, 0.61, "54.48"),
        (0.35594, 0.029, "0.356"),
        (-0.004, 0.2, "0.00"),
        (0.0, None, "0"),
        (123456.0, None, "120000"),
        (np.nan, None, "-"),
        (np.inf, None, "inf"),
        (1.234e-9, None, "1.2e-09"),
        (1e8 + 1, 2.0, "1.000000010e+08"),
    ],
)
def test_numbers_are_rounded_to_the_scale(value, scale, text):
    assert number(value, 2, scale) == text
