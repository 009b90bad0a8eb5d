"""The picture of the co-clustering matrix shows its numbers, that of the uncertainty each row's."""

import numpy as np
import pytest
from fits import posterior

import bayesmix as bm
from bayesmix.plots import partitions

FAITHFUL = bm.datasets.load("faithful")


@pytest.fixture(scope="module", params=["one column", "two columns"])
def fit(request):
    one = request.param == "one column"
    mixture, data = (
        (bm.Mixture(bm.Normal(), 2), FAITHFUL["waiting"]) if one else (bm.Mixture(bm.MvNormal(), 2), FAITHFUL)
    )
    em = bm.em(mixture, data, n_init=2, random_seed=1, progressbar=False)
    return posterior(mixture, data, em, "nuts", seed=1)


def test_the_matrix_is_the_coclustering_in_the_order_of_the_clusters(fit):
    found = fit.partition(random_seed=0)
    axes = found.plot().axes[0]
    shown = axes.images[0].get_array()
    assert shown.shape == (272, 272)
    sizes = found.sizes
    blocks = np.split(shown[: sizes[0], : sizes[0]], 1)[0]
    rows = found.labels.values == 0
    expected = fit.coclustering().values[np.ix_(rows, rows)]
    # 1000 sampled allocations: standard errors of at most 0.016 for a pair, much smaller for the mean over pairs
    assert blocks.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert [text.get_text() for text in axes.get_yticklabels()] == [f"{k} ({n})" for k, n in enumerate(sizes)]


def test_of_many_rows_some_are_shown(fit, monkeypatch):
    monkeypatch.setattr(partitions, "SHOWN_MATRIX", 50)
    axes = fit.partition(random_seed=0).plot().axes[0]
    assert axes.images[0].get_array().shape == (50, 50)
    assert "50 of 272 shown" in axes.get_xlabel()


def test_the_uncertainty_of_every_row_is_drawn(fit):
    figure = fit.plot_uncertainty(units={"waiting": "min"})
    doubt = np.sort(fit.allocation_uncertainty(fit.data)["uncertainty"].values)
    left, right = figure.axes
    np.testing.assert_allclose(right.lines[0].get_ydata(), doubt)
    assert "min" in left.get_xlabel() + left.get_ylabel()
    assert left.get_title(loc="left").startswith(f"{(doubt > 0.25).sum()} of 272 rows")


def test_columns_that_do_not_exist_are_refused(fit):
    with pytest.raises(ValueError, match="columns are needed: .*waiting"):
        fit.plot_uncertainty(features=["colour"])
