"""Everything that pictures can show of variational autoencoders, each as a figure and numbers.

    python scripts/image_figures.py figures
    python scripts/image_figures.py figures --pictures FOLDER --steps 4500 --only styles_by_digits

trains what the figures need, on the embedded digits of 8 by 8 pixels or on pictures with labels
(a folder as `seqvae prepare images` takes it), and draws OUT/NAME.png beside OUT/NAME.json. What
is trained lies in OUT/runs, and is not trained again: another FOLDER takes another OUT.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import softplus

from data_prep.images import prepare_images
from seqvae import Refused, __version__, images, load, runs
from seqvae.build import build, build_stepper
from seqvae.corpus import Corpus, open_corpus, write_json
from seqvae.data import InMemory, Order, batches, in_order, spread
from seqvae.decoders import PixelCNNDecoder
from seqvae.evaluate import encode_all
from seqvae.explore import Explorer
from seqvae.fit import fit
from seqvae.images import Drawn
from seqvae.recipe import override, read, unknown
from seqvae.regularizers import Adversarial
from seqvae.training import train as train_steps
from seqvae.vae import VAE

SHOWN = 1500  # items in a scatter
DRAWS = 10_000  # of the prior, behind codes
GAPS = 200  # in which a judge looks
PAIRS = 1000  # of items, halfway between which a judge looks
SAVES = 10  # looks at a run that is told epoch by epoch
FREE = ("objective.terms={}", "training.select=last")  # of any KL
PLAIN = ("posterior.kind=DeltaPosterior", *FREE)
# By name: the recipe, its settings, and by how much longer it is trained than the others.
MODELS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "plane": ("image-plane", (), 1),
    "plane, autoencoder": ("image-plane", PLAIN, 1),
    "plane, no KL": ("image-plane", FREE, 1),
    "plane, KL alone": ("image-plane", ("objective.terms.kl.weight=1000.0",), 0.3),
    "number": ("image-number", (), 1),
    "number, noise of 1": ("image-number", ("posterior.sigma=1.0", *FREE), 1),
    "number, autoencoder": ("image-number", PLAIN, 1),
    "vae": ("image-vae", (), 1),
    "axis": ("image-axis", (), 1),
    "adversarial": ("image-wizard-stable", (), 2),
    "ring": ("image-wizard-ring", (), 4),
    "labels": ("image-labels", (), 2),
}
# What 1,259 pictures of 64 pixels need in place of MNIST's 57,000 of 784: widths that leave the
# reconstruction its say beside the other terms, and a game of smaller networks that goes faster.
SMALL_GAME = (
    "encoder.hidden=[256,256]",
    "encoder.init=torch",
    "decoder.hidden=[256,256]",
    "decoder.init=torch",
    "objective.terms.critic.hidden=256",
    "optimizer.rate=0.001",
)
SMALL: dict[str, tuple[str, ...]] = {
    "adversarial": (*SMALL_GAME, "decoder.likelihood.sigma=0.5"),
    "ring": (*SMALL_GAME, "decoder.likelihood.sigma=1.0", "optimizer.final=0.1"),
    "labels": ("decoder.likelihood.sigma=0.15",),
}
GREY = ("adversarial", "ring", "labels")  # which read shades, all others black and white

Array = NDArray[Any]


class Gallery:
    """Corpora, and models that are trained when the first figure asks for them."""

    def __init__(self, out: Path, source: str, steps: int) -> None:
        self.out, self.source, self.steps = out, source, steps

    @cache  # noqa: B019  # there is one gallery
    def corpus(self, binarize: Literal["none", "dynamic"] = "dynamic") -> Corpus:
        folder = self.out / "corpora" / binarize
        if not (folder / "manifest.json").is_file():
            print(prepare_images([self.source], folder, binarize=binarize))
        return open_corpus(folder)

    def corpus_of(self, name: str) -> Corpus:
        return self.corpus("none" if name in GREY else "dynamic")

    @cache  # noqa: B019
    def model(self, name: str) -> Explorer:
        recipe, settings, longer = MODELS[name]
        steps = max(round(longer * self.steps), SAVES)
        every = (f"training.save_every={-(-steps // SAVES)}", f"training.keep={SAVES + 1}")
        small = SMALL.get(name, ()) if self.source == "digits" else ()
        own = (*settings, *small, *every)
        return self.trained(name, recipe, own, steps, self.corpus_of(name))

    def trained(
        self, name: str, recipe: str, settings: tuple[str, ...], steps: int, corpus: Corpus
    ) -> Explorer:
        """A run of so many steps, begun, gone on with, or found finished."""
        own = (*settings, f"training.steps={steps}", f"training.validate_every={steps}")
        folder = self.folder(name)
        made = override(read(recipe), (*own, "optimizer.patience=none"))
        fit(made, corpus, folder, resume=runs.is_run(folder), say=lambda line: None)
        print(f"trained: {name}, {steps} steps")
        return load(folder)

    def folder(self, name: str) -> Path:
        return self.out / "runs" / name.replace(", ", "-").replace(" ", "-")

    def saves(self, name: str) -> Iterator[tuple[int, Explorer]]:
        """A run as it was at every save: (step, model)."""
        self.model(name)
        folder = self.folder(name)
        for place in runs.checkpoints(folder / "checkpoints"):
            opened = runs.open_checkpoint(folder, place)
            model = Explorer(opened.built.vae, opened.codec, opened.recipe, opened.trainer)
            yield opened.trainer["step"], model

    def items(
        self, name: str, count: int = SHOWN, split: str = "test"
    ) -> tuple[list[Array], Array]:
        """Pictures of a split as the model reads them, at most `count`, and their labels."""
        corpus = self.corpus_of(name)
        items = corpus.split(split)
        rows = spread(len(items), count).tolist()
        names = np.array(corpus.labels or [""])
        labels = names[[items.label(row) or 0 for row in rows]]
        return [corpus.codec.decode(items[row].tolist()) for row in rows], labels

    def codes(self, name: str, count: int = SHOWN, split: str = "test") -> tuple[Tensor, Array]:
        """Mean codes of a split's items, and their labels."""
        items, labels = self.items(name, count, split)
        return self.model(name).encode(items), labels

    def draws(self, name: str) -> Tensor:
        """Codes that the prior of a model draws."""
        torch.manual_seed(0)
        return self.model(name).vae.prior().sample((DRAWS,))

    @cache  # noqa: B019
    def judge(self) -> images.Judge:
        """An independent reader of digits, trained on shades."""
        items, labels = self.items("labels", 60_000, "train")
        return images.fit_judge(np.stack(items), labels)


