"""The laws of networks for pictures: any height and width, every pixel, and nothing but pixels."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from small import LATENT, exports, same
from torch import Tensor, nn

from seqvae import decoders, encoders
from seqvae.build import build, build_stepper, complete
from seqvae.codecs.codec import Shape
from seqvae.decoders import DeconvDecoder, DenseDecoder
from seqvae.decoders.picture import PictureDecoder
from seqvae.encoders import ConvEncoder, DenseEncoder
from seqvae.encoders.picture import PictureEncoder
from seqvae.errors import Refused
from seqvae.layers import begin
from seqvae.likelihoods import Bernoulli, Categorical, Gaussian
from seqvae.pixels import brightness, maps
from seqvae.posteriors import GaussianPosterior
from seqvae.recipe import Recipe
from seqvae.tokens import SPECIAL, UNK
from seqvae.training import train
from seqvae.vae import Batch

VOCAB = SPECIAL + 5
READERS = [kind for kind in exports(encoders) if issubclass(kind, PictureEncoder)]
WRITERS = [kind for kind in exports(decoders) if issubclass(kind, PictureDecoder)]
SHAPES: list[Shape] = [
    (1, 1, 1), (1, 7, 1), (2, 3, 3), (5, 4, 1), (8, 8, 1), (9, 6, 2), (28, 28, 1), (13, 17, 3),
]  # fmt: skip
PAIRS = list(zip(READERS, WRITERS, strict=True))
LIKELIHOODS = [Gaussian(VOCAB), Gaussian(VOCAB, learned="pixel"), Categorical(VOCAB)]
SMALL = {"channels": (4, 6), "hidden": 8}


def small(kind: Any, shape: Shape, **other: Any) -> Any:
    """A network of these few kinds at small sizes."""
    if kind in (DenseEncoder, DenseDecoder):
        return kind(VOCAB, length=math.prod(shape), **{"hidden": (8, 7)} | other)
    return kind(VOCAB, shape=shape, **SMALL | other)


def reader(kind: Any, shape: Shape, **other: Any) -> Any:
    return small(kind, shape, **{"posterior": GaussianPosterior(LATENT)} | other)


def writer(kind: Any, shape: Shape, **other: Any) -> Any:
    return small(kind, shape, **{"latent": LATENT, "likelihood": Categorical(VOCAB)} | other)


def pictures(shape: Shape, count: int = 2, vocab: int = VOCAB) -> Batch:
    x = torch.randint(SPECIAL, vocab, (count, math.prod(shape)))
    return Batch(x, torch.full((count,), x.shape[1]), None, torch.arange(count))


shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
readers = pytest.mark.parametrize("kind", READERS)
writers = pytest.mark.parametrize("kind", WRITERS)


# --- ids as pixels -------------------------------------------------------------------------------


def test_brightness_is_a_share_of_white_and_what_is_no_level_is_black() -> None:
    x = torch.tensor([[UNK, 4, 5, 8]])
    assert brightness(x, 9).tolist() == [[0.0, 0.0, 0.25, 1.0]]


def test_maps_hold_each_channel_row_by_row() -> None:
    shape = (2, 3, 2)
    laid = maps(torch.arange(24.0).view(2, 12), shape)
    assert laid.shape == (2, 2, 2, 3)
    for b, row, column, channel in product(*map(range, (2, *shape))):
        assert laid[b, channel, row, column] == 12 * b + 6 * row + 2 * column + channel


# --- shapes --------------------------------------------------------------------------------------


@shapes
@readers
def test_pictures_of_any_shape_are_read(kind: Any, shape: Shape) -> None:
    q = reader(kind, shape)(pictures(shape))
    assert (q.batch_shape, q.event_shape) == ((2,), (LATENT,))


@shapes
@writers
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda made: made.size)
def test_pictures_of_any_shape_are_written_exactly(
    kind: Any, shape: Shape, likelihood: Any
) -> None:
    px = writer(kind, shape, likelihood=likelihood)(torch.randn(2, LATENT))
    assert (px.batch_shape, px.event_shape) == ((2,), (math.prod(shape),))
    assert px.log_prob(px.sample()).isfinite().all()


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("channels", [(3,), (3, 4, 5, 6)])
def test_any_odd_kernel_and_any_number_of_convolutions_will_do(
    kernel: int, channels: tuple[int, ...]
) -> None:
    shape, sizes = (11, 6, 1), {"kernel": kernel, "channels": channels}
    assert reader(ConvEncoder, shape, **sizes)(pictures(shape)).mean.shape == (2, LATENT)
    assert writer(DeconvDecoder, shape, **sizes)(torch.randn(2, LATENT)).mean.shape == (2, 66)


def test_a_deconvolution_is_the_mirror_of_a_convolution() -> None:
    """Maps go back through the sizes they came by."""
    shape, seen = (28, 9, 1), []
    encoder, decoder = reader(ConvEncoder, shape), writer(DeconvDecoder, shape)
    for part in (*encoder.convolutions, *decoder.deconvolutions):
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.register_forward_hook(
                lambda _, read, out: seen.append((read[0].shape, out.shape))
            )
    encoder(pictures(shape))
    decoder(torch.randn(2, LATENT))
    sizes = [tuple(size[2:] for size in both) for both in seen]
    assert sizes[:2] == [((28, 9), (14, 5)), ((14, 5), (7, 3))]
    assert sizes[2:] == [(out, read) for read, out in reversed(sizes[:2])]


def test_a_deconvolution_writes_tokens_by_row_column_and_channel() -> None:
    shape = (3, 5, 2)
    decoder, z = writer(DeconvDecoder, shape, likelihood=Gaussian(VOCAB, learned="pixel")), []
    decoder.deconvolutions.register_forward_hook(lambda *_: z.append(_[2]))
    each = decoder.numbers(torch.randn(2, LATENT))
    assert each.shape == (2, 30, 2) and z[0].shape == (2, 4, 3, 5)
    for row, column, channel, number in product(*map(range, (*shape, 2))):
        token = (row * 5 + column) * 2 + channel
        assert torch.equal(each[:, token, number], z[0][:, 2 * channel + number, row, column])


# --- laws ----------------------------------------------------------------------------------------


@readers
def test_codes_depend_on_every_pixel_and_on_no_neighbour(kind: Any) -> None:
    shape = (5, 3, 2)
    encoder, items = reader(kind, shape, activation="gelu").eval(), pictures(shape, 3)
    mu = encoder(items).mean
    for row in range(3):
        same(encoder(items.part(row, row + 1)).mean[0], mu[row])
    for place in range(30):
        x = items.x.clone()
        x[:, place] = SPECIAL + (x[:, place] - SPECIAL + 2) % 5
        assert (encoder(items._replace(x=x)).mean - mu).abs().amax(1).min() > 1e-7


@writers
@pytest.mark.parametrize("latent", [LATENT, 0])
def test_several_codes_an_item_score_as_one_by_one(kind: Any, latent: int) -> None:
    shape = (4, 3, 1)
    decoder, x = writer(kind, shape, latent=latent), pictures(shape).x
    z = torch.randn(3, 2, latent)
    together = decoder(z).log_prob(x)
    assert together.shape == (3, 2)
    same(together, torch.stack([decoder(one).log_prob(x) for one in z]))
    same(together[0, :1], decoder(z[0, :1]).log_prob(x[:1]))


@writers
def test_every_pixel_depends_on_the_code_unless_there_is_none(kind: Any) -> None:
    shape = (4, 3, 1)
    decoder = writer(kind, shape, activation="gelu")
    z = torch.randn(1, LATENT, requires_grad=True)
    for score in decoder(z).token_log_prob(pictures(shape, 1).x)[0]:
        [slope] = torch.autograd.grad(score, z, retain_graph=True)
        assert (slope != 0).all()
    alike = writer(kind, shape, latent=0)(torch.zeros(6, 0)).mean
    assert alike.shape == (6, 12) and (alike == alike[0]).all()
    assert (alike[0] != alike[0, 0]).any()


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "elu", "silu"])
@pytest.mark.parametrize(("read", "write"), PAIRS)
@pytest.mark.parametrize("latent", [LATENT, 0])
def test_gradient_reaches_every_weight(
    activation: str, read: Any, write: Any, latent: int
) -> None:
    shape = (6, 5, 1)
    encoder = reader(read, shape, activation=activation)
    decoder = writer(
        write, shape, activation=activation, latent=latent, likelihood=Gaussian(VOCAB)
    )
    items = pictures(shape, 8)
    z = encoder(items).rsample()
    loss = z.square().sum() - decoder(z[:, :latent]).log_prob(items.x).sum()
    loss.backward()
    for name, weight in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("read", "write"), PAIRS)
def test_in_half_precision_densities_are_float32(read: Any, write: Any) -> None:
    shape = (8, 8, 1)
    encoder, decoder, items = reader(read, shape), writer(write, shape), pictures(shape)

    def scores() -> tuple[Tensor, Tensor]:
        q = encoder(items)
        return q.mean, decoder(q.mean).log_prob(items.x)

    exact = scores()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = scores()
    for a, b in zip(half, exact, strict=True):
        assert a.dtype == torch.float32
        same(a, b, 0.03)


@pytest.mark.parametrize(("read", "write"), PAIRS)
def test_dropout_acts_in_training_only(read: Any, write: Any) -> None:
    shape = (8, 8, 1)
    items, z = pictures(shape), torch.randn(2, LATENT)
    for network, given in (
        (reader(read, shape, dropout=0.5), items),
        (writer(write, shape, dropout=0.5), z),
    ):
        assert not torch.equal(network.train()(given).mean, network(given).mean)
        assert torch.equal(network.eval()(given).mean, network(given).mean)


def test_a_dense_network_is_what_its_layers_say() -> None:
    """784-1000-1000-2 with ReLU and a linear code, as published."""
    encoder = DenseEncoder(6, GaussianPosterior(2, sigma=0.1), length=784, hidden=(1000, 1000))
    first, second = (layer for layer in encoder.layers if isinstance(layer, nn.Linear))
    items = pictures((28, 28, 1), vocab=6)
    h = first(items.x - 4.0).clamp_min(0)
    same(encoder(items).mean, encoder.parameters_of(second(h).clamp_min(0)))


def test_without_hidden_layers_networks_are_linear() -> None:
    encoder = DenseEncoder(6, GaussianPosterior(2), length=9, hidden=())
    decoder = DenseDecoder(6, 2, length=9, likelihood=Bernoulli(6), hidden=())
    assert [tuple(weight.shape) for weight in encoder.parameters()] == [(4, 9), (4,)]
    z = torch.randn(3, 2)
    same(decoder(z).each.logits, z @ decoder.output.weight.T + decoder.output.bias)


@pytest.mark.parametrize(
    ("network", "written"),
    [
        (reader(DenseEncoder, (28, 28, 1), hidden=(100, 50), init="normal"), GaussianPosterior),
        (writer(DenseDecoder, (28, 28, 1), hidden=(100, 50), init="normal"), Gaussian),
        (reader(ConvEncoder, (28, 28, 1), hidden=100, init="normal"), GaussianPosterior),
        (writer(DeconvDecoder, (28, 28, 1), hidden=100, init="normal"), Gaussian),
    ],
)
def test_weights_may_begin_small_with_biases_of_zero(network: Any, written: Any) -> None:
    weights = torch.cat([w.flatten() for w in network.parameters() if w.dim() > 1])
    assert weights.mean().abs() < 3e-4
    assert weights.std().item() == pytest.approx(0.01, rel=0.05)
    assert all((w == 0).all() for w in network.parameters() if w.dim() == 1)
    with pytest.raises(Refused, match="one of: torch, normal"):
        begin(network, "xavier")  # type: ignore[arg-type]


def test_a_model_of_no_code_learns_how_bright_each_pixel_is() -> None:
    """The best of them costs the sum of the pixels' entropies."""
    share = torch.tensor([0.1, 0.5, 0.8, 0.3])
    x = SPECIAL + (torch.rand(4000, 4) < share).long()
    decoder = DenseDecoder(6, 0, length=4, likelihood=Bernoulli(6), hidden=(8,))
    adam = torch.optim.Adam(decoder.parameters(), lr=0.03)
    for _ in range(150):
        adam.zero_grad()
        nats = -decoder(torch.zeros(1, 0)).log_prob(x).mean()
        nats.backward()
        adam.step()
    white = (x - 4.0).mean(0)
    entropies = -(white * white.log() + (1 - white) * (1 - white).log())
    assert nats.item() == pytest.approx(entropies.sum().item(), abs=1e-3)


