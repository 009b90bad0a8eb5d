"""Pictures show the right numbers, and can be drawn for every kind of data without a display."""

import numpy as np
import pytest
from fits import three
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

import bayesmix as bm
from bayesmix.plots import plot_comparison, plot_densities, plot_intervals
from bayesmix.plots.density import marginal_density, points_on

FAITHFUL = bm.datasets.load("faithful")


def iris():
    return bm.datasets.load("iris")[["sepal_length", "petal_length", "petal_width"]]


def counts():
    rng = np.random.default_rng(0)
    return np.r_[rng.poisson(2.0, 120), rng.poisson(11.0, 80)]


CASES = {
    "normal": lambda: (bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"]),
    "poisson": lambda: (bm.Mixture(bm.Poisson(), 2), counts()),
    "two columns": lambda: (bm.Mixture(bm.MvNormal(), 2), FAITHFUL),
    "three columns": lambda: (bm.Mixture(bm.MvNormal(covariance="tied"), 3), iris()),
}
_made = {}


def made(case):
    if case not in _made:
        fits = three(*CASES[case]())
        _made[case] = fits, bm.compare(fits)
    return _made[case]


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_fit_can_be_drawn(case, tmp_path):
    figure = made(case)[0]["NUTS"].plot()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "fit.svg")


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_comparison_can_be_drawn(case, tmp_path):
    result = made(case)[1]
    plot_comparison(result).savefig(tmp_path / "comparison.png", dpi=40)


def test_densities_can_be_drawn_alone():
    assert plot_densities(made("two columns")[1]).axes[0].get_title(loc="left") == "EM"


def test_notebooks_get_a_picture():
    assert made("normal")[0]["EM"].plot()._repr_png_().startswith(b"\x89PNG")


def test_the_curve_is_the_density_of_the_fit():
    fit = made("normal")[0]["NUTS"]
    (axes,) = fit.plot().axes
    (line,) = [line for line in axes.lines if line.get_label() == "mixture"]
    x, y = line.get_data()
    np.testing.assert_allclose(y, np.exp(fit.logpdf(x)), rtol=1e-6)
    components = [line.get_ydata() for line in axes.lines if line.get_label().startswith("component")]
    np.testing.assert_allclose(np.sum(components, axis=0), y)


def test_a_band_is_drawn_only_with_draws():
    fit = bm.em(*CASES["normal"](), n_init=2, random_seed=1, progressbar=False)
    assert not [c for c in fit.plot().axes[0].collections if isinstance(c, PolyCollection)]
    assert [c for c in made("normal")[0]["EM"].plot().axes[0].collections if isinstance(c, PolyCollection)]


def test_marginal_density_of_a_normal_is_normal():
    fit = made("two columns")[0]["EM"]
    x = points_on(fit, 1)
    mu, cov = fit.estimates["mu"][0, 1], fit.estimates["cov"][0, 1, 1]
    exact = fit.estimates["weights"][0] * np.exp(-0.5 * (x - mu) ** 2 / cov) / np.sqrt(2 * np.pi * cov)
    np.testing.assert_allclose(marginal_density(fit, 1, x)[:, 0], exact, atol=1e-6)


def test_ellipses_hold_their_share_of_a_component():
    """Of rows drawn from component 0, 95 % lie within the outer ellipse that is drawn for it."""
    fit = made("two columns")[0]["EM"]
    ellipse = fit.plot().axes[0].patches[1]
    rows = np.random.default_rng(0).multivariate_normal(fit.estimates["mu"][0], fit.estimates["cov"][0], 20_000)
    angle = np.radians(ellipse.angle)
    turned = (rows - ellipse.center) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inside = ((turned / [ellipse.width / 2, ellipse.height / 2]) ** 2).sum(axis=1) <= 1
    assert inside.mean() == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_axes_carry_names_and_units():
    figure = made("two columns")[0]["EM"].plot(units={"waiting": "min"})
    assert figure.axes[0].get_ylabel() == "waiting (min)"
    assert figure.axes[0].get_xlabel() == "eruptions"


def test_names_with_dollars_are_shown_as_they_are(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"price $": FAITHFUL["eruptions"], "cost $": FAITHFUL["waiting"]})
    fit = bm.em(bm.Mixture(bm.MvNormal(), 2), frame, n_init=2, random_seed=1, progressbar=False)
    result = bm.compare({"a $x^$": fit})
    result.plot().savefig(tmp_path / "names.png", dpi=40)


def test_some_columns_can_be_chosen():
    fit = made("three columns")[0]["EM"]
    figure = fit.plot(features=["petal_width", "sepal_length"])
    assert [axes.get_xlabel() for axes in figure.axes] == ["petal_width"]
    assert any(isinstance(c, PathCollection) for c in figure.axes[0].collections)
    with pytest.raises(ValueError, match="columns are sepal_length"):
        fit.plot(features=["colour"])


def test_intervals_are_those_of_the_comparison():
    result = made("normal")[1]
    figure = plot_intervals(result)
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "mu[1]")
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    expected = result.parameters["mu"].sel(quantity=["lower", "upper"]).isel(cluster=1)
    np.testing.assert_allclose(drawn, expected)
