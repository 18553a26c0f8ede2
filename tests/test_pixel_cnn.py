"""PixelCNN: what a pixel sees is exactly what it may, in training and as it writes."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import LATENT, loud, same
from torch.nn.functional import gelu

from seqvae.build import build
from seqvae.decoders import PixelCNNDecoder
from seqvae.decoders.pixel_cnn import gate
from seqvae.errors import Refused
from seqvae.generate import beam, generate, sampler
from seqvae.tokens import BOS, SPECIAL

HEIGHT, WIDTH, LEVELS = 5, 6, 3
PIXELS = HEIGHT * WIDTH
CASES = [
    pytest.param({"stack": stack, "z_as": z_as, "layers": layers, **kernels}, id=name)
    for stack, z_as, layers in product(("two", "masked"), ("maps", "bias"), (1, 3))
    for kernels in [{"first_kernel": 5, "kernel": 3}]
    for name in [f"{stack}-{z_as}-{layers}"]
]
CASES += [pytest.param({"first_kernel": 3, "kernel": 5, "layers": 2}, id="two-maps-2-wide")]
laws = pytest.mark.parametrize("case", CASES)


def decoder_of(case: dict[str, Any], **other: Any) -> PixelCNNDecoder:
    arguments: dict[str, Any] = {
        "vocab": SPECIAL + LEVELS,
        "latent": LATENT,
        "shape": (HEIGHT, WIDTH, 1),
    }
    sizes = {"channels": 4, "hidden": 8}
    return loud(PixelCNNDecoder(**arguments | sizes | case | other).eval(), 2.0)


def pictures(count: int = 3) -> torch.Tensor:
    return torch.randint(SPECIAL, SPECIAL + LEVELS, (count, PIXELS))


def codes(count: int = 3) -> torch.Tensor:
    return torch.randn(count, LATENT)


@laws
def test_a_change_is_felt_exactly_where_the_receptive_field_says(case: dict[str, Any]) -> None:
    decoder = decoder_of(case).double()
    x, z = pictures(8), codes(8).double()
    seen = torch.stack([decoder.receptive_field(p).flatten() for p in places()])
    features = decoder.features(x, z)
    for place in range(PIXELS):
        changed = x.clone()
        changed[:, place] = SPECIAL + (x[:, place] - SPECIAL + 1) % LEVELS
        moved = (decoder.features(changed, z) != features).any(-1).any(0)
        assert torch.equal(moved, seen[:, place])
        assert not seen[: place + 1, place].any(), "a pixel sees those before it"


def places() -> list[tuple[int, int]]:
    return list(product(range(HEIGHT), range(WIDTH)))


@pytest.mark.parametrize(
    ("stack", "layers", "kernel", "share"),
    [
        ("masked", 6, 3, 0.17),
        ("masked", 8, 3, 0.29),
        ("masked", 10, 5, 0.91),
        ("two", 10, 5, 1.0),
    ],
)
def test_shares_of_the_past_are_those_counted_of_published_networks(
    stack: Any, layers: int, kernel: int, share: float
) -> None:
    decoder = PixelCNNDecoder(
        6,
        LATENT,
        shape=(28, 28, 1),
        channels=2,
        layers=layers,
        kernel=kernel,
        first_kernel=kernel,
        stack=stack,
    )
    assert decoder.share_seen((14, 14)) == pytest.approx(share, abs=0.005)
    assert share < 1 or decoder.share_seen((14, 14)) == 1


def test_two_stacks_have_no_blind_spot_and_masks_have_a_wedge() -> None:
    deep = {"layers": 9, "kernel": 3, "first_kernel": 3}
    earlier = torch.arange(PIXELS).view(HEIGHT, WIDTH)
    for pixel in places():
        before = earlier < earlier[pixel]
        assert torch.equal(decoder_of(deep).receptive_field(pixel), before)
    masked = decoder_of(deep, stack="masked").receptive_field((4, 1)).int().tolist()
    # Up a row, a 3 x 3 kernel sees one column further right: never past the diagonal.
    assert masked == [[1] * 6, [1] * 5 + [0], [1] * 4 + [0] * 2, [1] * 3 + [0] * 3, [1] + [0] * 5]


def masked_weight(layer: Any, reach: int) -> torch.Tensor:
    """The cropped kernels laid back into one of (2 reach + 1)^2, zero where a mask would be."""
    above, along = layer.above.weight, layer.along.weight
    size = 2 * reach + 1
    weight = above.new_zeros(*above.shape[:2], size, size)
    weight[:, :, :reach] = above
    weight[:, :, reach, : along.shape[-1]] = along[:, :, 0]
    return weight


def test_cropped_kernels_are_masked_convolutions() -> None:
    """Masks A, then B, of van den Oord et al. (2016, "Pixel recurrent neural networks")."""
    decoder = decoder_of({"layers": 3, "kernel": 3, "first_kernel": 5}, stack="masked", latent=0)
    x, h = pictures(), torch.zeros(1)
    read = decoder.embedding(x.view(-1, HEIGHT, WIDTH)).movedim(-1, 1)
    layers: Any = decoder.stacks.layers
    for number, layer in enumerate(layers):
        reach = 1 if number else 2
        weight = masked_weight(layer, reach)
        assert (weight[:, :, reach, reach] == 0).all() == (number == 0), "mask A hides the centre"
        sums = F.conv2d(read, weight, layer.above.bias, padding=reach)
        if number == 0:
            sums = sums + F.conv2d(decoder.places, decoder.spread.weight, padding=reach)
        read = h = h + layer.mix(gate(sums))
    expected = gelu(decoder.finish(gelu(h.flatten(2).mT)))
    same(decoder.features(x, torch.zeros(3, 0)), expected)


@laws
@pytest.mark.parametrize("latent", [LATENT, 0])
def test_pixel_by_pixel_it_scores_what_it_scores_of_whole_pictures(
    case: dict[str, Any], latent: int
) -> None:
    decoder, x, z = decoder_of(case, latent=latent), pictures(), torch.randn(3, latent)
    order = torch.tensor([2, 0, 0, 1])
    with torch.no_grad():
        whole = decoder.head(decoder.features(x, z))
        state, read = decoder.start(z), torch.full((3,), BOS)
        for place in range(PIXELS):
            scores, state = decoder.step(read, state)
            same(scores[:, SPECIAL:], whole[:, place, SPECIAL:])
            read = x[:, place]
            if place in (3, WIDTH - 1, WIDTH, 20):
                state, read, x, whole = state.select(order), read[order], x[order], whole[order]


@laws
def test_probabilities_of_all_pictures_sum_to_one(case: dict[str, Any]) -> None:
    decoder = decoder_of(case, shape=(2, 3, 1), vocab=SPECIAL + 2)
    x = torch.tensor(list(product((SPECIAL, SPECIAL + 1), repeat=6)))
    log_px = decoder(codes(1).expand(len(x), -1)).log_prob(x)
    assert log_px.std() > 0.01
    assert log_px.exp().sum().item() == pytest.approx(1, abs=1e-5)


@laws
def test_every_weight_has_a_gradient_for_none_is_behind_a_mask(case: dict[str, Any]) -> None:
    decoder = decoder_of(case)
    decoder(codes(30)).log_prob(pictures(30)).sum().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None
        slope = weight.grad[SPECIAL:] if name.startswith("embedding") else weight.grad
        assert (slope != 0).all(), name


@laws
def test_the_code_reaches_every_pixel_and_is_never_masked(case: dict[str, Any]) -> None:
    decoder, z = decoder_of(case), codes(1).requires_grad_()
    for score in decoder(z).token_log_prob(pictures(1))[0]:
        (slope,) = torch.autograd.grad(score, z, retain_graph=True)
        assert (slope != 0).all()


@laws
@pytest.mark.parametrize("latent", [LATENT, 0])
def test_where_a_pixel_lies_is_known_without_a_code_too(case: dict[str, Any], latent: int) -> None:
    """Else a language model lacks what the biases of a code's network tell, and loses by it."""
    near = {"layers": 2, "kernel": 3, "first_kernel": 3}
    decoder = decoder_of(case | near, latent=latent, shape=(9, 9, 1))
    plain = torch.full((1, 81), SPECIAL)
    with torch.no_grad():
        here, beside = decoder(torch.zeros(1, latent)).token_log_prob(plain)[0, 40:42]
        decoder.places.zero_()
        blind = decoder(torch.zeros(1, latent)).token_log_prob(plain)[0, 40:42]
    assert (here - beside).abs() > 1e-4, "though the pixels before are the same"
    assert (blind[0] - blind[1]).abs() < 1e-5