def two(labels: Array, a: int, b: int) -> tuple[int, int]:
    """Places of the first items of two classes, by their numbers."""
    names = np.unique(labels)
    first, second = (int(np.flatnonzero(labels == names[n % len(names)])[0]) for n in (a, b))
    return first, second


# --- figures: each takes the gallery, and trains what it needs -----------------------------------


def codes_in_the_plane(g: Gallery) -> Drawn:
    return images.latent_scatter(*g.codes("plane"))


def three_losses(g: Gallery) -> Drawn:
    """With reconstruction alone, the KL alone, and both."""
    named = {
        "reconstruction alone": "plane, autoencoder",
        "KL alone": "plane, KL alone",
        "both": "plane",
    }
    labels = g.codes("plane")[1]
    return images.three_panels({says: g.codes(name)[0] for says, name in named.items()}, labels)


def gaps(g: Gallery) -> Drawn:
    """What lies between the codes that were trained on, and at (0, 0)."""
    named = {"autoencoder": "plane, autoencoder", "VAE": "plane"}
    found = {says: g.codes(name, split="train") for says, name in named.items()}
    models = {says: (g.model(named[says]).means, codes) for says, (codes, _) in found.items()}
    made = images.gaps(models, found["VAE"][1])
    clear = {
        says: images.judged(g.judge().probabilities(decode(images.gap_codes(codes, GAPS))))
        for says, (decode, codes) in models.items()
    }
    return made._replace(numbers={**made.numbers, "clear": clear})


def without_a_kl(g: Gallery) -> Drawn:
    """How wide posteriors are that may choose, at every tenth of the training."""
    items, _ = g.items("plane", split="train")
    steps: list[float] = []
    sigma: dict[str, list[float]] = {}
    reach: dict[str, list[float]] = {}
    for says, name in {"no KL": "plane, no KL", "VAE": "plane"}.items():
        saved = list(g.saves(name))
        steps = [step for step, _ in saved]
        sigma[says] = [float(model.stddev(items).median()) for _, model in saved]
        reach[says] = [float(model.encode(items).abs().max()) for _, model in saved]
    return images.widths(steps, sigma, reach, counted="step")