# --- from a recipe -------------------------------------------------------------------------------


def recipe(**sections: Any) -> Recipe:
    return {
        "name": "pictures",
        "latent": 2,
        "seed": 0,
        "encoder": {"kind": "DenseEncoder", "hidden": [32]},
        "posterior": {"kind": "GaussianPosterior"},
        "prior": {"kind": "StandardNormal"},
        "decoder": {"kind": "DenseDecoder", "hidden": [32]},
        "objective": {"kind": "Elbo", "terms": {"kl": {"kind": "KL"}}},
        "optimizer": {"kind": "AdamW", "rate": 5e-3},
        **sections,
    }


CONV = {"kind": "ConvEncoder", "channels": [8, 8], "hidden": 32}
DECONV = {"kind": "DeconvDecoder", "channels": [8, 8], "hidden": 32}


def blobs(count: int, levels: int) -> Batch:
    """Discs of one size somewhere in 8 x 8 pixels, soft at their edge."""
    centre = torch.rand(count, 2, 1) * 4 + 1.5
    away = (torch.arange(8.0) - centre).square()
    disc = (-(away[:, 0, :, None] + away[:, 1, None, :]) / 4).exp().flatten(1)
    x = SPECIAL + (disc * (levels - 1)).round().long()
    return Batch(x, torch.full((count,), 64), None, torch.arange(count))


