"""The verdict on a posterior: whether it has converged, in a sense that label switching cannot spoil.

R-hat of raw draws is useless for a mixture: chains that settled on the same posterior under other names of the
components look as if they disagreed. So three sets of numbers are looked at together: the draws as sampled, the draws
relabelled, and quantities in which the names of the components do not appear at all.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

RHAT = 1.01  # Vehtari et al. (2021), section 4
DRAWS_FOR_RHAT = 40.0  # with S draws in all the limit is 1 + 40/S where that is more: see `judge`
RHAT_MOST = 1.1  # ... and never more than this
RHAT_APART = 1.05  # below this, chains are not said to be in different modes
ESS_PER_CHAIN = 100.0  # Vehtari et al. (2021): 400 for four chains

CLEAR_MARGIN = 0.1  # of the share of the two lightest components: see `judge`
LOW_MARGIN_SHARE = 0.05
SWITCHED_SHARE = 0.01

STUCK_SD = 3.0
STUCK_NATS = 4.0
STUCK_REACH = 0.1

APART_SD = 1.0
SETTLED_ESS = 50.0
LEVELS_SEPARATION = 4.0
LEVELS_SHARE = 0.02
LEVELS_JUMPS = 0.05

EMPTY_QUANTILE = 0.05
EMPTY_RATIO = 0.2
EMPTY_SHARE = 0.1

DIVERGENT_SHARE = 0.01


@dataclass(frozen=True)
class Verdict:
    """What can be said of a set of posterior draws of a mixture.

    Attributes
    ----------
    outcome : str
        "converged", "labels switched only", "several modes", "a chain is stuck",
        "not identified (too many components)" or "not converged: run longer".
    message : str
        What was seen, with its numbers, and what to do.
    rhat_raw, rhat_relabelled, rhat_invariant : float
        Largest rank-normalised split R-hat over the entries of each set; nan if no entry varies.
    ess_raw, ess_relabelled, ess_invariant : float
        Smallest bulk effective sample size.
    low_margin_share : float
        Share of draws whose permutation is hardly better than another.
    """

    outcome: str
    message: str
    rhat_raw: float
    rhat_relabelled: float
    rhat_invariant: float
    ess_raw: float
    ess_relabelled: float
    ess_invariant: float
    low_margin_share: float


def invariants(log_density_at_points, weights, log_likelihood, entropy):
    """Gather quantities that do not change when the components are renamed.

    Parameters
    ----------
    log_density_at_points : array_like (chain, draw, point)
        Log density of the mixture at a handful of data points, at most 10: the middle and the tails of the data.
    weights : array_like (chain, draw, component)
        They are sorted, heaviest first; any labels will do.
    log_likelihood : array_like (chain, draw)
        Total over the rows, in nats.
    entropy : array_like (chain, draw)
        Of the allocations: −Σ_n Σ_k r_nk log r_nk, or its mean over rows, in nats.

    Returns
    -------
    dict of str to ndarray (chain, draw, ...)
        ``log_likelihood``, ``weights_sorted``, ``entropy``, ``log_density``.
    """
    points = np.asarray(log_density_at_points, dtype=float)
    if points.ndim != 3 or points.shape[2] > 10:
        raise ValueError(
            f"`log_density_at_points` has shape {points.shape}; it needs (chain, draw, point) with at most 10 points. "
            "A handful of quantiles of the data is enough."
        )
    return {
        "log_likelihood": np.asarray(log_likelihood, dtype=float),
        "weights_sorted": -np.sort(-np.asarray(weights, dtype=float), axis=-1),
        "entropy": np.asarray(entropy, dtype=float),
        "log_density": points,
    }


def judge(raw, relabelled, invariant, *, log_likelihood, permutation, margin, weights, divergences=0):
    """Judge the convergence of a mixture's posterior draws, in words.

    The rules, in the order in which they are tried. "Fine" is R-hat <= limit and ESS >= 100 per chain, for every entry
    of a set. The limit is 1.01 (Vehtari et al. 2021) from 4000 draws in all and 1 + 40/S for S draws below that, at
    most 1.1: for chains in perfect agreement (m half-chains with E effective draws in all) R-hat − 1 is about
    m (F − 1) / (2E), F = χ²_{m−1} / (m − 1), which exceeds 6.6/E for one quantity in a hundred when m = 8; 40/S
    grants that at E = S/6.

    1. *a chain is stuck*: fewer than half of the chains (or one of two) have a mean log-likelihood more than 3
       within-chain standard deviations and more than 4 nats below the best chain's, and fewer than 10 % of their draws
       come up to the 5 % quantile of the other chains; or a chain does not move at all.
    2. *several modes*: the invariant set is not fine, and either the chains differ (R-hat > 1.05, and chain means
       spread by more than one within-chain standard deviation), or some quantity has two levels (4 within-level
       standard deviations apart, at least 2 % of the draws in each) and chains change level in fewer than 5 % of
       steps. In both cases only if the chains mix where they are: the median over chains of a single chain's ESS,
       counted about the level it is at, is 50 or more, so that means are known to a seventh of a standard deviation.
       Chains that merely crawl are told to run longer.
    3. *not identified*: the invariant set has R-hat <= 1.1, and more than 5 % of the draws have a low
       margin, or a component is empty: the 5 % quantile of its weight is less than 0.2 times its median (as for a
       weight with less than about one row behind it, or one that comes and goes) and less than 0.1/K. A margin is low
       below 0.1 times the sum of the two smallest posterior mean weights (a clear choice between the two lightest
       components has a margin of about that sum, in rows as in nats per row).
    4. The relabelled and the invariant set are fine, and at most 1 % of the draws divergent: *labels switched only*
       if the permutation differs from the commonest one in more than 1 % of the draws (those of low margin aside),
       *converged* if not.
    5. *not converged: run longer* otherwise.

    A single chain is cut in two halves that stand for chains; rule 1 is then left out, and the message says that
    modes the chain never visited cannot be seen.

    Parameters
    ----------
    raw, relabelled, invariant : dict of str to array_like (chain, draw, ...)
        Parameters as sampled, after relabelling, and `invariants`. Entries that are constant over all draws, and the
        upper triangle of symmetric matrices, are passed over.
    log_likelihood : array_like (chain, draw)
        Total over the rows, in nats.
    permutation : array_like (chain, draw, component)
    margin : array_like (chain, draw)
        As of `ecr` (share of rows) or `stephens` (nats per row).
    weights : array_like (chain, draw, component)
        Relabelled.
    divergences : int
        Number of divergent transitions.

    Returns
    -------
    Verdict

    References
    ----------
    Vehtari, A., Gelman, A., Simpson, D., Carpenter, B. & Bürkner, P.-C. (2021). Rank-normalization, folding, and
    localization: an improved R-hat. Bayesian Analysis 16, 667-718.
    Papastamoulis, P. (2016). label.switching. J. Statistical Software 69, code snippet 1.
    """
    log_likelihood = np.asarray(log_likelihood, dtype=float)
    if log_likelihood.ndim != 2:
        raise ValueError(f"`log_likelihood` has shape {log_likelihood.shape}; it needs (chain, draw).")
    n_chains, n_draws = log_likelihood.shape
    single = n_chains == 1
    if n_draws < (8 if single else 4):
        raise ValueError(f"{n_draws} draws per chain are too few to judge; use at least 100, better 1000.")

    def chains(name, values):
        values = np.asarray(values)
        if values.shape[:2] != (n_chains, n_draws):
            raise ValueError(
                f"`{name}` has shape {values.shape}; it must begin with {n_chains} chains and {n_draws} draws, "
                "as `log_likelihood` does."
            )
        half = n_draws // 2
        return np.concatenate([values[:, :half], values[:, half : 2 * half]]) if single else values

    log_likelihood = chains("log_likelihood", log_likelihood)
    finite = np.isfinite(log_likelihood)
    if not finite.any():
        raise ValueError("`log_likelihood` has no finite entry; the model does not fit these data at all.")
    log_likelihood = np.where(finite, log_likelihood, log_likelihood[finite].min())
    permutation, margin = chains("permutation", permutation), chains("margin", margin)
    weights = chains("weights", weights)
    seen_raw = _diagnose({name: chains(name, values) for name, values in raw.items()})
    seen_relabelled = _diagnose({name: chains(name, values) for name, values in relabelled.items()})
    invariant = {name: chains(name, values) for name, values in invariant.items()}
    seen_invariant = _diagnose({"log_likelihood": log_likelihood} | invariant)

    limit = float(np.clip(1.0 + DRAWS_FOR_RHAT / log_likelihood.size, RHAT, RHAT_MOST))
    least = ESS_PER_CHAIN * n_chains

    def fine(seen):
        return not (seen.rhat > limit or seen.ess < least)  # nan (nothing varies) is fine

    k = weights.shape[2]
    lightest = np.sort(weights.mean(axis=(0, 1)))[:2].sum()
    low = margin < CLEAR_MARGIN * lightest
    low_share = float(low.mean())
    switched = _switched_share(permutation[~low])
    empty = _empty_component(weights)
    divergent_share = divergences / (n_chains * n_draws)

    def verdict(outcome, *sentences):
        notes = list(sentences)
        if low_share > LOW_MARGIN_SHARE and not outcome.startswith("not identified"):
            notes.append(
                f"In {low_share:.0%} of the draws the labels are hardly better than another choice: do not trust "
                "summaries of single components."
            )
        if divergences:
            notes.append(f"{divergences} transitions diverged: tune for longer, or use tighter priors.")
        if single:
            notes.append("There is one chain only, judged by its two halves: modes it never visited cannot be seen.")
        return Verdict(
            outcome,
            " ".join(notes),
            *(seen_raw.rhat, seen_relabelled.rhat, seen_invariant.rhat),
            *(seen_raw.ess, seen_relabelled.ess, seen_invariant.ess),
            low_share,
        )

    # 1. a chain below the others
    stuck = None if single else _stuck(log_likelihood)
    if stuck is not None:
        return verdict("a chain is stuck", stuck)

    # 2. chains in different places, or jumping between them
    if not fine(seen_invariant):
        apart = _apart(seen_invariant, max(limit, RHAT_APART)) or _levels(seen_invariant)
        if apart is not None:
            means = ", ".join(f"{value:.1f}" for value in log_likelihood.mean(axis=1))
            return verdict(
                "several modes",
                f"{apart} The {'halves of the chain' if single else 'chains'} have mean log-likelihoods {means}: the "
                "posterior has several modes that do not differ by labels alone.",
                "Report the modes one by one, weight the chains by stacking, or use a prior that rules some of them "
                "out; averages over the chains as they are mean little.",
            )

    # 3. more components than the data tell apart
    if not seen_invariant.rhat > RHAT_MOST and (low_share > LOW_MARGIN_SHARE or empty is not None):
        reasons = []
        if low_share > LOW_MARGIN_SHARE:
            reasons.append(f"in {low_share:.0%} of the draws another labelling is about as good")
        if empty is not None:
            reasons.append(
                f"component {empty} has a weight that comes near zero "
                f"(5 % quantile {np.quantile(weights[:, :, empty], EMPTY_QUANTILE):.2g})"
            )
        return verdict(
            "not identified (too many components)",
            f"The data do not tell {k} components apart: {' and '.join(reasons)}.",
            f"Use fewer components, or a prior that keeps them apart. The density as a whole is usable where its own "
            f"R-hat ({seen_invariant.rhat:.3f}, limit {limit:.3f}) says so; summaries of single components are not.",
        )

    numbers = (
        f"R-hat is at most {np.fmax(seen_relabelled.rhat, seen_invariant.rhat):.3f} (limit {limit:.3f}) and the "
        f"effective sample size at least {np.fmin(seen_relabelled.ess, seen_invariant.ess):.0f} (needed {least:.0f})"
    )
    # 4. fine once the names are settled
    if fine(seen_relabelled) and fine(seen_invariant) and divergent_share <= DIVERGENT_SHARE:
        if switched > SWITCHED_SHARE:
            return verdict(
                "labels switched only",
                f"Components changed names in {switched:.0%} of the draws (raw R-hat {seen_raw.rhat:.3f}), which "
                f"relabelling undoes: {numbers} for relabelled and label-free quantities.",
                "Use the relabelled draws as they are.",
            )
        return verdict("converged", f"{numbers}, and the labels stayed the same. Use the draws as they are.")

    # 5. the rest
    advice = []
    worst_ess = np.fmin(seen_relabelled.ess, seen_invariant.ess)
    if worst_ess < least:
        times = np.ceil(least / max(worst_ess, 1.0))
        advice.append(
            f"Run about {times:.0f} times as many draws."
            if times <= 10
            else "Run at least 10 times as many draws, with a longer warm-up, or simplify the model."
        )
    elif not (fine(seen_relabelled) and fine(seen_invariant)):
        advice.append("Run twice as many draws, and a longer warm-up.")
    else:
        advice.append("Longer chains alone will not help: see to the divergences first.")
    worst = seen_relabelled if not fine(seen_relabelled) else seen_invariant
    where = f"; the worst is `{worst.rhat_name}`" if worst.rhat > limit else ""
    return verdict("not converged: run longer", f"{numbers}{where}.", *advice)


@dataclass(frozen=True)
class _Seen:
    """R-hat and ESS of the entries of a set, and the entries themselves."""

    names: list
    columns: list  # (chain, draw) each
    rhats: list
    rhat: float  # largest
    ess: float  # smallest
    rhat_name: str


def _diagnose(quantities):
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    functions: Any = (array_stats.rhat, array_stats.ess)
    names, columns, rhats, sizes = [], [], [], []
    for name, values in quantities.items():
        for column in _varying_columns(np.asarray(values, dtype=float)):
            with np.errstate(divide="ignore", invalid="ignore"):  # chains that do not move: R-hat is inf
                rhat, ess = (float(f(column, chain_axis=0, draw_axis=1)) for f in functions)
            names.append(name)
            columns.append(column)
            rhats.append(rhat if np.isfinite(rhat) else np.inf)
            sizes.append(ess if np.isfinite(ess) else 0.0)
    if not names:
        return _Seen([], [], [], np.nan, np.nan, "")
    return _Seen(names, columns, rhats, max(rhats), min(sizes), names[int(np.argmax(rhats))])


def _varying_columns(values):
    """Entries (chain, draw) that vary; of a symmetric matrix the lower triangle."""
    shape = values.shape
    if values.ndim >= 4 and shape[-1] == shape[-2]:
        scale = np.nanmax(np.abs(values))
        if np.allclose(values, np.swapaxes(values, -1, -2), rtol=1e-8, atol=1e-12 * scale, equal_nan=True):
            values = values[..., *np.tril_indices(shape[-1])]
    columns = []
    for column in np.moveaxis(values.reshape(*shape[:2], -1), 2, 0):
        finite = np.isfinite(column)
        if not finite.any():
            columns.append(np.full(shape[:2], np.nan))  # judged as not converged
            continue
        low, high = column[finite].min(), column[finite].max()
        if finite.all() and high - low <= 1e-13 * max(abs(low), abs(high)):
            continue
        # an infinite log density is only a very low one: R-hat looks at ranks
        columns.append(np.clip(column, low - 1.0, high + 1.0))
    return columns


def _switched_share(permutation):
    """Share of draws (draw, component) whose permutation is not the commonest."""
    if len(permutation) == 0:
        return 0.0
    _, count = np.unique(permutation, axis=0, return_counts=True)
    return float(1.0 - count.max() / len(permutation))


def _empty_component(weights):
    """Index of a component whose weight comes near zero, or None."""
    k = weights.shape[2]
    low, middle = np.quantile(weights, [EMPTY_QUANTILE, 0.5], axis=(0, 1))
    empty = (low < EMPTY_RATIO * middle) & (low < EMPTY_SHARE / k) | (middle <= 0)
    return int(np.argmin(low)) if empty.any() else None


def _stuck(log_likelihood):
    """Say which minority of chains sits below the others and stays there, or None."""
    means, sds = log_likelihood.mean(axis=1), log_likelihood.std(axis=1)
    sd = np.median(sds)
    frozen = np.flatnonzero(sds <= 1e-6 * sd)
    if 0 < len(frozen) < len(sds):
        return (
            f"Chain {_listed(frozen)} does not move at all. Leave it out or run it again from another start, "
            "with a smaller step."
        )
    below = means < means.max() - max(STUCK_SD * sd, STUCK_NATS)
    if not 0 < below.sum() <= max(1, (len(means) - 1) // 2):
        return None
    reach = np.quantile(log_likelihood[~below], 0.05)
    if (log_likelihood[below] >= reach).mean(axis=1).max() >= STUCK_REACH:
        return None
    chains = np.flatnonzero(below)
    nats = means[~below].mean() - means[below].mean()
    return (
        f"The log-likelihood of chain {_listed(chains)} stays {nats:.1f} nats below the other chains' "
        f"({means[below].mean():.1f} against {means[~below].mean():.1f}). Leave it out or run it again from another "
        "start: as it is, it counts as much as a chain that found the better mode."
    )


def _apart(seen, rhat_limit):
    """Say which quantity the chains, each settled, disagree on most; or None."""
    worst, name = 0.0, None
    for label, column, rhat in zip(seen.names, seen.columns, seen.rhats, strict=True):
        if not (rhat > rhat_limit and np.isfinite(column).all()):
            continue
        spread = np.ptp(column.mean(axis=1)) / max(np.median(column.std(axis=1)), 1e-300)
        if spread > max(worst, APART_SD) and _mixes(column):
            worst, name = spread, label
    if name is None:
        return None
    return f"Chains settled in different places: their means of `{name}` differ by {worst:.1f} standard deviations."


def _mixes(column):
    """Whether a chain (chain, draw), on its own, mixes where it is."""
    from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.median([array_stats.ess(chain[None], chain_axis=0, draw_axis=1) for chain in column]) >= SETTLED_ESS


def _levels(seen):
    """Say which quantity has two levels between which the chains seldom change; or None."""
    for name, column in zip(seen.names, seen.columns, strict=True):
        if not np.isfinite(column).all():
            continue
        cut, separation = _best_cut(column.ravel())
        upper = column > cut
        share = min(upper.mean(), 1.0 - upper.mean())
        jumps = int((upper[:, 1:] != upper[:, :-1]).sum())
        clear = separation > LEVELS_SEPARATION and share >= LEVELS_SHARE and jumps < LEVELS_JUMPS * column.size
        if clear and _mixes(column - np.where(upper, column[upper].mean(), column[~upper].mean())):
            return (
                f"Chains jump between two levels of `{name}` ({column[~upper].mean():.4g} and "
                f"{column[upper].mean():.4g}), only {jumps} times in {column.size} draws."
            )
    return None


def _best_cut(values):
    """Cut numbers in two so that the variance between the parts is largest (Otsu 1979).

    Returns the cut and the distance of the two means in pooled within-part standard deviations.
    """
    ordered = np.sort(values - values.mean())
    n = len(ordered)
    below = np.arange(1, n)
    total = np.cumsum(ordered)[:-1]  # the sum of all is zero
    between = total**2 * n / (below * (n - below))
    at = int(np.argmax(between)) + 1
    low, high = ordered[:at], ordered[at:]
    within = np.sqrt((low.var() + high.var()) / 2.0)
    return (low[-1] + high[0]) / 2.0 + values.mean(), (high.mean() - low.mean()) / max(within, 1e-300)


def _listed(indices):
    return " and ".join(str(index) for index in indices)