def smudges(g: Gallery) -> Drawn:
    items, labels = g.items("plane", 400)
    model = g.model("plane")
    return images.smudges(model.encode(items), model.stddev(items), labels)


def codes_and_prior(g: Gallery) -> Drawn:
    """The three dimensions that are used most, and the one that is used least."""
    codes, _ = g.codes("vae")
    *most, least = images.by_use(codes)
    density, shown = Normal(0.0, 1.0), (*most[:3], least)
    return images.code_histogram(codes, g.draws("vae"), density=density, dimensions=shown)


def grid_of_the_plane(g: Gallery) -> Drawn:
    return images.latent_grid(g.model("plane").means, images.by_quantile(12))


def grid_of_the_adversarial(g: Gallery) -> Drawn:
    values = images.box(12, -10.0, 10.0)  # two sigma of N(0, 5^2)
    return images.latent_grid(g.model("adversarial").means, values)


def adversarial_epochs(g: Gallery) -> Drawn:
    items, _ = g.items("adversarial", 5000, "train")
    found = {step: model.encode(items) for step, model in g.saves("adversarial")}
    return images.histograms_by_epoch(found, g.draws("adversarial"), counted="step")


def adversarial_codes(g: Gallery) -> Drawn:
    found, draws = g.codes("adversarial", split="train"), g.draws("adversarial")
    return images.latent_scatter(*found, draws=draws, title="Codes under a critic")


def samples_of_the_adversarial(g: Gallery) -> Drawn:
    """Draws of N(0, 5^2), decoded."""
    made = g.model("adversarial").draw(40, source="prior", seed=0)
    return images.contact_sheet(g.model("adversarial").means(made).numpy(), title="Draws, decoded")


def ring_codes(g: Gallery) -> Drawn:
    found, draws = g.codes("ring", split="train"), g.draws("ring")
    return images.latent_scatter(*found, draws=draws, title="Codes on a ring of ten Gaussians")


def adversarial_game(g: Gallery) -> Drawn:
    """The losses of both sides, and whether codes are where the prior is."""
    items, _ = g.items("adversarial", 5000, "train")
    sides, apart, steps, draws = [], [], [], g.draws("adversarial")
    for step, model in g.saves("adversarial"):
        codes = model.encode(items)
        steps.append(step)
        apart.append(images.total_variation(codes, draws))
        sides.append(game(g, step, codes, draws))
    critic, encoder = zip(*sides, strict=True)
    floor = images.chance_variation(draws, len(items))
    return images.adversarial_losses(steps, critic, encoder, apart, floor=floor, counted="step")


def game(g: Gallery, step: int, codes: Tensor, draws: Tensor) -> tuple[float, float]:
    """-log D(y) - log(1 - D(z)) of the critic and -log D(z) of the encoder, nats a code."""
    folder = g.folder("adversarial")
    place = folder / "checkpoints" / runs.checkpoint_name(step)
    [critic] = [
        part
        for part in runs.open_checkpoint(folder, place).built.objective.modules()
        if isinstance(part, Adversarial)
    ]
    with torch.no_grad():
        code, draw = critic.log_odds(codes), critic.log_odds(draws)
        told = softplus(-code).mean() + softplus(draw).mean()
        return float(told), float(softplus(code).mean())


def digits_asked_for(g: Gallery) -> Drawn:
    """Each digit asked of one code, after every tenth of the training, read by a judge."""
    torch.manual_seed(0)
    pixels, read, steps = [], [], []
    for step, model in g.saves("labels"):
        z = torch.randn(model.latent).expand(len(model.labels), -1)
        made = model.means(torch.cat([z, torch.eye(len(model.labels))], 1)).numpy()
        pixels.append(made)
        read.append(g.judge().read(made).astype(int))
        steps.append(step)
    return images.digits_by_epoch(np.stack(pixels), steps, read=np.stack(read), counted="step")


def two_losses(g: Gallery) -> Drawn:
    """-ELBO and the label's cross-entropy of the training pictures, at every tenth."""
    train = g.corpus_of("labels").split("train")
    whole, label, steps = [], [], []
    for step, model in g.saves("labels"):
        found = encode_all(model.vae, in_order(train, 100))
        assert found.rate is not None and found.label_nll is not None  # the recipe has both
        whole.append(float((found.reconstruction + found.rate).double().mean()))
        label.append(float(found.label_nll.double().mean()))
        steps.append(step)
    named = {"-ELBO": whole, "Cross-entropy of the label": label}
    return images.losses(steps, named, counted="step")


