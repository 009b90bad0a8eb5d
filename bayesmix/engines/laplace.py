"""The posterior by importance sampling from Laplace approximations at its modes, and the evidence with it."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from ..chunks import refuse_streamed
from ..fit import Fit
from ..mixture import Mixture, check_mixture
from ..posterior import posterior_of
from ..posterior.batch import log_densities
from ..posterior.proposal import Proposal
from ..posterior.symmetry import Symmetry
from ..randomness import generator
from ..relabelling import relabel
from ..whole_numbers import is_whole
from .advi import GOOD_KHAT, NEARLY_EXACT, pareto_khat
from .interrupts import finishing
from .nuts import modes_of, starting_points
from .progress import display

DOF = {"student": 7.0, "normal": 0.0}  # at least
WORTH_LEARNING = 2  # times the proposals there are, and LEAST_PROPOSALS: where more are needed, better ones are learnt
KNOWN = 15.0  # times n^2: worth of draws from which a covariance matrix of n coordinates is known to 0.02 nats
DEFENCE = 0.3  # share of the adapted proposal that stays with the Laplace approximations
LEAST_PROPOSALS = 4000  # k-hat of so many is itself uncertain by about 0.1
MOST_PER_DRAW = 64  # proposals for each draw that is kept
MARGIN = 1.02  # more proposals than are thought to be enough
ENOUGH = 0.9  # of the draws kept, worth of independent ones: then no more proposals are made
LEAST_SHARE = 0.1  # of the proposals to any of J modes, times 1 / J: their evidence is only known roughly yet
LOW_MARGIN_SHARE = 0.05  # of draws whose labels are a coin toss: from here the message says so
PIECE = 1000  # proposals between two looks at the clock, and at Ctrl-C


def laplace(
    mixture: Mixture,
    data,
    *,
    weights=None,
    labels=None,
    group=None,
    draws: int = 1000,
    proposal: str = "student",
    init="em",
    random_seed=None,
    progressbar: bool = True,
) -> Fit:
    r"""Draw from the posterior of a mixture by importance resampling from Laplace approximations at its modes.

    In the free coordinates of the parameters the posterior of a well-determined mixture is nearly normal around each of
    its modes. Proposals come from a Student-t (or normal) distribution with the curvature at the mode near EM's optimum,
    or from a mixture of these over all modes whose evidence is within 10 nats. The proposal density q is made symmetric
    in the labels of the components. Where many proposals would be needed, the mean and covariance matrix around each mode
    are learnt from the first thousands: these then take the place of mode and curvature for 70 % of the proposals, and the
    first ones do not count (adaptive importance sampling: Cappe et al. 2008). The weights

    .. math:: w = \frac{p(x, \theta)}{q(\theta)}, \qquad q(\theta) = \frac{1}{K!} \sum_\sigma q_0(\sigma\theta),

    count all K! labellings of every mode. The mean weight is the evidence p(x), and draws are resampled with
    probabilities proportional to Pareto-smoothed weights (Vehtari et al. 2024). Quick and without Markov chains; use
    `bayesmix.nuts` where k-hat says that the approximation is too far from the posterior.

    Parameters
    ----------
    mixture : Mixture
        The specification with its priors; ``mixture.priors(data)`` shows them. They must treat all components alike.
    data : array_like, data frame or xarray object
        Rows of observations, as for `bayesmix.em`.
    weights : array_like, shape (obs,), optional
        Weight of each row: its log-likelihood counts that often.
    labels : array_like, shape (obs,), or str, optional
        Known components, as for `bayesmix.em`.
    group : array_like, shape (obs,), or str, optional
        Rows that share a component, as for `bayesmix.em`.
    draws : int
        Draws that are kept; at least 100.
    proposal : {"student", "normal"}
        Student-t with 7 degrees of freedom, or as many as there are coordinates, whose tails cover
        more; or normal, the Laplace approximation itself.
    init : {"em"} or Fit
        Where to look for modes: near EM's optima, or near the estimates of a fit.
    random_seed : int, numpy.random.Generator or None
        The same seed gives the same draws.
    progressbar : bool
        Show progress.

    Returns
    -------
    Fit
        Groups ``posterior`` (one chain, relabelled), ``sample_stats`` with ``log_p`` (log posterior up to the evidence),
        ``log_q`` (symmetrised proposal) and ``log_weight`` (smoothed, 0 for the mean weight) of every draw, ``labels``,
        ``log_likelihood``, ``posterior_predictive``. Attributes ``khat``; ``log_evidence`` in nats, of all labellings, with
        its Monte Carlo standard error ``log_evidence_error``; ``ess``, how many independent draws those kept are worth;
        ``n_proposals`` and ``ess_proposals``, the same of all proposals that count; ``adapted``, how many modes had their
        mean and covariance matrix learnt, 0 if none; ``seconds``.

        Draws are resampled systematically: each proposal is taken ``draws`` times its normalised weight times, rounded
        up or down (Kitagawa 1996). Proposals are made until those kept are worth 90 % of as many independent draws,
        at most 64 for each draw. A k-hat of 0.7 or more means that no weights can correct the proposal: ``converged``
        is then False, ``verdict`` and ``message`` say so, and draws and evidence are not to be used.

    Raises
    ------
    TypeError, ValueError
        If the data do not suit the mixture, an argument is out of range, or the prior does not treat all components
        alike.

    References
    ----------
    Cappe, O., Douc, R., Guillin, A., Marin, J.-M. and Robert, C. P. (2008). Adaptive importance sampling in general mixture
    classes. Statistics and Computing 18, 447-459.

    Kitagawa, G. (1996). Monte Carlo filter and smoother for non-Gaussian nonlinear state space models. J. Computational
    and Graphical Statistics 5, 1-25.
    """
    check_mixture(mixture, data)
    refuse_streamed(data, "bm.laplace")
    checked = mixture.check(data, weights, labels, group)
    mixture = mixture.resolved(checked)
    if not isinstance(proposal, str) or proposal not in DOF:
        raise ValueError(f'proposal={proposal!r} is not known; use "student" or "normal".')
    if not is_whole(draws, 100):
        raise ValueError(f"draws={draws!r} but at least 100 draws are needed to judge the approximation.")
    rng = generator(random_seed)
    started = time.perf_counter()
    optima = starting_points(mixture, checked, init, rng, progressbar)
    posterior = posterior_of(mixture, checked)
    modes = modes_of(posterior, optima)
    around = proposal_around(posterior, modes, DOF[proposal])
    with display(progressbar) as progress:
        sample = sample_by_importance(posterior, around, int(draws), rng, progress)
    usable = bool(np.isfinite(sample.khat) and sample.khat < GOOD_KHAT)
    kept = sample.kept
    coords = {"chain": [0], "draw": np.arange(len(kept))}
    stats = {"log_p": sample.log_p, "log_q": sample.log_q, "log_weight": sample.log_weights}
    groups = {
        "sample_stats": xr.Dataset(
            {name: (("chain", "draw"), value[kept][None]) for name, value in stats.items()}, coords=coords
        )
    }
    attrs = {
        "engine": "laplace",
        "method": f"{proposal} proposal",
        "converged": int(usable),
        "verdict": "converged" if usable else "not converged: k-hat is too large",
        "message": "",
        "khat": sample.khat,
        "log_evidence": sample.log_evidence,
        "log_evidence_error": sample.log_evidence_error,
        "ess": sample.ess,
        "n_proposals": len(sample.log_p),
        "ess_proposals": sample.ess_proposals,
        "adapted": sample.adapted,
        "starting_modes": len(modes),
        "interrupted": int(sample.interrupted),
        "seconds": time.perf_counter() - started,
    }
    sampled = {name: value[None] for name, value in posterior.from_vector(sample.vectors[kept]).items()}
    with finishing("the draws are relabelled"):
        fit = relabel(Fit.assemble(mixture, checked, draws=sampled, groups=groups, attrs=attrs, rng=rng))
        doubtful = float(fit.tree.attrs["low_margin_share"])
        fit.tree.attrs = fit.tree.attrs | {"message": _describe(sample, proposal, modes, usable, doubtful)}
        return fit


def proposal_around(posterior, modes, dof: float) -> Proposal:
    """Make the proposal of distributions at the modes, in proportion to their evidence by Laplace's approximation.

    Degrees of freedom, if there are any, are no fewer than coordinates n: the logarithm of the distance from the mode then
    varies by no more than sqrt(2) times what it does in a normal distribution. With 7 of them most proposals of many
    coordinates would be too far out or too far in.
    """
    dof = max(dof, float(posterior.n_dim)) if dof > 0 else dof
    evidence = np.array([mode.log_evidence for mode in modes])
    share = np.exp(evidence - evidence.max())
    share = np.maximum(share / share.sum(), LEAST_SHARE / len(modes))
    return Proposal(
        Symmetry.of(posterior, modes[0].vector),
        np.array([mode.vector for mode in modes]),
        np.array([mode.basis for mode in modes]),
        np.log(share),
        dof,
    )


# -- importance sampling -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sample:
    """Proposals with their weights, and which of them were kept.

    Attributes
    ----------
    vectors : ndarray (proposal, n)
    log_p, log_q : ndarray (proposal,)
        Log posterior up to the evidence, and log density of the symmetrised proposal, in nats.
    log_weights : ndarray (proposal,)
        Smoothed, relative to the mean weight.
    kept : ndarray of int (draw,)
        Which proposals are the draws.
    khat, log_evidence, log_evidence_error, ess, ess_proposals : float
    interrupted : bool
        Were fewer proposals made than are needed?
    adapted : int
        Modes around which the proposal was learnt from earlier ones.
    """

    vectors: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    log_weights: np.ndarray
    kept: np.ndarray
    khat: float
    log_evidence: float
    log_evidence_error: float
    ess: float
    ess_proposals: float
    interrupted: bool
    adapted: int = 0


@dataclass
class _Proposals:
    """Proposals, made piece by piece, with their log densities and the centre that each came from."""

    posterior: Any
    proposal: Proposal
    rng: np.random.Generator
    parts: list = field(default_factory=list)

    def __len__(self) -> int:
        return PIECE * len(self.parts)

    def more(self, progress=None, task=None) -> None:
        """Make another piece."""
        vectors, centres = self.proposal.draw(PIECE, self.rng)
        self.parts.append(
            (vectors, log_densities(self.posterior, vectors), self.proposal.log_density(vectors), centres)
        )
        if progress is not None:
            progress.update(task, advance=PIECE, description=f"{len(self)} proposals")

    @property
    def hopeless(self) -> bool:
        """Is the density of a proposal not known?"""
        return bool(self.parts) and bool(np.isnan(self.parts[-1][2]).any())

    @property
    def columns(self) -> list[np.ndarray]:
        """All vectors, log p, log q and centres."""
        return [np.concatenate(column) for column in zip(*self.parts, strict=True)]


def sample_by_importance(posterior, proposal: Proposal, draws: int, rng, progress=None) -> Sample:
    """Make proposals until the draws resampled from them are nearly independent, or until k-hat says it is no use.

    Where the first of them show that many are needed, and can teach better ones (`adapted`), these take over and the first
    do not count: a proposal that has seen its draws would bias their weights.
    """
    first = made = _Proposals(posterior, proposal, rng)
    n_adapted, interrupted = 0, False
    wanted, most = LEAST_PROPOSALS, max(LEAST_PROPOSALS, MOST_PER_DRAW * draws)
    task = None if progress is None else progress.add_task("Importance sampling", total=None)
    while True:
        try:
            while len(made) < wanted and not made.hopeless:
                made.more(progress, task)
                if made is first and len(made) <= LEAST_PROPOSALS:
                    better, n_adapted = adapted(made, draws)
                    made = _Proposals(posterior, better, rng) if n_adapted else first
        except KeyboardInterrupt:
            if not len(first):
                raise
            made, n_adapted, interrupted = (made, n_adapted, True) if len(made) else (first, 0, True)
        vectors, log_p, log_q, _ = made.columns
        sample = replace(_weigh(vectors, log_p, log_q, draws, rng, interrupted), adapted=n_adapted)
        hopeless = not sample.khat < GOOD_KHAT
        if interrupted or hopeless or sample.ess >= ENOUGH * draws or wanted == most:
            return sample
        wanted = min(most, max(enough_proposals(sample.log_weights, draws), len(vectors) + PIECE))


def adapted(made: _Proposals, draws: int) -> tuple[Proposal, int]:
    """A proposal that has learnt from others, and how many modes it knows better; the old one where that is not worth it.

    Around each of the old centres whose own proposals are worth ``KNOWN`` times n^2 independent draws, a distribution is
    added whose mean and covariance matrix are theirs, by importance weights (Cappe et al. 2008, section 4). The old ones
    keep the share ``DEFENCE``, which bounds the weights.
    """
    from scipy.special import logsumexp

    old = made.proposal
    vectors, log_p, log_q, centre_of = made.columns
    ratios, n = log_p - log_q, vectors.shape[1]
    if not np.isfinite(ratios.max()):
        return old, 0
    log_weights = ratios - logsumexp(ratios) + np.log(len(ratios))
    weights = np.exp(log_weights)
    if enough_proposals(log_weights, draws) <= LEAST_PROPOSALS + WORTH_LEARNING * len(made):
        return old, 0
    centres, scales, shares = [], [], []
    for g in range(len(old.centres)):
        own = weights * (centre_of == g)
        total = own.sum()
        if total**2 <= KNOWN * n**2 * np.sum(own**2):
            continue
        mean = own @ vectors / total
        covariance = np.cov(vectors, rowvar=False, aweights=own, ddof=0)
        centres.append(mean)
        scales.append(np.linalg.cholesky(covariance * (1.0 - 2.0 / old.dof if old.dof > 0 else 1.0)))
        shares.append(total)
    if not centres:
        return old, 0
    better = Proposal(
        old.symmetry,
        np.concatenate([old.centres, centres]),
        np.concatenate([old.scales, scales]),
        np.concatenate(
            [np.log(DEFENCE) + old.log_weights, np.log1p(-DEFENCE) + np.log(np.array(shares) / sum(shares))]
        ),
        old.dof,
    )
    return better, len(centres)


def enough_proposals(log_weights: np.ndarray, draws: int) -> int:
    """How many proposals with such weights give draws that are worth 90 % of as many independent ones.

    Of M proposals one with weight w, relative to the mean, is taken w draws / M times, rounded up or down.
    """
    weights, n = np.exp(log_weights), draws
    while n < MOST_PER_DRAW * draws:
        expected = weights * draws / n
        whole = np.floor(expected)
        squares = whole**2 + (expected - whole) * (2.0 * whole + 1.0)
        if draws**2 >= ENOUGH * draws * n * np.mean(squares):
            break
        n = int(1.05 * n) + 1
    return int(MARGIN * n)


def _weigh(vectors, log_p, log_q, draws, rng, interrupted) -> Sample:
    ratios = log_p - log_q
    log_weights, khat, log_total = smoothed_weights(ratios)
    normalised = np.exp(log_weights - np.log(len(ratios)))
    counts = systematic(normalised, draws, rng)
    square = float(np.sum(normalised**2))
    error = np.sqrt(max(0.0, square - 1.0 / len(ratios)))
    return Sample(
        vectors, log_p, log_q, log_weights, rng.permutation(np.repeat(np.arange(len(ratios)), counts)), khat,
        log_total, float(error), float(draws**2 / np.sum(counts.astype(float) ** 2)), 1.0 / square, interrupted,
    )  # fmt: skip


def smoothed_weights(log_ratios: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Pareto-smoothed importance weights of log ratios (proposals,), by ArviZ (Vehtari et al. 2024).

    Returns
    -------
    log_weights : ndarray (proposals,)
        Their mean weight is 1.
    khat : float
        Infinite if no ratio is finite, or one is not a number.
    log_mean : float
        Log of the mean of the smoothed ratios: the log evidence, in nats.
    """
    possible = np.isfinite(log_ratios)
    if not possible.any() or np.any(np.isnan(log_ratios) | (log_ratios == np.inf)):
        return np.zeros(len(log_ratios)), float("inf"), float("nan")
    n, smooth = len(log_ratios), log_ratios.copy()
    khat = pareto_khat(log_ratios[possible])
    if np.std(log_ratios[possible]) >= NEARLY_EXACT:
        from arviz_stats.base import array_stats  # pyright: ignore[reportPrivateImportUsage]

        normalised = np.asarray(array_stats.psislw(-log_ratios[possible])[0])
        least = int(np.argmin(log_ratios[possible]))  # the tail is smoothed, the least ratio stays: it shows the scale
        smooth[possible] = normalised + (log_ratios[possible][least] - normalised[least])
    log_mean = float(np.logaddexp.reduce(smooth) - np.log(n))
    return smooth - log_mean, khat, log_mean


