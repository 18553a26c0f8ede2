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
from ..decoders.picture import PictureDecoder
from ..decoders.sequence import SequenceDecoder
from ..density import FILE, Kept
from ..density import load as load_density
from ..distributions import on_sphere
from ..errors import Refused
from ..generate import Form, Lean, form_of
from ..infer import settle
from ..latent import PATHS, grid, path
from ..measures.pictures import expected, seen
from ..randomness import seeded
from ..recipe import Recipe, label_names, unknown
from ..runs import Warn, open_run
from ..sheets import Sheet, sheet
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


class Label(NamedTuple):
    """The label an item has as the head has it, how sure it is of it, and of every other."""

    name: str
    probability: float
    probabilities: dict[str, float]

    def row(self) -> dict[str, Any]:
        """As plain data."""
        return {"label": self.name, **{key: getattr(self, key) for key in self._fields[1:]}}


class Explorer:
    """A trained model, opened: the verbs take and return the items themselves (sentences).

    Codes are posterior means unless a verb says otherwise, so that asking twice answers the same.
    Those of a model with a label head have the label's K probabilities behind their D numbers,
    (N, D + K): all that the decoder reads.

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
    def labels(self) -> tuple[str, ...]:
        """The names of the K labels that the model tells and takes; none without a label head."""
        return label_names(self.recipe)

    @property
    def width(self) -> int:
        """D + K, the numbers that the decoder reads of an item."""
        return self.latent + len(self.labels)

    @property
    def form(self) -> Form:
        """What it writes: as many tokens as an item it was trained on may have, unless told."""
        return form_of(self.codec, int(self.recipe["data"].get("max_tokens", LONGEST)))

    @torch.no_grad()
    def encode(self, items: Sequence[Any], *, sample: bool = False, seed: int = 0) -> Tensor:
        """Items -> their codes (N, D): posterior means, or one draw from each posterior.

        With a label head (N, D + K): behind each the probabilities of its labels.

        Raises `Refused` for an item the codec cannot express, with the reason, and for a language
        model, whose code has no dimensions.
        """
        self._check_code()
        with seeded(seed):
            codes = [self._codes(part, sample) for part in _parts(items)]
        return torch.cat(codes) if codes else torch.zeros(0, self.width)

    @torch.no_grad()
    def label(self, items: Sequence[Any]) -> list[Label]:
        """Items -> the label of each, as the model's label head tells it.

        Raises `Refused` for a model without one.
        """
        self._check_label()
        return [found for part in _parts(items) for found in self._told(part)]

    def labelled(self, z: Tensor, label: str | None = None, *, seed: int = 0) -> Tensor:
        """Codes (N, D), or (N, D + K) whose labels go, with a label that is certain: (N, D + K).

        The same for all, or where none is named every label as often as any other, in an order
        drawn by the seed.

        Raises `Refused` for a model without a label head, and for a label it does not know.
        """
        self._check_label(label)
        count = len(self.labels)
        with seeded(seed):
            turns = [torch.randperm(count) for _ in range(-(-len(z) // count))]
        places = torch.cat([*turns, torch.zeros(0, dtype=torch.long)])[: len(z)]
        if label is not None:
            places = torch.full_like(places, self.labels.index(label))
        y = torch.nn.functional.one_hot(places, count).to(z)
        return torch.cat([z[:, : self.latent], y], dim=1)

    def relabel(self, items: Sequence[Any], label: str, decoding: Decoding = GREEDY) -> list[Any]:
        """Items written again, each from its own z, with this label in the place of its own.

        Raises `Refused` as `labelled` and `encode` do.
        """
        self._check_label(label)
        return self.decode(self.labelled(self.encode(items), label), decoding)

    @torch.no_grad()
    def stddev(self, items: Sequence[Any]) -> Tensor:
        """Items -> the standard deviation of their posteriors (N, D)."""
        parts = [self.vae.encoder(self.batch(part)).stddev.cpu() for part in _parts(items)]
        return torch.cat(parts) if parts else torch.zeros(0, self.latent)

    def decode(self, z: Tensor, decoding: Decoding = GREEDY) -> list[Any]:
        """Codes (N, D) -> items; with a label head (N, D + K), as `encode` or `labelled` has them.

        Raises `Refused` for codes of another size than the model's.
        """
        self._check_codes(z)
        return list(self._written(torch.split(z, AT_ONCE), decoding))

    def means(self, z: Tensor, decoding: Decoding = GREEDY) -> Tensor:
        """Codes (N, D) -> pictures as people look at them: brightness in [0, 1], (N, H, W, C).

        The brightness expected of each pixel, E[x|z], where the decoder writes all of them at
        once; of others the picture that is written.

        Raises `Refused` for items that are no pictures, or codes of another size than the model's.
        """
        self._check_codes(z)
        decoder = self._decoder()
        if isinstance(decoder, PictureDecoder):
            return expected(decoder, z.to(self._device), self.codec)
        return seen(self.write(z, decoding) if self.codec.shape else [], self.codec)

    def _check_codes(self, z: Tensor) -> None:
        if z.dim() != 2 or z.shape[1] != self.width:
            labels = f", {len(self.labels)} of them its label's" * bool(self.labels)
            raise Refused(
                f"codes of shape {tuple(z.shape)}; this model takes (N, {self.width}): "
                f"{self.width} numbers for each item{labels}."
            )

    def write(
        self,
        z: Tensor,
        decoding: Decoding = GREEDY,
        form: Form | None = None,
        lean: Lean | None = None,
    ) -> list[list[int]]:
        """Codes (N, D) -> the ids the decoder writes, padded behind an end token.

        `form` is another than the model's own, as one that fixes some of what is written, of all
        codes or, a row a code, of each; `lean` holds what is leant towards, a row a code.

        Raises `Refused` for a lean of a beam, of pixels that are written all at once, and for a
        lean or a form of another number of codes.
        """
        if lean is not None and len(lean.ids) != len(z):
            raise Refused(f"a lean of {len(lean.ids)} rows for {len(z)} codes: give each its own.")
        if form is not None and form.rows not in (None, len(z)):
            raise Refused(f"a form of {form.rows} rows for {len(z)} codes: give each its own.")
        return list(self._ids(torch.split(z, AT_ONCE), decoding, form, lean))

    def settle(self, items: Sequence[Any], z: Tensor) -> Tensor:
        """Codes (N, D) moved until greedy decoding gives their items back   (`infer.settle`).

        Raises `Refused` for pixels that are written all at once, which no token follows.
        """
        if isinstance(self.vae.decoder, PictureDecoder):
            raise Refused(
                f"{type(self.vae.decoder).__name__} writes all pixels at once: there is no next "
                "token to be made the likeliest. Start from `encode`, which is as near as it gets."
            )
        allowed = self.form.allowed
        return settle(self.vae, self.batch(items), z.to(self._device), allowed=allowed).cpu()

    @torch.no_grad()
    def cost(self, items: Sequence[Any], *, samples: int = 8, seed: int = 0) -> Tensor:
        """-ELBO of each item (N,), nats, from so many samples of its posterior."""
        with seeded(seed):
            return -self.vae.log_weights(self.batch(items), samples).mean(0).cpu()

    def sample(
        self,
        count: int = 1,
        decoding: Decoding = GREEDY,
        *,
        source: str = "prior",
        label: str | None = None,
    ) -> list[Any]:
        """Items from codes drawn, by `decoding.seed`, from the prior or from the run's density.

        Of a model with a label head all have the `label`, or every label as many as any other.

        A language model has no code to differ by, so where nothing else is asked it draws tokens.
        """
        if count < 1:
            raise Refused(f"{count} samples: ask for 1 or more.")
        if source not in SOURCES:
            raise Refused(unknown(source, SOURCES, "sampling", "source"))
        if self.latent == 0 and decoding.greedy:
            decoding = replace(decoding, temperature=1.0)
        z = self.draw(count, source=source, label=label, seed=decoding.seed)
        return self.decode(z, decoding)

    def draw(
        self, count: int, *, source: str = "prior", label: str | None = None, seed: int = 0
    ) -> Tensor:
        """Codes to decode, as `sample` draws them: (N, D), with a label head (N, D + K)."""
        z = self._drawn(count, source, seed)
        if self.labels or label is not None:
            z = self.labelled(z, label, seed=seed)
        return z

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
        self, items: Iterable[Any], decoding: Decoding = GREEDY, *, label: str | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """(item, reconstruction) of each as it is written: items may be longer than memory.

        With a `label`, each is written with it in the place of its own.
        """
        given, read = tee(items)
        codes: Iterable[Tensor] = map(self.encode, _parts(read))
        if label is not None:
            self._check_label(label)
            codes = (self.labelled(z, label) for z in codes)
        written = self._written(codes, decoding)
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
        return self.decode(self.way(a, b, steps=steps, kind=kind), decoding)

    def way(self, a: Any, b: Any, *, steps: int = 7, kind: str = "lerp") -> Tensor:
        """The codes of that interpolation: (steps, D), with a label head (steps, D + K).

        Raises `Refused` as `interpolate` does.
        """
        kind = self._kind(steps, kind)
        start, end = self.encode([a, b])
        return self.path(start, end, steps, kind=kind)

    def _kind(self, steps: int, kind: str) -> str:
        """The kind of a path of so many steps, which between directions is a circle."""
        if steps < 2:
            raise Refused(f"steps = {steps}: a path has at least its 2 ends.")
        if kind not in PATHS:
            raise Refused(unknown(kind, PATHS, "interpolation", "kind"))
        return "slerp" if on_sphere(self.vae.prior()) else kind

    def path(self, a: Tensor, b: Tensor, steps: int, *, kind: str = "lerp") -> Tensor:
        """Codes a and b (*, D + K) -> (steps, *, D + K): z as asked, a label's part straight."""
        size = self.latent
        z = path(a[..., :size], b[..., :size], steps, kind=kind)
        return torch.cat([z, path(a[..., size:], b[..., size:], steps)], dim=-1)

    def grid(self, corners: Tensor, steps: int, *, kind: str = "lerp") -> Tensor:
        """Codes of four corners (4, *, D + K) -> (steps, steps, *, D + K): see `latent.grid`."""
        size = self.latent
        z = grid(corners[..., :size], steps, kind=kind)
        return torch.cat([z, grid(corners[..., size:], steps)], dim=-1)

    def square(self, items: Sequence[Any], *, steps: int = 5, kind: str = "lerp") -> Tensor:
        """The codes between four items (steps, steps, D + K), whose corners are theirs.

        The first two stand at the ends of the first row, the others at those of the last.

        Raises `Refused` for other than four items, and as `interpolate` does.
        """
        if len(items) != 4:
            raise Refused(f"{len(items)} items: a grid has one at each of its 4 corners.")
        return self.grid(self.encode(items), steps, kind=self._kind(steps, kind))

    def neighbours(self, item: Any, among: Iterable[Any], count: int = 5) -> list[Neighbour]:
        """The items whose codes lie nearest to that of `item`, nearest first.

        `among` may be longer than memory: it is walked once, and only the best are kept.
        """
        if count < 1:
            raise Refused(f"{count} neighbours: ask for 1 or more.")
        home = self.encode([item])[:, : self.latent]
        found: list[Neighbour] = []
        for part in _parts(among):
            codes = self.encode(part)[:, : self.latent]
            distances = torch.cdist(codes, home).flatten().tolist()
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
            **self._head(),
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

    def _head(self) -> dict[str, Any]:
        """Of the label head, if there is one."""
        if not self.labels:
            return {}
        return {"label": self.recipe["label"]["kind"], "labels": ", ".join(self.labels)}

    def _check_label(self, label: str | None = None) -> None:
        if not self.labels:
            raise Refused(
                "this run has no label head, so it tells and takes no labels. Train one that has, "
                "on a corpus with labels: --set label={}"
            )
        if label is not None and label not in self.labels:
            raise Refused(unknown(label, self.labels, f"the run {self.recipe['name']!r}", "label"))

    def _told(self, items: Sequence[Any]) -> list[Label]:
        y = self.vae.label(self.batch(items))
        assert y is not None, "its recipe has a label head, and so has the model"
        each = [dict(zip(self.labels, row, strict=True)) for row in y.mean.tolist()]
        best = [max(found, key=found.__getitem__) for found in each]
        return [Label(name, found[name], found) for name, found in zip(best, each, strict=True)]

    def _drawn(self, count: int, source: str, seed: int) -> Tensor:
        if source == "density":
            return self.density().density.sample(count, torch.Generator().manual_seed(seed))
        with seeded(seed):
            return self.vae.prior().sample((count,))

    def _decoder(self) -> SequenceDecoder | PictureDecoder:
        decoder = self.vae.decoder
        if not isinstance(decoder, SequenceDecoder | PictureDecoder):
            raise Refused(
                f"{type(decoder).__name__} writes neither token by token nor all pixels at once."
            )
        return decoder

    def _written(self, codes: Iterable[Tensor], decoding: Decoding) -> Iterator[Any]:
        return map(self.codec.decode, self._ids(codes, decoding))

    def _ids(
        self,
        codes: Iterable[Tensor],
        decoding: Decoding,
        form: Form | None = None,
        lean: Lean | None = None,
    ) -> Iterator[list[int]]:
        parts = (part.to(self._device) for part in codes)
        own = None if lean is None else Lean(*(each.to(self._device) for each in lean))
        return chain.from_iterable(decoding.write(self._decoder(), parts, form or self.form, own))

    def batch(self, items: Sequence[Any]) -> Batch:
        """Items as the networks read them."""
        encoded = InMemory([self.codec.encode(item).ids for item in items])
        return collate(encoded, range(len(items))).to(self._device)

    def _codes(self, items: Sequence[Any], sample: bool) -> Tensor:
        batch = self.batch(items)
        q = self.vae.encoder(batch)
        z = q.rsample() if sample else q.mode  # the mean, but of directions
        return self.vae.condition(z, batch).cpu()


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


def show_pictures(explorer: Explorer, given: Sequence[Any]) -> Sheet:
    """The same of pictures: items, under them their reconstructions, under these the samples."""
    samples = explorer.means(explorer.draw(len(given)), Decoding(temperature=1.0))
    if explorer.latent == 0:
        return sheet([samples])
    originals = seen([explorer.codec.encode(item).ids for item in given], explorer.codec)
    return sheet([originals, explorer.means(explorer.encode(given)), samples])


def _parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    """The items in lists of at most `AT_ONCE`, however many there are."""
    rest = iter(items)
    while part := list(islice(rest, AT_ONCE)):
        yield part