@pytest.mark.parametrize(
    ("sections", "levels", "fall"),
    [
        ({}, 2, 12.0),
        ({"encoder": CONV, "decoder": DECONV}, 2, 12.0),
        ({"decoder": {**DECONV, "likelihood": {"kind": "Gaussian", "sigma": 0.3}}}, 256, 20.0),
        ({"decoder": {"kind": "DenseDecoder", "likelihood": {"kind": "Gaussian"}}}, 256, 10.0),
        ({"decoder": {"kind": "DenseDecoder", "likelihood": {"kind": "Categorical"}}}, 8, 40.0),
        ({"latent": 0}, 2, 12.0),
    ],
)
def test_thirty_steps_teach_it_blobs(sections: Any, levels: int, fall: float) -> None:
    made = recipe(**sections)
    built = build(made, SPECIAL + levels, length=64, shape=(8, 8, 1))
    items, stepper = blobs(64, levels), build_stepper(made, built, steps=30)
    reports = [r for _, r in train(built.vae, built.objective, stepper, [items] * 30)]
    assert reports[-1]["loss"] < reports[0]["loss"] - fall


NOISE = {"kind": "NoiseEncoder"}
IMAGES = {"length": 64, "shape": (8, 8, 1)}
MUSIC = {"length": 64}
SENTENCES: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("sections", "extent", "message"),
    [
        ({}, SENTENCES, r"\[encoder\] DenseEncoder is for items of a fixed length"),
        (
            {"encoder": NOISE},
            SENTENCES,
            r"\[decoder\] DenseDecoder is for items of a fixed length.*Name another kind",
        ),
        (
            {"encoder": NOISE, "decoder": {"kind": "DeconvDecoder"}},
            MUSIC,
            r"\[decoder\] DeconvDecoder is for pictures, and these items are none",
        ),
        ({"encoder": CONV}, MUSIC, r"\[encoder\] ConvEncoder is for pictures"),
        ({}, {**IMAGES, "vocab": 260}, r"Binarise the pictures.*likelihood\.kind=Gaussian"),
        ({"encoder": NOISE}, {"vocab": 260}, r"\[decoder\] DenseDecoder is for items of a fixed"),
        (
            {"encoder": NOISE, "decoder": {"kind": "DeconvDecoder"}},
            {**MUSIC, "vocab": 260},
            r"\[decoder\] DeconvDecoder is for pictures",
        ),
        ({"decoder": {**DECONV, "kernel": 4}}, IMAGES, "kernel = 4.*odd"),
        ({"decoder": {**DECONV, "channels": []}}, IMAGES, r"channels = \[\]"),
        ({"encoder": {**CONV, "channels": [4, 0]}}, IMAGES, "channels = 0"),
        ({"encoder": {"kind": "DenseEncoder", "hidden": [0]}}, IMAGES, "hidden = 0"),
        (
            {"encoder": {"kind": "DenseEncoder", "hidden": 32}},
            IMAGES,
            "hidden = 32 is of type int",
        ),
        ({"encoder": {"kind": "DenseEncoder", "activation": "rely"}}, IMAGES, "not one of: relu"),
        ({"encoder": {"kind": "DenseEncoder", "dropout": 1.5}}, IMAGES, "dropout = 1.5"),
        (
            {"decoder": {"kind": "DenseDecoder", "likelihood": {"kind": "Gausian"}}},
            IMAGES,
            r'\[decoder.likelihood\].*did you mean "Gaussian"',
        ),
        (
            {"decoder": {"kind": "DenseDecoder", "likelihood": {"sigma": 0.5}}},
            IMAGES,
            "does not say its kind; add kind = one of: Bernoulli, Categorical, Gaussian",
        ),
        (
            {"decoder": {"kind": "DenseDecoder", "likelihood": "Gaussian"}},
            IMAGES,
            r"write \[decoder.likelihood\]",
        ),
        (
            {"decoder": {"kind": "LSTMDecoder", "likelihood": {"kind": "Gaussian"}}},
            IMAGES,
            "LSTMDecoder has no argument 'likelihood'",
        ),
    ],
)
def test_what_does_not_suit_the_items_is_refused_with_the_cure(
    sections: Any, extent: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        build(recipe(**sections), **{"vocab": 6, **extent})


def test_a_decoder_and_its_likelihood_have_the_same_levels() -> None:
    with pytest.raises(Refused, match="give both the same"):
        DenseDecoder(6, 2, length=9, likelihood=Categorical(7))
    with pytest.raises(Refused, match="one of: relu"):
        DenseDecoder(6, 2, length=9, likelihood=Bernoulli(6), activation="rely")  # type: ignore[arg-type]


def test_a_recipe_is_completed_by_its_likelihood_and_means_the_same() -> None:
    made = recipe()
    whole = complete(made)
    assert whole["decoder"]["likelihood"] == {"kind": "Bernoulli"}
    assert whole["decoder"]["activation"] == "relu"
    assert complete(whole) == whole
    gaussian = {"kind": "DeconvDecoder", "likelihood": {"kind": "Gaussian", "sigma": 0.5}}
    kept = complete(recipe(decoder=gaussian))["decoder"]
    assert kept["likelihood"] == gaussian["likelihood"] and kept["channels"] == [32, 64]
    one, other = (build(r, 6, length=64, shape=(8, 8, 1)).vae for r in (made, whole))
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_dense_networks_take_any_items_of_fixed_length() -> None:
    """They are tried on items as long as all are, where these are no pictures."""
    built = build(recipe(), 6, length=64)
    assert built.vae(built.example).px.event_shape == (64,)
