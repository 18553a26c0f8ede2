"""Two toys that can be worked out by hand: a sum of Gaussians, and a code for one bit."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..errors import Refused
from ..plots import BLUE, GREY, INK, RED
from .drawing import Array, Drawn, charts, drawn, name

BIT = math.log(2)  # nats
END = 30.0
Z = np.linspace(-END, END, 60_001)  # where densities are added up
NARROW = 0.002  # a width of two steps: sums of smooth densities are exact from there
AWAY = 6.0  # widths from its mean, beyond which a Gaussian has nothing left
SHAPES: Mapping[str, tuple[list[float], list[float]]] = {
    "every posterior is the prior": ([0, 0], [1, 1]),
    "a little apart": ([-0.6, 0.6], [0.8, 0.8]),
    "far apart": ([-0.95, 0.95], [0.31225, 0.31225]),  # mean 0 and variance 1, as the prior
}


def log_normal(z: Array, mu: ArrayLike, sigma: ArrayLike) -> Array:
    """log N(z; mu_k, sigma_k²) of points (S,) and K Gaussians: (K, S)."""
    mean, width = (np.asarray(each, dtype=np.float64)[..., None] for each in (mu, sigma))
    return -0.5 * ((z - mean) / width) ** 2 - np.log(width) - 0.5 * math.log(2 * math.pi)


def aggregate(mu: Sequence[float], sigma: Sequence[float]) -> dict[str, float]:
    """How a mean KL over items is made up, for N(mu_k, sigma_k²) and prior N(0, 1), in nats.

        1/K sum_k KL(q_k || p)  =  KL(q || p)  +  I(k; z),     q = 1/K sum_k q_k

    (Hoffman and Johnson, 2016): `rate` is the left side, in closed form; `marginal` the first
    term of the right, by the trapezoidal rule over [-30, 30]; `information` the rest.

    >>> round(aggregate([-9.0, 9.0], [1.0, 1.0])["information"], 6)  # which of the two: ln 2
    0.693147
    """
    if len(mu) != len(sigma) or not mu or not min(sigma) > 0:
        raise Refused(f"mu = {mu}, sigma = {sigma}: one mean and one width above 0 each.")
    if min(sigma) < NARROW or max(abs(m) + AWAY * s for m, s in zip(mu, sigma, strict=True)) > END:
        raise Refused(
            f"mu = {mu}, sigma = {sigma}: densities are added up over ±{END:g} in steps of "
            f"{Z[1] - Z[0]:.3f}. Give widths of {NARROW:g} or more, and means {AWAY:g} of them "
            "inside."
        )
    m, s = np.asarray(mu), np.asarray(sigma)
    rate = float((0.5 * (m**2 + s**2 - 1) - np.log(s)).mean())
    log_q = np.logaddexp.reduce(log_normal(Z, mu, sigma), 0) - math.log(len(mu))
    density = np.exp(log_q) * (log_q - log_normal(Z, 0.0, 1.0))
    marginal = max(float(np.trapezoid(density, Z)), 0.0)  # but for rounding it is
    return {"rate": rate, "marginal": marginal, "information": rate - marginal}


def sum_of_gaussians(
    shapes: Mapping[str, tuple[Sequence[float], Sequence[float]]] = SHAPES,
) -> Drawn:
    """Posteriors, their mean, and the prior: only posteriors that all are the prior add up to it.

    A sum of Gaussians that differ is no Gaussian. So where the prior is one and the encoder's
    posteriors are, q(z) = p(z) to the letter only where the code says nothing of x; with codes in
    use some of the KL is paid for no information. What it costs is `marginal`, see `aggregate`.

    Arguments:
        shapes: means and widths of the posteriors, by the title of the panel.
    """
    figure, axes = charts(1, len(shapes), (0.6 + 3.5 * len(shapes), 3.5))
    shown = np.abs(Z) < 3.5
    z = Z[shown]
    found = {}
    for axis, (title, (mu, sigma)) in zip(axes, shapes.items(), strict=True):
        each = np.exp(log_normal(z, mu, sigma))
        axis.plot(z, each.mean(0), color=RED, linewidth=2.6, alpha=0.6)
        axis.plot(z, np.exp(log_normal(z, 0.0, 1.0)), color=INK, linestyle="--", linewidth=1.1)
        axis.plot(z, each.T / len(mu), color=BLUE, linewidth=0.9)
        found[title] = {"mu": mu, "sigma": sigma, **(parts := aggregate(mu, sigma))}
        said = f"KL(q‖p) {parts['marginal']:.3f}, I {parts['information']:.3f} nats"
        name(axis, f"{title}\n{said}", "code z", "")
    axes[0].set_ylabel("density")
    labels = ["sum of posteriors, q(z)", "prior, p(z)", "posteriors, each its share"]
    lines = axes[-1].lines[:3]
    figure.legend(lines, labels, loc="outside lower center", ncols=3, frameon=False)
    return drawn(figure, shapes=found)


def one_bit(error: float, copies: int = 2) -> dict[str, float]:
    """A fair bit b sent `copies` times, x = (b, …, b), through a code of one bit: exact nats.

    The code is b, turned over with probability e, and its prior a fair coin. With h the entropy
    of a coin, the information of the code and its rate are both R = ln 2 - h(e), and of decoders

        that see z alone     D = T h(e)    -ELBO = ln 2 + (T - 1) h(e)
        that see the past    D =   h(e)    -ELBO = ln 2

    for who sees x_1 needs no code to write x_2. The first kind must use the code: e = 0 is best,
    and e = ½, the collapse, costs T - 1 bits more. To the second kind *every* e is as good, and
    any cost that a code brings tips it into collapse: the information preference of the
    variational lossy autoencoder (Chen et al., 2017, section 2; InfoVAE, Zhao et al., 2019).

    Arguments:
        error: e, between 0 (a perfect code) and ½ (none).
        copies: T.

    >>> {name: round(nats / BIT, 6) for name, nats in one_bit(0.5).items()}  # bits: collapse
    {'rate': 0.0, 'alone': 2.0, 'past': 1.0}
    """
    if not 0 <= error <= 0.5:
        raise Refused(f"error = {error}: a bit is turned over with a probability of 0 to 0.5.")
    left = BIT - coin(error)
    return _bounds(left, left, copies)


def one_bit_gaussian(separation: float, copies: int = 2) -> dict[str, float]:
    """The same bit through a Gaussian code: q(z|b) = N(±m, 1 - m²), prior N(0, 1), 0 <= m < 1.

    The mixture has the prior's mean and variance but not its shape, so that the rate
    R = -½ ln(1 - m²) is above the information I by KL(q(z) || p): see `aggregate`. With it

        -ELBO = R + T (ln 2 - I)  alone,     R + ln 2 - I = ln 2 + KL(q(z) || p)  with the past

    and the decoder that sees the past loses by every use of the code: collapse, m = 0, is its one
    and only optimum.
    """
    if not 0 <= separation < 1:
        raise Refused(f"separation = {separation}: m is at least 0 and below 1.")
    width = math.sqrt(1 - separation**2)
    parts = aggregate([-separation, separation], [width, width])
    return _bounds(parts["rate"], parts["information"], copies)


def _bounds(rate: float, information: float, copies: int) -> dict[str, float]:
    """R, and -ELBO of the best decoder that sees z alone, and of one that sees the past too."""
    unknown = BIT - information  # H(b | z), nats
    return {"rate": rate, "alone": rate + copies * unknown, "past": rate + unknown}


def coin(p: float) -> float:
    """The entropy of a coin that falls on one side with probability p, nats.

    >>> round(coin(0.5) / BIT, 9)
    1.0
    """
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def one_bit_toy(copies: int = 2, points: int = 41) -> Drawn:
    """-ELBO over the rate of the code, for decoders that see z alone and that see the past.

    Full lines: a code of one bit, exact. Dashed: a Gaussian code. A line that falls to the right
    wants the code, one that is level does not care, one that rises collapses.
    """
    bit = _columns([one_bit(float(e), copies) for e in np.linspace(0.5, 0, points)])
    # Up to where the Gaussian code tells the bit almost surely.
    separations = np.sqrt(1 - np.exp(-2 * np.linspace(0, 1.6 * BIT, points)))
    gaussian = _columns([one_bit_gaussian(float(m), copies) for m in separations])
    figure, axes = charts(1, 2, (9, 3.7))
    titles = {"alone": "The decoder sees z alone", "past": "The decoder sees the past too"}
    for axis, (sees, title) in zip(axes, titles.items(), strict=True):
        axis.plot(bit["rate"], bit[sees], color=BLUE, label="code of one bit")
        axis.plot(gaussian["rate"], gaussian[sees], "--", color=RED, label="Gaussian code")
        axis.axhline(BIT, color=GREY, linewidth=0.9, label="entropy of x, ln 2")
        axis.set_ylim(0.9 * BIT, 1.04 * copies * BIT)
        name(axis, title, "rate of the code, nats", "-ELBO, nats")
        axis.legend(frameon=False, fontsize="small")
    best = {
        f"{kind}_{sees}": float(found["rate"][int(np.argmin(found[sees]))])
        for kind, found in (("bit", bit), ("gaussian", gaussian))
        for sees in titles
    }
    return drawn(figure, copies=copies, bit=bit, gaussian=gaussian, best_rate=best)


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Array]:
    return {column: np.array([row[column] for row in rows]) for column in rows[0]}
