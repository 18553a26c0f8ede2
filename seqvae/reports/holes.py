"""Holes of the prior: a density fitted on a run's codes, and how near each draws to new codes."""

import math
import shlex
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from ..codecs import Codec
from ..corpus import Corpus, find_corpus, open_corpus
from ..data import Items, in_order, spread
from ..densities import Density, Mixture, kinds
from ..density import FILE, Kept, save
from ..errors import Refused, check_sizes
from ..measures.codes import Tell, device_of
from ..measures.pictures import seen, sharpness
from ..measures.writing import samples
from ..randomness import seeded
from ..recipe import unknown
from ..runs import Opened, Warn, find_device, open_run
from ..shelf import copied, is_shipped
from ..vae import VAE, Prior
from .report import check_codec

HELD_OUT = 2000  # codes that neither the density nor, mostly, the prior has met
FEWEST = 50  # of them, under which a classifier learns nothing
SURE = 3.0  # standard errors
SPLITS = {"train": "valid", "valid": "train"}  # fitted on: looked at with


class Filled(NamedTuple):
    """A density in its run's folder, and figures of it beside the prior's."""

    kept: Kept
    folder: Path
    figures: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def rows(self) -> list[tuple[str, str, str]]:
        """A table for people: name, figure, remark."""
        return [*self._codes(), *self._written()]

    def _codes(self) -> list[tuple[str, str, str]]:
        figures, header = self.figures, self.kept.header
        about = f"{figures['held_out']:,} codes of {SPLITS[header['split']]}, drawn from q(z|x)"
        told = {
            f"codes of {header['split']} itself": "codes",
            "codes of the prior": "prior",
            "codes of the density": "density",
        }
        remarks = {"codes": "chance is 50 %: nothing to tell", "density": self.kept.density.about}
        return [
            ("told from held-out codes", "", about),
            *((f"  {name}", self._told(who), remarks.get(who, "")) for name, who in told.items()),
        ]

    def _told(self, who: str) -> str:
        share, error = self.figures[f"told_{who}"], self.figures["told_error"]
        return "n/a" if share is None else f"{share:.1%} ± {error:.1%}"

    def _written(self) -> list[tuple[str, str, str]]:
        figures = self.figures
        if "written" not in figures:
            return []
        noun, count = figures["noun"], figures["written"]
        told = {f"held-out {noun}s": "real", "from the prior": "prior"}
        told["from the density"] = "density"
        if "sharpness_real" in figures:
            what = f"mean squared step between neighbours; {count:,} each"
            rows = [
                (f"  {name}", f"{figures[f'sharpness_{who}']:.4f}", "")
                for name, who in told.items()
            ]
            return [("how sharp what is written is", "", what), *rows]
        return [
            (
                "what is written, under 3-grams",
                "",
                f"nats a token; {count:,} each, drawn at temperature 1",
            ),
            *(
                (
                    f"  {name}",
                    f"{figures[f'nll_{who}']:.2f}",
                    f"3-grams of them, on held-out {noun}s: {figures[f'reverse_nll_{who}']:.2f}",
                )
                for name, who in told.items()
            ),
        ]

    def reading(self) -> str:
        """What to do with it."""
        null, prior, density = (self.figures[f"told_{w}"] for w in ("codes", "prior", "density"))
        if null is None:
            return f"Fewer than {FEWEST} codes were held out: whether it helps is not known."
        noise = SURE * math.sqrt(2) * self.figures["told_error"]
        if prior - null < noise:
            return "Codes of the prior pass for codes of items: no holes were found. Draw from it."
        if density > prior - noise:
            return (
                "Codes of the prior are told from those of items, and codes of this density no "
                "less: try another --kind, or more --items."
            )
        return (
            "Codes of the prior are told from those of items, codes of the density less. Draw "
            f"from it: seqvae sample {shlex.quote(str(self.folder))} --from density. Likelihoods "
            "stay the prior's."
        )


def fit_density(
    folder: Path,
    corpus: Path | None = None,
    *,
    kind: str = "mixture",
    components: int | None = None,
    split: str = "train",
    items: int = 10_000,
    written: int = 500,
    seed: int = 0,
    device: str = "auto",
    progress: Tell | None = None,
    warn: Warn | None = None,
) -> Filled:
    """Fit a density on the codes of a run's items, keep it in its folder, and look how near it is.

    Arguments:
        kind: "mixture" or "flow".
        components: of a mixture; None: as many as held-out codes favour.
        split: whose items; the other one of train and valid judges.
        items: how many, at most, evenly spread; one code is drawn from the posterior of each.
        written: samples to write and score; 0: none.

    Raises `Refused` for a run that comes with the package, which is never written to, for a
    language model, which has no codes, and for what `evaluate_run` refuses.
    """
    check_sizes(items=items)
    fit = _fitting(kind, components)
    if split not in SPLITS:
        raise Refused(
            f"split {split!r}: fit on train, or on valid; nothing is chosen by the test split."
        )
    _check_own(folder)
    where = find_device(device)
    opened = open_run(folder, device=where, warn=warn)
    data = find_corpus(folder) if corpus is None else open_corpus(corpus)
    _check(opened, data)
    vae = opened.built.vae
    known, new = data.split(split), data.split(SPLITS[split])
    codes = draw_codes(vae, known, items, seed=seed, progress=progress)
    density = fit(codes, seed=seed, tell=progress)
    kept = save(folder, density, vae, codes=len(codes), split=split, seed=seed)
    held_out = draw_codes(vae, new, HELD_OUT, seed=seed, progress=progress)
    figures = distances(vae, density, codes, held_out, seed=seed)
    if written:
        figures |= writings(vae, density, opened.codec, new, known, count=written, seed=seed)
    return Filled(kept, folder, figures)