def systematic(probabilities: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each proposal is taken, (proposals,): `draws` times its probability, rounded up or down.

    One uniform number u; draw i falls on the proposal in whose interval of the cumulative probabilities (i + u) / draws
    lies (Kitagawa 1996). Where no probability exceeds 1 / draws nothing is taken twice.
    """
    edges = np.cumsum(probabilities)
    places = (np.arange(draws) + rng.random()) / draws * edges[-1]
    return np.bincount(np.searchsorted(edges, places, side="right"), minlength=len(probabilities))


# -- words -------------------------------------------------------------------------------------------------------------------
def _describe(sample: Sample, proposal: str, modes, usable: bool, doubtful: float) -> str:
    name = {"student": "Student-t", "normal": "normal"}[proposal]
    where = "the mode" if len(modes) == 1 else f"{len(modes)} modes whose evidence is within 10 nats"
    judged = f"k-hat of the {name} approximation at {where} is {sample.khat:.2f} (limit {GOOD_KHAT})"
    if usable:
        sentences = [
            f"Converged: {judged}. The {len(sample.kept)} draws, resampled from {len(sample.log_p)} proposals, are worth "
            f"{sample.ess:.0f} independent ones.",
            f"The log evidence is {sample.log_evidence:.{decimals(sample.log_evidence_error)}f} nats "
            f"(Monte Carlo error {sample.log_evidence_error:.1g}).",
        ]
        if doubtful > LOW_MARGIN_SHARE:
            sentences.append(
                f"In {doubtful:.0%} of the draws the labels are hardly better than another choice: do not trust "
                "summaries of single components."
            )
    else:
        sentences = ["Not converged."]
        if np.isnan(sample.log_q).any():
            sentences.append(
                "So many labellings of the components overlap that their densities cannot be added up; with up to seven "
                "components they always can."
            )
        else:
            sentences.append(f"The {judged}: the posterior is too far from it for importance weights to correct.")
        if not all(mode.regular for mode in modes):
            sentences.append("At a mode there are directions without curvature: there may be too many components.")
        sentences.append("Use neither these draws nor this evidence, but bm.nuts, and bm.log_evidence of its draws.")
    if sample.interrupted:
        sentences.append(f"Interrupted after {len(sample.log_p)} proposals.")
    return " ".join(sentences)


def decimals(error: float) -> int:
    """Decimals up to the first digit of an error."""
    return int(np.clip(-np.floor(np.log10(max(error, 1e-6))), 1, 6)) if np.isfinite(error) else 1
