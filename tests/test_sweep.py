"""`sweep` finds what mclust and scikit-learn found, says what the criteria come to, and keeps what is done."""

import pytest

import bayesmix as bm


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
