"""What people do with a trained model: encode, decode, sample, reconstruct, interpolate, find."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..codecs.codec import Codec
from ..data import InMemory, collate
from ..decoders.sequence import SequenceDecoder
from ..density import FILE, Kept
from ..density import load as load_density
from ..distributions import on_sphere
from ..errors import Refused
from ..generate import Form, form_of
from ..infer import settle
from ..latent import PATHS, path
from ..randomness import seeded
from ..recipe import Recipe, unknown
from ..runs import Warn, open_run
from ..shelf import copied, find, is_shipped
from ..vae import VAE, Batch
from .decoding import AT_ONCE, GREEDY, LONGEST, Decoding

SOURCES = ("prior", "density")  # of codes to sample from
FACTS = (
    "step",
    "tokens",
    "seconds",
    "device",
    "precision",
    "version",
    "torch",
    "corpus",
    "folder",
)


class Neighbour(NamedTuple):
    """An item, and the Euclidean distance of its mean code."""

    item: Any
    distance: float


class Explorer:
    """A trained model, opened: the verbs take and return the items themselves (sentences).

    Codes are posterior means unless a verb says otherwise, so that asking twice answers the same.

    >>> m = load("tatoeba")
    >>> m.reconstruct(["I am tired."])
    ['I am tired.']
    >>> len(m.interpolate("I am tired.", "Where is the station?", steps=5))
    5
    """

    def __init__(self, vae: VAE, codec: Codec, recipe: Recipe, facts: dict[str, Any]) -> None:
        self.vae = vae.eval()
        self.codec = codec
        self.recipe = recipe
        self.facts = facts

    @property
    def latent(self) -> int:
        """D, the size of a code."""
        return int(self.recipe["latent"])

    @property
    def form(self) -> Form:
        """What it writes: as many tokens as an item it was trained on may have, unless told."""
        return form_of(self.codec, int(self.recipe["data"].get("max_tokens", LONGEST)))

    @torch.no_grad()
    def encode(self, items: Sequence[Any], *, sample: bool = False, seed: int = 0) -> Tensor:
        """Items -> their codes (N, D): posterior means, or one draw from each posterior.

        Raises `Refused` for an item the codec cannot express, with the reason, and for a language
        model, whose code has no dimensions.
        """
        self._check_code()
        with seeded(seed):
            codes = [self._codes(part, sample) for part in _parts(items)]
        return torch.cat(codes) if codes else torch.zeros(0, self.latent)

    @torch.no_grad()
    def stddev(self, items: Sequence[Any]) -> Tensor:
        """Items -> the standard deviation of their posteriors (N, D)."""
        parts = [self.vae.encoder(self.batch(part)).stddev.cpu() for part in _parts(items)]
        return torch.cat(parts) if parts else torch.zeros(0, self.latent)

    def decode(self, z: Tensor, decoding: Decoding = GREEDY) -> list[Any]:
        """Codes (N, D) -> items.

        Raises `Refused` for codes of another size than the model's.
        """
        if z.dim() != 2 or z.shape[1] != self.latent:
            raise Refused(
                f"codes of shape {tuple(z.shape)}; this model takes (N, {self.latent}): "
                f"{self.latent} numbers for each item."
            )
        return list(self._written(torch.split(z, AT_ONCE), decoding))

    def write(self, z: Tensor, decoding: Decoding = GREEDY) -> list[list[int]]:
        """Codes (N, D) -> the ids the decoder writes, padded behind an end token."""
        return list(self._ids(torch.split(z, AT_ONCE), decoding))

    def settle(self, items: Sequence[Any], z: Tensor) -> Tensor:
        """Codes (N, D) moved until greedy decoding gives their items back   (`infer.settle`)."""
        allowed = self.form.allowed
        return settle(self.vae, self.batch(items), z.to(self._device), allowed=allowed).cpu()

    @torch.no_grad()
    def cost(self, items: Sequence[Any], *, samples: int = 8, seed: int = 0) -> Tensor:
        """-ELBO of each item (N,), nats, from so many samples of its posterior."""
        with seeded(seed):
            return -self.vae.log_weights(self.batch(items), samples).mean(0).cpu()

    def sample(
        self, count: int = 1, decoding: Decoding = GREEDY, *, source: str = "prior"
    ) -> list[Any]:
        """Items from codes drawn, by `decoding.seed`, from the prior or from the run's density.

        A language model has no code to differ by, so where nothing else is asked it draws tokens.
        """
        if count < 1:
            raise Refused(f"{count} samples: ask for 1 or more.")
        if source not in SOURCES:
            raise Refused(unknown(source, SOURCES, "sampling", "source"))
        if self.latent == 0 and decoding.greedy:
            decoding = replace(decoding, temperature=1.0)
        return self.decode(self._drawn(count, source, decoding.seed), decoding)

    def density(self) -> Kept:
        """The density fitted on the codes of this run, to be drawn from (`seqvae density RUN`).

        Raises `Refused` where there is none, or one that was fitted to other weights.
        """
        self._check_code()
        if "folder" not in self.facts:
            raise Refused("this model was not opened from a run's folder, where densities are.")
        folder = Path(self.facts["folder"])
        if is_shipped(folder) and not (folder / FILE).is_file():
            raise Refused(
                f"{folder.name} comes with the package, a density of its codes does not. "
                f"{copied(folder.name)}"
            )
        return load_density(folder, self.vae)

    def reconstruct(self, items: Iterable[Any], decoding: Decoding = GREEDY) -> list[Any]:
        """Items -> what the decoder makes of their codes."""
        return [again for _, again in self.reconstructions(items, decoding)]

    def reconstructions(
        self, items: Iterable[Any], decoding: Decoding = GREEDY
    ) -> Iterator[tuple[Any, Any]]:
        """(item, reconstruction) of each as it is written: items may be longer than memory."""
        given, read = tee(items)
        written = self._written(map(self.encode, _parts(read)), decoding)
        return zip(given, written, strict=True)

    def interpolate(
        self, a: Any, b: Any, *, steps: int = 7, kind: str = "lerp", decoding: Decoding = GREEDY
    ) -> list[Any]:
        """`steps` items from a to b, the first and last being their reconstructions.

        `kind` is "lerp" (a straight line) or "slerp" (a great circle, and the way between codes
        that are directions whatever is asked).

        Raises `Refused` for fewer than 2 steps, another kind, or a language model, whose code
        has no dimensions.
        """
        if steps < 2:
            raise Refused(f"steps = {steps}: a path has at least its 2 ends.")
        if kind not in PATHS:
            raise Refused(unknown(kind, PATHS, "interpolation", "kind"))
        start, end = self.encode([a, b])
        kind = "slerp" if on_sphere(self.vae.prior()) else kind
        return self.decode(path(start, end, steps, kind=kind), decoding)

    def neighbours(self, item: Any, among: Iterable[Any], count: int = 5) -> list[Neighbour]:
        """The items whose codes lie nearest to that of `item`, nearest first.

        `among` may be longer than memory: it is walked once, and only the best are kept.
        """
        if count < 1:
            raise Refused(f"{count} neighbours: ask for 1 or more.")
        home = self.encode([item])
        found: list[Neighbour] = []
        for part in _parts(among):
            distances = torch.cdist(self.encode(part), home).flatten().tolist()
            found += map(Neighbour, part, distances)
            found = sorted(found, key=lambda neighbour: neighbour.distance)[:count]
        return found

    def info(self) -> dict[str, Any]:
        """What this run is: parts, sizes, where it came from and what was measured."""
        weights = sum(parameter.numel() for parameter in self.vae.parameters())
        kinds = {s: self.recipe[s]["kind"] for s in ("encoder", "posterior", "prior", "decoder")}
        return {
            "name": self.recipe["name"],
            "about": self.recipe.get("about", ""),
            "latent": self.latent,
            **kinds,
            "weights": weights,
            "codec": self.codec.kind,
            "vocab": self.codec.vocab,
            **{name: self.facts[name] for name in FACTS if name in self.facts},
            **{f"valid_{name}": value for name, value in self.facts.get("figures", {}).items()},
        }

    @property
    def _device(self) -> torch.device:
        return next(iter(self.vae.parameters())).device

    def _check_code(self) -> None:
        if self.latent == 0:
            raise Refused(
                f"this run is a language model (latent = 0): {self.codec.noun}s have no code in "
                "it. It can be sampled and evaluated."
            )

    def _drawn(self, count: int, source: str, seed: int) -> Tensor:
        if source == "density":
            return self.density().density.sample(count, torch.Generator().manual_seed(seed))
        with seeded(seed):
            return self.vae.prior().sample((count,))

    def _decoder(self) -> SequenceDecoder:
        decoder = self.vae.decoder
        if not isinstance(decoder, SequenceDecoder):
            raise Refused(f"{type(decoder).__name__} does not write sequences token by token.")
        return decoder

    def _written(self, codes: Iterable[Tensor], decoding: Decoding) -> Iterator[Any]:
        return map(self.codec.decode, self._ids(codes, decoding))

    def _ids(self, codes: Iterable[Tensor], decoding: Decoding) -> Iterator[list[int]]:
        parts = (part.to(self._device) for part in codes)
        return chain.from_iterable(decoding.write(self._decoder(), parts, self.form))

    def batch(self, items: Sequence[Any]) -> Batch:
        """Items as the networks read them."""
        encoded = InMemory([self.codec.encode(item).ids for item in items])
        return collate(encoded, range(len(items))).to(self._device)

    def _codes(self, items: Sequence[Any], sample: bool) -> Tensor:
        q = self.vae.encoder(self.batch(items))
        return (q.rsample() if sample else q.mode).cpu()  # the mean, but of directions


def load(run: str | Path, *, device: str = "cpu", warn: Warn | None = None) -> Explorer:
    """Open a run's folder, or a run that ships with the package by its name.

    `warn` is told of damaged checkpoints that were passed over (None: a warning of Python's).

    Raises `Refused` for what is neither, and for damaged files, naming them.
    """
    opened = open_run(find(run), device=device, warn=warn)
    facts = {**opened.trainer, "folder": str(opened.folder)}
    return Explorer(opened.built.vae, opened.codec, opened.recipe, facts)


def show(explorer: Explorer, given: Sequence[Any]) -> str:
    """Items with their reconstructions, then as many samples: a page of text.

    Nothing is written much longer than the items, for an untrained model finds no end. A language
    model has no code to reconstruct from, and draws instead.
    """
    shown = explorer.codec.show
    length = 2 * max(len(explorer.codec.encode(item).ids) for item in given)
    greedy = Decoding(length=length)
    samples = "".join(f"{shown(item)}\n" for item in explorer.sample(len(given), greedy))
    if explorer.latent == 0:
        return samples
    pairs = zip(given, explorer.reconstruct(given, greedy), strict=True)
    reconstructed = "".join(f"{shown(item)}\n  -> {shown(again)}\n" for item, again in pairs)
    return f"{reconstructed}\n{samples}"


def _parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    """The items in lists of at most `AT_ONCE`, however many there are."""
    rest = iter(items)
    while part := list(islice(rest, AT_ONCE)):
        yield part