def styles_by_digits(g: Gallery) -> Drawn:
    model = g.model("labels")
    torch.manual_seed(1)
    z = torch.randn(8, 1, model.latent).expand(-1, len(model.labels), -1)
    asked = torch.eye(len(model.labels)).expand(8, -1, -1)
    codes = torch.cat([z, asked], -1).flatten(0, 1)
    pixels = model.means(codes).numpy()
    read = g.judge().read(pixels).astype(int).reshape(8, -1)
    return images.style_by_digit(pixels.reshape(8, -1, *pixels.shape[1:]), read=read)


def between_two(g: Gallery) -> Drawn:
    """A pair for the eye; of many pairs, what lies halfway, counted."""
    codes, labels = g.codes("vae", 2 * PAIRS)
    a, b = two(labels, 0, 4)
    made = images.interpolation(g.model("vae").means, codes[a], codes[b])
    torch.manual_seed(0)
    first, second = codes[torch.randperm(len(codes))[: len(codes) // 2 * 2]].chunk(2)
    halfway = {
        way: {
            "grey": float(images.greyness(pixels).mean()),
            "clear": images.judged(g.judge().probabilities(pixels))["confident"],
        }
        for way, pixels in images.halfway(g.model("vae").means, first, second).items()
    }
    return made._replace(numbers={**made.numbers, "pairs": len(first), "halfway": halfway})


def morph(g: Gallery) -> Drawn:
    codes, labels = g.codes("vae")
    a, b = two(labels, 3, 6)
    way = g.model("vae").path(codes[a], codes[b], 24)
    images.write_gif(g.model("vae").means(way).numpy(), g.out / "morph.gif")
    return images.morph_strip(g.model("vae").means, way)


def one_picture_several_codes(g: Gallery) -> Drawn:
    items, _ = g.items("vae", 20)
    model, some = g.model("vae"), items[7:8]
    draws = torch.cat([model.encode(some, sample=True, seed=seed) for seed in range(8)])
    mu, sigma = model.encode(some)[0], model.stddev(some)[0]
    return images.stochastic_codes(some[0], mu, sigma, draws, model.means)


def slanted(g: Gallery) -> Drawn:
    """The vector from upright to slanted digits, added to others."""
    items, _ = g.items("vae")
    codes, leans = g.model("vae").encode(items), images.slant(np.stack(items))
    vector = images.mean_vector(codes, leans > np.quantile(leans, 0.8))
    others = codes[leans < np.quantile(leans, 0.5)][:40]
    measures = {"slant": images.slant, "ink": images.stroke_mass}
    return images.attribute_vector(g.model("vae").means, others, vector, measures)


def slanted_by_a_pair(g: Gallery) -> Drawn:
    """The vector between two pictures of one digit, the most and the least slanted, on others."""
    items, labels = g.items("vae")
    codes, leans = g.model("vae").encode(items), images.slant(np.stack(items))
    own = np.flatnonzero(labels == np.unique(labels)[1])
    most, least = own[leans[own].argmax()], own[leans[own].argmin()]
    others = codes[(labels != labels[most]) & (leans < np.quantile(leans, 0.5))][:40]
    return images.attribute_vector(
        g.model("vae").means,
        others,
        images.pair_vector(codes[most], codes[least]),
        {"slant": images.slant, "ink": images.stroke_mass},
        strengths=(-1, -0.5, 0, 0.5, 1),
        title="One slanted digit less an upright one, added to others",
    )


def axis_of_ink(g: Gallery) -> Drawn:
    codes, _ = g.codes("axis", 60)
    measures = {"ink": images.stroke_mass, "slant": images.slant}
    turned = [-2.0, -1.0, 0.0, 1.0, 2.0]
    return images.attribute_axis(g.model("axis").means, codes, 0, turned, measures)


def holes_of_one_number(g: Gallery) -> Drawn:
    """The noise ladder: without noise, with some, with what the KL asks for."""
    names = {
        "autoencoder, no noise": "number, autoencoder",
        "sigma 1, no KL": "number, noise of 1",
        "VAE": "number",
    }
    return images.sweep({says: (g.model(n).means, g.codes(n)[0]) for says, n in names.items()})


def folded(g: Gallery) -> Drawn:
    items, labels = g.items("vae", 800)
    spaces = {"pixels": np.stack(items), "codes": g.model("vae").encode(items).numpy()}
    return images.tsne(spaces, labels, style=images.slant(np.stack(items)), style_name="slant")


def as_data_grows(g: Gallery) -> Drawn:
    """What an autoencoder and a VAE cost on known and on new pictures."""
    sizes = [100, 300, 1000]
    train: dict[str, list[float]] = {"autoencoder": [], "VAE": []}
    test: dict[str, list[float]] = {"autoencoder": [], "VAE": []}
    for size in sizes:
        some = InMemory([g.corpus().split("train")[row].tolist() for row in range(size)])
        for name, settings in (("autoencoder", PLAIN), ("VAE", ())):
            vae = overtrained(g, settings, some)
            train[name].append(cost(vae, some))
            test[name].append(cost(vae, g.corpus().split("test")))
    return images.generalisation_gap(sizes, train, test)


def overtrained(g: Gallery, settings: tuple[str, ...], items: InMemory) -> VAE:
    """The 16-number model of those items alone, which it sees again and again."""
    recipe = override(read("image-vae"), settings)
    built = build(recipe, steps=g.steps, **g.corpus().codec.extent._asdict())
    stepper = build_stepper(recipe, built, steps=g.steps)
    stream = islice(batches(items, Order(items.lengths, 50)), g.steps)
    for _ in train_steps(built.vae, built.objective, stepper, stream):
        pass
    return built.vae


def cost(vae: VAE, items: Any) -> float:
    """-log p(x|z) at one code of each item's posterior, nats an image."""
    return float(encode_all(vae, in_order(items, 100, 1000)).reconstruction.mean())


def masks(g: Gallery) -> Drawn:
    place = np.arange(25).reshape(5, 5)
    return images.kernel_masks({"A, the first layer": place < 12, "B, all others": place <= 12})


def seen_by_masks(g: Gallery) -> Drawn:
    return field("masked", "Plain masks, five layers")


def seen_by_two_stacks(g: Gallery) -> Drawn:
    return field("two", "Two stacks, five layers")


def field(stack: Any, title: str) -> Drawn:
    """What the middle of a picture of 16 by 16 sees."""
    decoder = PixelCNNDecoder(
        6, 0, shape=(16, 16, 1), channels=4, layers=5, kernel=5, first_kernel=5, stack=stack
    )
    return images.receptive_field(decoder.receptive_field((8, 8)).numpy(), (8, 8), title=title)


def sum_of_posteriors(g: Gallery) -> Drawn:
    return images.sum_of_gaussians()


def one_bit(g: Gallery) -> Drawn:
    return images.one_bit_toy()


def samples(g: Gallery) -> Drawn:
    made = g.model("vae").draw(40, source="prior", seed=0)
    return images.contact_sheet(g.model("vae").means(made).numpy(), title="Codes from the prior")


FIGURES: tuple[Callable[[Gallery], Drawn], ...] = (
    codes_in_the_plane,
    three_losses,
    without_a_kl,
    gaps,
    smudges,
    codes_and_prior,
    grid_of_the_plane,
    samples,
    between_two,
    morph,
    one_picture_several_codes,
    holes_of_one_number,
    slanted,
    slanted_by_a_pair,
    axis_of_ink,
    folded,
    as_data_grows,
    adversarial_codes,
    adversarial_epochs,
    adversarial_game,
    grid_of_the_adversarial,
    samples_of_the_adversarial,
    ring_codes,
    digits_asked_for,
    two_losses,
    styles_by_digits,
    masks,
    seen_by_masks,
    seen_by_two_stacks,
    sum_of_posteriors,
    one_bit,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder: figures, numbers and runs")
    parser.add_argument(
        "--pictures", default="digits", help="as `seqvae prepare images` takes them"
    )
    parser.add_argument(
        "--steps", type=int, default=1000, help="of a training; some take twice as many"
    )
    parser.add_argument("--only", action="append", default=[], help="figures by name")
    given = parser.parse_args()
    names = [figure.__name__ for figure in FIGURES]
    for name in given.only:
        if name not in names:
            raise Refused(unknown(name, names, "the gallery", "figure"))
    torch.set_num_threads(1)
    gallery = Gallery(given.out, given.pictures, given.steps)
    for figure in FIGURES:
        if not given.only or figure.__name__ in given.only:
            print("drawn:", figure(gallery).save(given.out / f"{figure.__name__}.png"))
    about = {"version": __version__, "torch": torch.__version__, "pictures": given.pictures}
    write_json(given.out / "about.json", {**about, "steps": given.steps, "seed": 0})


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