def test_what_is_drawn_stands_in_raster_order_and_is_scored_as_it_was_drawn() -> None:
    decoder, z = decoder_of({"layers": 2}), codes(4)
    told: list[torch.Tensor] = []

    def noting(scores: torch.Tensor) -> torch.Tensor:
        token = sampler(seed=len(told))(scores)
        told.append(scores.log_softmax(-1).gather(1, token.unsqueeze(1)))
        return token

    x = generate(decoder, z, length=PIXELS, choose=noting, end=None)
    assert ((x >= SPECIAL) & (x < SPECIAL + LEVELS)).all()
    same(decoder(z).token_log_prob(x), torch.cat(told, dim=1))


def test_a_beam_finds_a_picture_and_its_probability() -> None:
    decoder, z = decoder_of({"layers": 2}), codes(2)
    x, log_px = beam(decoder, z, length=PIXELS, width=3, end=None)
    same(decoder(z).log_prob(x), log_px)


def test_ids_that_are_no_level_are_never_written() -> None:
    decoder = decoder_of({"layers": 2})
    p = decoder.head(decoder.features(pictures(), codes())).softmax(-1)
    assert (p[..., :SPECIAL] == 0).all()
    same(p[..., SPECIAL:].sum(-1), torch.ones(3, PIXELS))
    given = torch.full((3, PIXELS), SPECIAL - 1)
    assert decoder(codes()).log_prob(given).isfinite().all()


