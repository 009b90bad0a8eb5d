"""ArviZ reads the tree of every fit as it is."""

import arviz as az
import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest

import bayesmix as bm

matplotlib.use("Agg")

FAITHFUL = bm.datasets.load("faithful")


@pytest.fixture(scope="module", params=["em", "nuts", "advi"])
def fit(request):
    mixture = bm.Mixture(bm.MvNormal(), 2)
    options = {"draws": 250, "random_seed": 1, "progressbar": False}
    if request.param == "em":
        return bm.em(mixture, FAITHFUL, uncertainty="laplace", **options)
    return getattr(bm, request.param)(mixture, FAITHFUL, **options)


def test_numbers(fit):
    table = az.summary(fit.tree)
    assert table.loc["mu[1, waiting]", "mean"] == pytest.approx(80.0, abs=0.5)
    assert np.isfinite(az.ess(fit.tree)["mu"].values).all()
    assert az.loo(fit.tree).elpd == pytest.approx(-1141.5, abs=3.0)
    assert az.hdi(fit.tree, prob=0.9)["mu"].shape == (2, 2, 2)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "plot",
    [
        "plot_dist",
        "plot_forest",
        "plot_trace_dist",
        "plot_rank_dist",
        "plot_pair",
        "plot_ppc_dist",
        "plot_ess",
        "plot_mcse",
    ],
)
def test_plots(fit, plot):
    if plot == "plot_rank_dist" and fit.engine != "nuts":
        pytest.skip("rank plots compare chains, and independent draws are one chain")
    options = {} if plot == "plot_ppc_dist" else {"var_names": ["mu"]}
    assert getattr(az, plot)(fit.tree, backend="matplotlib", **options) is not None
    matplotlib.pyplot.close("all")
