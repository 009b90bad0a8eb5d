"""The credible ball around a point partition: which partitions are as plausible, and how far they reach."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from .distances import distances_to


@dataclass(frozen=True, eq=False)
class CredibleBall:
    """Partitions within the smallest ball around the point partition that holds a given posterior probability.

    Wade & Ghahramani (2018), section 4. The bounds are sampled partitions within the ball; where several are equally
    far, the first of them.

    Attributes
    ----------
    prob : float
        Probability that the ball holds.
    radius : float
        Its radius, as share of pairs (Binder) or in nats (variation of information).
    distances : ndarray (draw,)
        Of each sampled partition to the centre.
    upper : xarray.DataArray (obs,)
        Vertical upper bound: of those with the fewest clusters the one farthest from the centre.
    lower : xarray.DataArray (obs,)
        Vertical lower bound: of those with the most clusters the one farthest from the centre.
    horizontal : xarray.DataArray (obs,)
        The one farthest from the centre, whatever its number of clusters.
    loss : str
        "vi" or "binder".
    """

    prob: float
    radius: float
    distances: np.ndarray
    upper: xr.DataArray
    lower: xr.DataArray
    horizontal: xr.DataArray
    loss: str

    def __repr__(self):
        unit = "nats" if self.loss == "vi" else "of the pairs"
        lines = [f"Credible ball of probability {self.prob:g}: radius {self.radius:.3g} {unit}"]
        for name in ("upper", "lower", "horizontal"):
            bound: xr.DataArray = getattr(self, name)
            kind = "vertical " * (name != "horizontal") + name
            away = bound.attrs["distance"]
            lines.append(f"  {kind} bound: {bound.attrs['n_clusters']} clusters, {away:.3g} from the centre")
        return "\n".join(lines)


def credible_ball(labels: xr.DataArray, allocations: np.ndarray, prob: float, loss: str) -> CredibleBall:
    """Find the ball around a partition (obs,) that holds probability `prob` of the sampled ones (draw, obs)."""
    if not 0 < prob < 1:
        raise ValueError(f"prob={prob!r} but it is a probability between 0 and 1, for example 0.95.")
    away = distances_to(labels.values, allocations, loss)
    radius = float(np.sort(away)[int(np.ceil(prob * len(away) - 1e-9)) - 1])
    inside = np.flatnonzero(away <= radius + 1e-12)
    clusters = np.array([len(np.unique(allocations[i])) for i in inside])

    def bound(candidates):
        i = int(candidates[np.argmax(away[candidates])])
        found = np.unique(allocations[i], return_inverse=True)[1]  # numbered as the components are
        attrs = {"distance": float(away[i]), "n_clusters": int(found.max()) + 1}
        return xr.DataArray(found, dims=("obs",), coords={"obs": labels["obs"]}, name="cluster", attrs=attrs)

    upper, lower = inside[clusters == clusters.min()], inside[clusters == clusters.max()]
    return CredibleBall(prob, radius, away, bound(upper), bound(lower), bound(inside), loss)