def test_behind_its_last_pixel_a_new_picture_begins() -> None:
    decoder, one, two, z = decoder_of({"layers": 2}), pictures(), pictures(), codes()
    scores = decoder.head(decoder.features(torch.cat([one, two], dim=1), z))
    same(scores[:, :PIXELS], decoder.head(decoder.features(one, z)))
    same(scores[:, PIXELS:], decoder.head(decoder.features(two, z)))
    state, read = decoder.start(z), torch.full((3,), BOS)
    with torch.no_grad():
        for token, expected in zip(torch.cat([one, two], dim=1).T, scores.unbind(1), strict=True):
            written, state = decoder.step(read, state)
            same(written, expected)
            read = token


def test_a_part_of_a_picture_is_scored_as_in_the_whole() -> None:
    decoder, x, z = decoder_of({"layers": 2}), pictures(), codes()
    whole = decoder(z).token_log_prob(x)
    same(decoder(z).token_log_prob(x[:, :8]), whole[:, :8])


def test_of_lost_pixels_nothing_is_known() -> None:
    decoder = decoder_of({"layers": 2}, word_dropout=1.0).train()
    z = codes()
    same(decoder.features(pictures(), z), decoder.features(pictures(), z))
    kept = decoder.eval().features(pictures(), z) - decoder.features(pictures(), z)
    assert kept.abs().max() > 1e-3


def test_levels_begin_evenly_spaced_on_a_line() -> None:
    levels = PixelCNNDecoder(SPECIAL + 5, LATENT, shape=(2, 2, 1)).embedding.weight[SPECIAL:]
    same(levels.diff(dim=0), (levels[-1] - levels[0]).expand(4, -1) / 4)
    assert (levels[-1] - levels[0]).norm() > 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (4, 4, 3)}, "one channel.*channels = 1"),
        ({"kernel": 4}, "kernel = 4.*odd"),
        ({"first_kernel": 1}, "first_kernel = 1.*3 or more"),
        ({"maps": 0}, "maps = 0"),
        ({"channels": 0}, "channels = 0"),
        ({"vocab": 4}, "vocab = 4.*levels"),
    ],
)
def test_what_cannot_write_pictures_is_refused_with_the_cure(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        decoder_of({}, **wrong)


def test_a_context_in_a_recipe_is_refused_for_kernels() -> None:
    sections = {
        "encoder": {"kind": "NoiseEncoder"},
        "posterior": {"kind": "GaussianPosterior"},
        "prior": {"kind": "StandardNormal"},
        "objective": {"kind": "Elbo", "terms": {}},
    }
    made = {"latent": 2, "seed": 0, **sections}
    made["decoder"] = {"kind": "PixelCNNDecoder", "context": 3}
    with pytest.raises(Refused, match=r"no argument 'context'.*layers, kernel"):
        build(made, SPECIAL + 2, length=16, shape=(4, 4, 1))
