"""Every data set loads as named, described columns, and the numbers are those that were published."""

import numpy as np
import pytest

from bayesmix import datasets
from bayesmix.arrays import as_data


@pytest.mark.parametrize("name", datasets.names())
def test_columns_lie_along_obs_and_say_what_they_are(name):
    data = datasets.load(name)
    assert data.attrs.keys() >= {"source", "licence", "description"}
    assert all(data.attrs.values())
    for variable in data.data_vars.values():
        assert variable.dims == ("obs",)
        assert variable.attrs.keys() == {"units", "long_name"}


def test_names_are_sorted():
    assert datasets.names() == ["acidity", "death_notices", "faithful", "iris", "worked_example"]


def test_faithful_has_the_published_means():
    data = datasets.load("faithful")
    assert data.sizes["obs"] == 272
    np.testing.assert_allclose(data["eruptions"].mean(), 3.487783, atol=1e-6)  # R: mean(faithful$eruptions)
    np.testing.assert_allclose(data["waiting"].mean(), 70.89706, atol=1e-5)


def test_death_notices_has_the_published_totals():
    data = datasets.load("death_notices")
    assert int(data["freq"].sum()) == 1096  # days in 1910-1912
    assert int((data["freq"] * data["deaths"]).sum()) == 2364


def test_iris_has_fifty_of_each_species_as_text():
    species, count = np.unique(datasets.load("iris")["species"], return_counts=True)
    assert species.tolist() == ["setosa", "versicolor", "virginica"]
    assert species.dtype.kind == "U"
    assert count.tolist() == [50, 50, 50]


def test_acidity_has_the_likelihood_that_mclust_found():
    x = datasets.load("acidity")["log_anc"].values
    assert len(x) == 155
    bic = 155 * (np.log(2 * np.pi * x.var()) + 1) + 2 * np.log(155)  # of one normal component
    np.testing.assert_allclose(bic, 461.657581, atol=1e-5)  # mclust 6.0.0, model E with one component


def test_worked_example_is_the_six_points():
    assert datasets.load("worked_example")["y"].values.tolist() == [1, 2, 4, 7, 8, 10]


def test_a_data_set_can_be_fitted_as_it_is():
    data = as_data(datasets.load("faithful"))
    assert data.feature == ("eruptions", "waiting")
    assert data.values.shape == (272, 2)


def test_two_loads_share_nothing():
    datasets.load("faithful")["waiting"][:] = 0
    assert datasets.load("faithful")["waiting"].values.all()


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no data set 'faithfull'.*Did you mean 'faithful'\?.*'iris'"):
        datasets.load("faithfull")