def _fitting(kind: str, components: int | None) -> Callable[..., Density]:
    if kind not in kinds():
        raise Refused(unknown(kind, kinds(), "a density", "kind"))
    if components is None:
        return kinds()[kind].fit
    if kind != Mixture.kind:
        raise Refused(f"components = {components}: only a mixture has any. Leave it out.")
    return partial(Mixture.fit, components=components)


def _check_own(folder: Path) -> None:
    if is_shipped(folder):
        raise Refused(
            f"{folder.name} comes with the package and is never written to. {copied(folder.name)}"
        )


def _check(opened: Opened, data: Corpus) -> None:
    if opened.recipe["latent"] == 0:
        raise Refused(
            f"{opened.folder} is a language model (latent = 0): it has no codes to fit a density "
            "on. Draw from it as it is: seqvae sample"
        )
    check_codec(opened.codec, data.codec, data.folder)


@torch.no_grad()
def draw_codes(
    vae: VAE,
    items: Items,
    limit: int,
    *,
    seed: int = 0,
    size: int = 64,
    progress: Tell | None = None,
) -> Tensor:
    """One z ~ q(z|x) of each of at most `limit` items, evenly spread, in random order: (N, D)."""
    vae.eval()
    parts: list[Tensor] = []
    done, total = 0, min(limit, len(items))
    with seeded(seed):
        for batch in in_order(items, size, limit):
            parts.append(vae.encoder(batch.to(device_of(vae))).rsample().cpu())
            done += len(batch.x)
            if progress is not None:
                progress("encoded", done, total)
        codes = torch.cat(parts)
        return codes[torch.randperm(len(codes))]


def distances(
    vae: VAE, density: Density, codes: Tensor, held_out: Tensor, *, seed: int = 0
) -> dict[str, Any]:
    """How well a classifier tells held-out codes from others: of items, prior and density.

    `told_codes` is the accuracy on codes of items that the density was fitted on, which are drawn
    as the held-out ones are: what the other two are to be held against.
    """
    count = min(len(codes), len(held_out))
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        others = {
            "codes": codes[:count],
            "prior": vae.prior().sample((count,)).cpu(),
            "density": density.sample(count, generator),
        }
    return {
        "held_out": count,
        "told_error": 1 / math.sqrt(8 * count),  # of a share of a half, of 2 N codes
        **{
            f"told_{name}": told_apart(held_out[:count], other, seed=seed)
            if count >= FEWEST
            else None
            for name, other in others.items()
        },
    }


def told_apart(z: Tensor, y: Tensor, *, seed: int = 0) -> float:
    """The share of codes z and y, both (N, D), that a classifier sorts rightly.

    A small perceptron learns from a half of them and is asked of the other, then the other way
    about: 1/2 where z and y are drawn alike, 1 where their places have nothing in common (the
    classifier two-sample test of Lopez-Paz and Oquab, 2017). What it misses is not told.

    >>> z, y = torch.randn(200, 2), torch.randn(200, 2) + 9
    >>> told_apart(z, y) > 0.9
    True
    """
    # What only this command needs must not slow down every import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    first, second = np.random.SeedSequence(seed).generate_state(2).tolist()
    perceptron = MLPClassifier((64, 64), early_stopping=True, max_iter=100, random_state=first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after 100 epochs it knows enough
        shares = cross_val_score(
            make_pipeline(StandardScaler(), perceptron),
            torch.cat([z, y]).double().numpy(),
            np.repeat([0, 1], [len(z), len(y)]),
            cv=StratifiedKFold(2, shuffle=True, random_state=second),
        )
    return float(shares.mean())


def writings(
    vae: VAE,
    density: Density,
    codec: Codec,
    held_out: Items,
    train: Items,
    *,
    count: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Nats a token, by n-grams, of what is written from the prior and from the density.

    The figures are those of `measures.writing.samples`, in nats a token. In reverse, an n-gram
    model of what is written reads held-out items. Of pictures it is how sharp they are.
    """
    drawn = VAE(vae.encoder, _Drawn(density), vae.decoder, vae.labeller)
    prior = samples(vae, codec, held_out, train, count=count, seed=seed).figures
    other = samples(drawn, codec, held_out, train, count=count, seed=seed).figures
    both = {"noun": codec.noun, "written": prior["samples"]}
    if codec.shape is not None:
        real = seen([held_out[row].tolist() for row in spread(len(held_out), count)], codec)
        return {
            **both,
            "sharpness_real": sharpness(real),
            "sharpness_prior": prior["sharpness_samples"],
            "sharpness_density": other["sharpness_samples"],
        }
    return {
        **both,
        "nll_real": prior["samples_nll_held_out"],
        "nll_prior": prior["samples_nll"],
        "nll_density": other["samples_nll"],
        "reverse_nll_real": prior["samples_reverse_nll_real"],
        "reverse_nll_prior": prior["samples_reverse_nll"],
        "reverse_nll_density": other["samples_reverse_nll"],
    }


class _Drawn(Prior):
    """A density in the place of a prior, for what only draws from one."""

    def __init__(self, density: Density) -> None:
        super().__init__()
        self.density = density

    def forward(self) -> Distribution:
        return _Samples(self.density)


class _Samples(Distribution):
    """A distribution without `log_prob`, so that no likelihood is measured under it."""

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012 (as torch declares it)

    def __init__(self, density: Density) -> None:
        self.density = density
        super().__init__(event_shape=Size([density.latent]), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = Size(sample_shape)
        return self.density.sample(shape.numel()).view(*shape, self.density.latent)
