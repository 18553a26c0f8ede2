"""Figures of pictures say what they draw: known answers, limits, numbers JSON can hold."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, Uniform, kl_divergence

from seqvae import images
from seqvae.errors import Refused
from seqvae.images import Drawn
from seqvae.latent import path

BIT = math.log(2)
LABELS = np.arange(40) % 4
CENTRES = torch.tensor([[4.0, 0.0], [-4.0, 0.0], [0.0, 4.0], [0.0, -4.0]])
MEASURES = {"stroke mass": images.stroke_mass, "slant": images.slant}


def blobs() -> Tensor:
    """Codes of four classes, far apart."""
    return CENTRES[torch.as_tensor(LABELS)] + 0.3 * torch.randn(40, 2)


def ramp(codes: Tensor) -> NDArray[Any]:
    """A decoder: each of four pixels is the logistic of a code's first number."""
    return codes[:, :1].sigmoid().expand(-1, 4).reshape(-1, 2, 2, 1).numpy()


def bars(codes: Tensor) -> NDArray[Any]:
    """A decoder: a bar of ink sigmoid(z_1) that leans by z_2."""
    y, x = np.mgrid[:15, :15] - 7.0
    mass, lean = codes.double().numpy().T[:2].reshape(2, -1, 1, 1)
    bar = np.exp(-((x + lean * y) ** 2) / 2) / (1 + np.exp(-mass))
    return np.asarray(bar[..., None])


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def lines(figure: Drawn, axis: int = 0) -> list[list[float]]:
    return [np.asarray(line.get_ydata()).tolist() for line in figure.figure.axes[axis].lines]


EPOCHS = [1, 2, 3]
FIGURES: dict[str, Callable[[], Drawn]] = {
    "scatter": lambda: images.latent_scatter(blobs(), LABELS, draws=torch.randn(99, 2)),
    "gaps": lambda: images.gaps({"a": (bars, blobs()), "b": (bars, 0 * blobs())}, LABELS),
    "panels": lambda: images.three_panels({"a": blobs(), "b": 0 * blobs()}, LABELS),
    "smudges": lambda: images.smudges(blobs(), torch.ones(40, 2), LABELS),
    "histogram": lambda: images.code_histogram(
        torch.rand(50, 3), torch.rand(99, 3), density=Uniform(0.0, 1.0)
    ),
    "histograms": lambda: images.histograms_by_epoch({1: blobs(), 2: blobs()}, blobs()),
    "grid": lambda: images.latent_grid(ramp, images.box(3, -1, 1)),
    "sheet": lambda: images.contact_sheet(noise(7, 4, 4, 3), columns=3),
    "epochs": lambda: images.digits_by_epoch(noise(2, 5, 4, 4, 1), [1, 9]),
    "styles": lambda: images.style_by_digit(noise(2, 5, 4, 4, 1), read=np.zeros((2, 5))),
    "codes": lambda: images.stochastic_codes(
        noise(2, 2, 1), torch.zeros(2), torch.ones(2), blobs()[:3], ramp
    ),
    "sweep": lambda: images.sweep({"a": (ramp, torch.randn(30, 1))}, steps=20, shown=5),
    "interpolation": lambda: images.interpolation(ramp, CENTRES[0], CENTRES[1]),
    "strip": lambda: images.morph_strip(ramp, path(CENTRES[0], CENTRES[1], 5), columns=3),
    "vector": lambda: images.attribute_vector(bars, blobs()[:1], torch.ones(2), MEASURES),
    "axis": lambda: images.attribute_axis(bars, blobs()[:3], 1, [-1, 0, 1], MEASURES),
    "game": lambda: images.adversarial_losses(EPOCHS, [1.3, 1.4, 1.5], [0.6, 0.7, 0.8]),
    "losses": lambda: images.losses(EPOCHS, {"a": [3, 2, 1], "b": [1, 2, 3]}),
    "widths": lambda: images.widths(EPOCHS, {"a": [1, 0.1, 0.01]}, {"a": [1, 5, 20]}),
    "gap": lambda: images.generalisation_gap([10, 99], {"a": [1, 2]}, {"a": [4, 3]}),
    "sum": images.sum_of_gaussians,
    "bit": images.one_bit_toy,
    "masks": lambda: images.kernel_masks({"A": np.eye(3)}),
    "field": lambda: images.receptive_field(np.zeros((3, 3)), (1, 1)),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_saved_with_its_numbers(figure: Callable[[], Drawn], tmp_path: Path) -> None:
    made = figure()
    saved = made.save(tmp_path / "deep" / "a.png")
    assert saved.read_bytes()[:4] == b"\x89PNG"
    told = saved.with_suffix(".json").read_text("utf-8")
    assert made.numbers == json.loads(told, parse_constant=lambda name: pytest.fail(name))
    assert made.numbers


# --- where codes lie -----------------------------------------------------------------------------


def test_neighbours_of_apart_classes_are_right_and_of_none_are_chance() -> None:
    assert images.neighbours_right(blobs(), LABELS, 5) == 1.0
    assert images.neighbours_right(torch.randn(2000, 2), np.arange(2000) % 4) < 0.32
    assert images.neighbours_right(torch.tensor([[0.0], [1.0]]), [0, 1], 15) == 0.0  # not itself


def test_neighbours_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    codes, labels = torch.randn(120, 3), np.arange(120) % 2
    right = []
    for own in range(120):
        others = np.arange(120) != own
        votes = KNeighborsClassifier(7).fit(codes[others], labels[others])
        right.append(votes.predict(codes[own : own + 1])[0] == labels[own])
    assert images.neighbours_right(codes, labels, 7) == pytest.approx(np.mean(right))


def test_panels_compare_axes_not_pictures() -> None:
    found = FIGURES["panels"]().numbers["models"]
    assert found["a"]["farthest"] > 4 and found["a"]["neighbours_right"] == 1
    assert found["b"]["farthest"] == 0 == sum(found["b"]["std"])


def test_smudges_overlap_where_they_are_wide() -> None:
    mu = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    shares = [
        images.smudges(mu, width * torch.ones(3, 2), [0, 1, 2]).numbers["covered"]
        for width in (0.5, 1.5, 99.0)
    ]
    assert shares == [0, pytest.approx(2 / 3), 1]


@pytest.mark.filterwarnings("error")
def test_codes_without_noise_lie_in_no_others_smudge_unless_they_are_the_same() -> None:
    mu = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [9.0, 9.0], [9.0, 9.0]])
    assert images.smudges(mu, 0 * mu, [0, 1, 2, 2]).numbers["covered"] == 0.5


def test_principal_axes_are_those_of_most_variance() -> None:
    codes = torch.randn(500, 4) * torch.tensor([0.1, 5.0, 0.1, 2.0])
    std = images.principal_axes(codes).std(0)
    assert std.tolist() == pytest.approx([5, 2], rel=0.1)


def test_codes_off_the_plane_are_refused() -> None:
    with pytest.raises(Refused, match="principal_axes"):
        images.latent_scatter(torch.zeros(3, 4), [0, 1, 2])


def test_tsne_keeps_classes_and_tells_neighbours_of_the_space_itself() -> None:
    codes = blobs()
    made = images.tsne({"codes": codes}, LABELS, style=codes[:, 0], perplexity=5, neighbours=5)
    found = made.numbers["spaces"]["codes"]
    assert images.neighbours_right(torch.tensor(found["points"]), LABELS, 5) == 1
    assert found["neighbours_right"] == 1


def test_total_variation_is_0_of_the_same_1_of_the_apart_and_exact_between() -> None:
    draws = torch.randn(4000, 2)
    assert images.total_variation(draws, draws) == 0
    far = images.total_variation(draws + 99, draws)
    assert far == pytest.approx(1, abs=2e-3)  # but for the draws beyond four of their std
    # Of N(1, 1) and N(0, 1): 2 Φ(1/2) - 1.
    apart = images.total_variation(torch.randn(50_000, 1) + 1, torch.randn(50_000, 1))
    assert apart == pytest.approx(0.3829, abs=0.02)
    with pytest.raises(Refused, match="one or two"):
        images.total_variation(torch.zeros(2, 3), torch.zeros(2, 3))


def test_a_density_is_drawn_where_the_prior_has_one() -> None:
    made = FIGURES["histogram"]()
    assert len(made.figure.axes) == 3
    assert set(lines(made)[0]) <= {0.0, 1.0}
    assert made.numbers["total_variation_2d"] is None


def test_epochs_far_from_the_prior_are_told_from_those_at_it() -> None:
    draws = torch.randn(3000, 2)
    made = images.histograms_by_epoch({6: 5 + torch.randn(900, 2), 7: torch.randn(900, 2)}, draws)
    off, on = (made.numbers["epochs"][epoch] for epoch in ("6", "7"))
    assert off["total_variation_2d"] > 0.9 and off["mean"] == pytest.approx([5, 5], abs=0.2)
    assert on["total_variation_2d"] < 0.2 and on["std"] == pytest.approx([1, 1], abs=0.1)


def test_dimensions_are_drawn_in_the_order_of_their_use() -> None:
    codes = torch.randn(500, 4) * torch.tensor([0.01, 2.0, 0.5, 1.0])
    order = images.by_use(codes)
    assert order == [1, 3, 2, 0]
    made = images.code_histogram(codes, torch.randn(999, 4), dimensions=order[:2])
    assert [found["dimension"] for found in made.numbers["histograms"]] == [1, 3]
    assert [axis.get_xlabel() for axis in made.figure.axes] == ["z₂", "z₄"]


def test_codes_that_are_draws_are_as_far_from_the_prior_as_chance() -> None:
    draws, labels = torch.randn(9000, 2), np.arange(500) % 4
    at, off = (
        images.latent_scatter(shift + torch.randn(500, 2), labels, draws=draws).numbers
        for shift in (0, 9)
    )
    assert at["floor"] == off["floor"] == images.chance_variation(draws, 500)
    assert at["total_variation"] == pytest.approx(at["floor"], abs=0.05)
    assert off["total_variation"] > 0.99
    with pytest.raises(Refused, match="9000 of 9000"):
        images.chance_variation(draws, 9000)


# --- what lies between ---------------------------------------------------------------------------


def test_gaps_are_far_from_codes_and_from_one_another() -> None:
    """Four heaps at ±4 on the axes: middles are 0 or (±2, ±2), and heaps are no gap."""
    codes = CENTRES.repeat(10, 1)
    found = images.gap_codes(codes, 5)
    assert sorted(found.tolist()) == [[-2, -2], [-2, 2], [0, 0], [2, -2], [2, 2]]
    assert found[0].tolist() == [0, 0], "the widest first"
    with pytest.raises(Refused, match="between two of them"):
        images.gap_codes(codes[:1], 1)


def test_a_gap_is_measured_in_the_width_of_codes_whatever_their_scale() -> None:
    heaps, ball = CENTRES[torch.as_tensor(LABELS)], torch.randn(40, 2)
    models = {"heaps": (bars, heaps), "far": (bars, 9 * heaps), "ball": (bars, ball)}
    found = images.gaps(models, LABELS).numbers["models"]
    assert found["heaps"]["widest"] == pytest.approx(4 / math.sqrt(8))
    assert found["far"]["widest"] == pytest.approx(found["heaps"]["widest"])
    assert found["ball"]["widest"] < found["heaps"]["widest"]
    assert found["heaps"]["codes"][0] == [0, 0] and found["heaps"]["distance"][0] == 4


def test_halfway_of_a_cross_fade_is_undecided_and_of_a_clear_decoder_is_not() -> None:
    def half(codes: Tensor) -> NDArray[Any]:
        left = (codes[:, 0] < 0).double().numpy()
        return np.stack([left, 1 - left], -1).reshape(-1, 1, 2, 1)

    both = images.halfway(half, CENTRES[:1], CENTRES[1:2])
    grey = {way: images.greyness(pixels).tolist() for way, pixels in both.items()}
    assert grey == {"code": [0], "cross-fade": [1]}


# --- grids ---------------------------------------------------------------------------------------


def test_values_of_a_grid_are_quantiles_or_a_box() -> None:
    values = images.by_quantile(15, sigma=5)
    shares = Normal(0.0, 5.0).cdf(values)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(shares, torch.linspace(0.05, 0.95, 15))
    assert images.box(14, -10, 9.5).tolist() == np.arange(-10, 10, 1.5).tolist()


def test_a_grid_of_codes_lies_as_the_plane_does_and_leaves_other_dimensions() -> None:
    codes = images.code_grid(
        torch.tensor([-1.0, 1.0]), around=torch.tensor([7.0, 8.0, 9.0]), dimensions=(2, 0)
    )
    assert codes.tolist() == [
        [[1, 8, -1], [1, 8, 1]],
        [[-1, 8, -1], [-1, 8, 1]],
    ]
    with pytest.raises(Refused, match="around"):
        images.code_grid(torch.zeros(2), dimensions=(0, 2))


def test_a_latent_grid_decodes_every_code_in_its_place() -> None:
    found = images.latent_grid(ramp, images.box(3, -1, 1)).numbers
    row = torch.tensor([-1.0, 0.0, 1.0]).sigmoid().tolist()
    for brightness in found["brightness"]:
        assert brightness == pytest.approx(row)


def test_what_a_judge_reads_is_counted_by_row() -> None:
    read = [[0, 1, 2], [0, 0, 0]]
    made = images.digits_by_epoch(noise(2, 3, 4, 4, 1), [1, 20], read=read)
    assert made.numbers["right"] == [1, pytest.approx(1 / 3)]
    shown = [text.get_text() for text in made.figure.axes[0].get_yticklabels()]
    assert shown == ["epoch 1: 3 of 3", "epoch 20: 1 of 3"]


def test_without_styles_only_digits_differ() -> None:
    digits = np.broadcast_to(np.array([0.0, 1.0]).reshape(1, 2, 1, 1, 1), (3, 2, 4, 4, 1))
    assert images.style_by_digit(digits).numbers["between"] == {"styles": 0, "digits": 0.5}
    both = images.style_by_digit(digits.transpose(1, 0, 2, 3, 4)).numbers["between"]
    assert both == {"styles": 0.5, "digits": 0}


def test_shades_that_are_none_are_refused() -> None:
    for pixels, said in ((np.full((1, 2, 2, 1), 9.0), "0, 1"), (np.zeros((2, 2, 2)), "N, H, W")):
        with pytest.raises(Refused, match=said):
            images.contact_sheet(pixels)


def test_several_codes_of_one_picture_have_no_spread_where_the_decoder_is_deaf() -> None:
    def deaf(codes: Tensor) -> NDArray[Any]:
        return ramp(0 * codes)

    mu, sigma, codes = torch.zeros(2), torch.ones(2), torch.tensor([[-1.0, 0], [1.0, 0]])
    spreads = [
        images.stochastic_codes(noise(2, 2, 1), mu, sigma, codes, decode).numbers["spread"]
        for decode in (deaf, ramp)
    ]
    assert spreads == [0, pytest.approx(float(torch.tensor(1.0).sigmoid()) - 0.5)]


# --- walks ---------------------------------------------------------------------------------------


def test_two_thirds_and_one_third_of_the_way_are_exact() -> None:
    """Alice's (0, 3) and Bob's (6, 0): two thirds hers is (2, 2), one third (4, 1)."""
    a, b = torch.tensor([0.0, 3.0]), torch.tensor([6.0, 0.0])
    expected = torch.tensor([[0.0, 3], [2, 2], [4, 1], [6, 0]])
    drawn = torch.tensor(images.interpolation(ramp, a, b, steps=4).numbers["codes"])
    for codes in (path(a, b, 4), drawn):
        assert torch.equal(codes, expected)


def test_a_cross_fade_is_grey_where_a_way_through_codes_is_not() -> None:
    def half(codes: Tensor) -> NDArray[Any]:
        """Ink on the left, or on the right."""
        left = (codes[:, 0] < 0).double().numpy()
        return np.stack([left, 1 - left], -1).reshape(-1, 1, 2, 1)

    grey = images.interpolation(half, CENTRES[1], CENTRES[0], steps=5).numbers["grey"]
    assert grey == {"code": [0] * 5, "cross-fade": [0, 0.75, 1, 0.75, 0]}


def test_jumps_are_distances_and_even_steps_have_a_ratio_of_1() -> None:
    def plain(codes: Tensor) -> NDArray[Any]:
        return codes[:, :1].reshape(-1, 1, 1, 1).numpy()

    def stairs(codes: Tensor) -> NDArray[Any]:
        """Stands nearly still, and leaps at ten places on the way from 0 to 1."""
        return plain(0.9 * (10 * codes).floor() / 10 + 0.01 * codes)

    assert images.jumps(plain, torch.tensor([[0.0], [0.5], [0.25]])).tolist() == [0.5, 0.25]
    a, b = torch.zeros(3, 1), torch.tensor([[1.0], [0.5], [0.25]])
    assert images.jump_ratio(plain, a[:1], b[:1]) == pytest.approx(1, rel=1e-4)
    assert images.jump_ratio(stairs, a[:1], b[:1]) > 50
    assert images.unevenness([0.0] * 9 + [1.0]) == math.inf
    assert images.unevenness([0.0]) == 1
    with pytest.raises(Refused, match="lines join"):
        images.jump_ratio(plain, a, b[:1])


def test_a_jump_ratio_does_not_know_the_scale_of_codes() -> None:
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    ratio = images.jump_ratio(ramp, a, b)
    assert images.jump_ratio(lambda z: ramp(z / 100), 100 * a, 100 * b) == pytest.approx(
        ratio, rel=1e-3
    )


def test_a_sweep_leaps_where_the_decoder_does() -> None:
    def step(codes: Tensor) -> NDArray[Any]:
        return ramp(1000 * (codes - 0.25))

    found = images.sweep({"even": (ramp, blobs()[:, :1]), "step": (step, blobs()[:, :1])}).numbers
    even, leap = found["models"]["even"], found["models"]["step"]
    assert leap["largest_over_mean"] > 10 * even["largest_over_mean"]
    assert leap["z"][int(np.argmax(leap["jump"]))] == pytest.approx(0.25, abs=0.05)
    with pytest.raises(Refused, match="jump_ratio"):
        images.sweep({"plane": (ramp, blobs())})


def test_a_gif_goes_there_and_back(tmp_path: Path) -> None:
    frames = (np.arange(4) / 3).reshape(4, 1, 1, 1) * np.ones((4, 5, 7, 1))
    with Image.open(images.write_gif(frames, tmp_path / "a" / "b.gif", scale=2)) as gif:
        assert (gif.size, gif.info["loop"], getattr(gif, "n_frames", 1)) == ((14, 10), 0, 6)
        shown = []
        for frame in range(6):
            gif.seek(frame)
            shown.append(gif.convert("L").getpixel((0, 0)))
    assert shown == [0, 85, 170, 255, 170, 85]


# --- attributes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lean", [-0.5, 0.0, 0.5])
def test_slant_and_mass_are_those_of_a_bar(lean: float) -> None:
    thin, thick = bars(torch.tensor([[0.0, lean], [2.0, lean]]))
    assert images.slant(np.stack([thin, thick])) == pytest.approx([lean, lean], abs=0.02)
    ratio = images.stroke_mass(thick[None]) / images.stroke_mass(thin[None])
    assert ratio == pytest.approx(2 * float(torch.tensor(2.0).sigmoid()))


def test_a_blank_picture_is_upright() -> None:
    assert images.slant(np.zeros((1, 4, 4, 1))) == images.stroke_mass(np.zeros((1, 4, 4, 1))) == 0


def test_spearman_is_that_of_ranks_with_ties() -> None:
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    a, b = np.random.default_rng(0).integers(0, 9, (2, 50))
    assert images.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert images.spearman([3, 2, 1], [1, 10, 100]) == -1
    assert math.isnan(images.spearman([1, 1], [1, 2]))


def test_a_vector_is_the_difference_of_means() -> None:
    codes = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert images.mean_vector(codes, [True, True, False]).tolist() == [2, -4]
    assert images.pair_vector(codes[1], codes[2]).tolist() == [3, -4]
    with pytest.raises(Refused, match="some with and some without"):
        images.mean_vector(codes, [True] * 3)


def test_the_tied_attribute_follows_its_axis_and_others_stay() -> None:
    codes = torch.randn(6, 2) * torch.tensor([1.0, 0.3])
    made = images.attribute_axis(bars, codes, 0, [-3, -1, 1, 3], MEASURES)
    mass, slant = (made.numbers["attributes"][called] for called in MEASURES)
    assert mass["spearman"] == 1
    assert mass["mean"] == sorted(mass["mean"])
    assert slant["change"] < 0.05 < 1 < mass["change"]
    with pytest.raises(Refused, match="at most 1"):
        images.attribute_axis(bars, codes, 2, [0], MEASURES)


def test_a_vector_is_added_so_many_times() -> None:
    codes, vector = torch.zeros(1, 2), torch.tensor([0.0, 0.25])
    made = images.attribute_vector(bars, codes, vector, MEASURES, strengths=[-2, 0, 2])
    slant = made.numbers["attributes"]["slant"]
    assert slant["mean"] == pytest.approx([-0.5, 0, 0.5], abs=0.02)
    assert slant["spearman"] == 1


def test_a_vector_of_one_pair_does_to_others_what_it_did_to_the_pair() -> None:
    """bars leans by z_2: a picture that leans by ½ less an upright one of the same ink."""
    vector = images.pair_vector(torch.tensor([0.7, 0.5]), torch.tensor([0.7, 0.0]))
    made = images.attribute_vector(bars, torch.zeros(2, 2), vector, MEASURES, strengths=[0, 1])
    mass, slant = (made.numbers["attributes"][called]["mean"] for called in MEASURES)
    assert slant == pytest.approx([0, 0.5], abs=0.02)
    assert mass[1] == pytest.approx(mass[0], rel=0.02)


# --- curves --------------------------------------------------------------------------------------


def test_a_drawn_game_stands_at_its_lines_even_where_the_codes_are_lost() -> None:
    made = images.adversarial_losses(EPOCHS, [2 * BIT] * 3, [BIT] * 3, [0.2, 0.79, 0.2])
    assert made.numbers["off_draw"] == {"critic": [0] * 3, "encoder": [0] * 3}
    assert made.numbers["blown"] == [2]
    assert lines(made)[1] == [2 * BIT] * 2
    assert lines(made)[3] == [BIT] * 2


def test_what_chance_leaves_of_a_game_is_drawn() -> None:
    even = ([2 * BIT] * 3, [BIT] * 3, [0.2, 0.3, 0.2])
    made = images.adversarial_losses(EPOCHS, *even, floor=0.1)
    assert made.numbers["floor"] == 0.1
    assert [0.1, 0.1] in lines(made, 1)


def test_without_a_kl_there_are_more_places_for_codes() -> None:
    sigma = {"no KL": [1.0, 0.1, 0.01], "VAE": [1.0, 0.5, 0.5]}
    reach = {"no KL": [1.0, 5.0, 20.0], "VAE": [1.0, 2.0, 3.0]}
    made = images.widths(EPOCHS, sigma, reach)
    assert made.numbers["places"] == {"no KL": pytest.approx(2000), "VAE": 6}
    with pytest.raises(Refused, match="give both of each"):
        images.widths(EPOCHS, sigma, {"VAE": [1.0, 2.0, 3.0]})


def test_losses_fall_or_do_not() -> None:
    assert FIGURES["losses"]().numbers["falling"] == {"a": True, "b": False}


def test_a_gap_is_test_less_train() -> None:
    assert FIGURES["gap"]().numbers["gap"] == {"a": [3, 1]}
    with pytest.raises(Refused, match="needs both"):
        images.generalisation_gap([1], {"a": [1]}, {"b": [1]})


# --- what can be worked out by hand --------------------------------------------------------------


def test_a_sum_of_gaussians_is_the_prior_only_where_all_are() -> None:
    shapes = images.sum_of_gaussians().numbers["shapes"].values()
    assert [shape["marginal"] > 1e-3 for shape in shapes] == [False, True, True]
    equal = next(iter(shapes))
    assert equal["marginal"] == pytest.approx(0, abs=1e-12)
    assert equal["information"] == pytest.approx(0, abs=1e-12)


def test_a_rate_is_a_marginal_kl_and_information() -> None:
    """By quadrature as by closed form, and as by Monte Carlo."""
    one = images.aggregate([2.0], [0.5])
    expected = float(kl_divergence(Normal(2.0, 0.5), Normal(0.0, 1.0)))
    assert one["rate"] == pytest.approx(expected)
    assert one["marginal"] == pytest.approx(expected)
    mu, sigma = torch.tensor([-0.8, 1.1]), torch.tensor([0.5, 0.9])
    q = MixtureSameFamily(Categorical(torch.ones(2)), Normal(mu, sigma))
    z = q.sample((200_000,))  # type: ignore[no-untyped-call]
    log_q = q.log_prob(z)  # type: ignore[no-untyped-call]
    sampled = float((log_q - Normal(0.0, 1.0).log_prob(z)).mean())  # type: ignore[no-untyped-call]
    assert images.aggregate(mu.tolist(), sigma.tolist())["marginal"] == pytest.approx(
        sampled, abs=0.01
    )


def test_information_of_two_posteriors_is_a_bit_at_most_or_they_are_refused() -> None:
    """Beyond the points where densities are added up it would be without bounds, or negative."""
    for mu, sigma in (([-24.0, 24.0], [1.0, 1.0]), ([-0.1003, 0.1], [0.002, 0.002])):
        assert images.aggregate(mu, sigma)["information"] == pytest.approx(BIT)
    for mu, sigma in (([-50.0, 50.0], [1.0, 1.0]), ([0.0, 0.0], [1e-4, 1e-4])):
        with pytest.raises(Refused, match=r"widths of 0\.002 or more"):
            images.aggregate(mu, sigma)


def test_one_bit_collapses_only_where_the_past_is_seen() -> None:
    """x = (b, b), entropy ln 2. Alone, the code saves ln 2; with the past it saves nothing."""
    perfect, empty = images.one_bit(0.0), images.one_bit(0.5)
    assert perfect == pytest.approx({"rate": BIT, "alone": BIT, "past": BIT})
    assert empty == pytest.approx({"rate": 0, "alone": 2 * BIT, "past": BIT})
    h = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    between = {"rate": BIT - h, "alone": BIT + 2 * h, "past": BIT}
    assert images.one_bit(0.1, copies=3) == pytest.approx(between)
    assert images.one_bit(0.3, copies=1) == pytest.approx(
        {"rate": images.one_bit(0.3)["rate"], "alone": BIT, "past": BIT}
    )


@pytest.mark.parametrize("error", [0.0, 0.1, 0.5])
def test_one_bit_is_the_sum_over_all_its_cases(error: float) -> None:
    """E_q [log q(z|x) - log p(z) - log p(x|z)], each term looked up in the joint table."""
    joint = np.array([[1 - error, error], [error, 1 - error]]) / 2  # of b and z
    told = joint / joint.sum(0)  # p(b | z), of the best decoder
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.nansum(joint * (np.log(2 * joint) - np.log(0.5)))
        first = -np.nansum(joint * np.log(told))
    found = images.one_bit(error)
    assert found["rate"] == pytest.approx(rate)
    assert found["alone"] == pytest.approx(rate + 2 * first)  # each bit from z
    assert found["past"] == pytest.approx(rate + first)  # the second from the first


def test_any_cost_of_the_code_tips_a_decoder_that_sees_the_past_into_collapse() -> None:
    costs = [images.one_bit_gaussian(m)["past"] for m in (0.0, 0.5, 0.8, 0.9)]
    assert costs[0] == pytest.approx(BIT)
    assert costs == sorted(costs) and costs[-1] > BIT + 0.1
    best = images.one_bit_toy().numbers["best_rate"]
    assert best["gaussian_past"] == 0 and best["gaussian_alone"] > 0.5
    assert best["bit_alone"] == pytest.approx(BIT)


# --- masks ---------------------------------------------------------------------------------------


def test_a_receptive_field_is_a_share_of_earlier_pixels_and_a_leak_is_told() -> None:
    seen = np.zeros((3, 4), bool)
    seen[0] = True
    found = images.receptive_field(seen, (1, 2)).numbers
    assert (found["seen"], found["earlier"], found["share"], found["too_soon"]) == (4, 6, 2 / 3, 0)
    seen[1, 2:] = True  # itself, and the next
    assert images.receptive_field(seen, (1, 2)).numbers["too_soon"] == 2
    assert images.receptive_field(seen[:1] * 0, (0, 0)).numbers["share"] == 1
    with pytest.raises(Refused, match="row and a column"):
        images.receptive_field(seen, (3, 0))


def test_masks_are_counted() -> None:
    mask_a = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    found = images.kernel_masks({"A": mask_a}).numbers["masks"]["A"]
    assert (found["kept"], found["weights"], found["mask"]) == (4, 9, mask_a.tolist())


# --- the judge -----------------------------------------------------------------------------------


def test_a_judge_reads_digits_it_has_not_seen_the_same_each_time() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images / 16)[..., None]
    train, test = slice(0, 1200), slice(1200, None)
    judge, again = (
        images.fit_judge(pixels[train], digits.target[train], hidden=64, steps=400)
        for _ in range(2)
    )
    assert judge.accuracy(pixels[test], digits.target[test]) > 0.88
    p = judge.probabilities(pixels[test])
    assert p.sum(1) == pytest.approx(1)
    assert (p == again.probabilities(pixels[test])).all()


def test_a_judge_answers_in_the_labels_it_was_given() -> None:
    pixels = np.repeat([0.0, 1.0], 50).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1))
    labels = np.repeat([7, 3], 50)
    judge = images.fit_judge(pixels, labels, hidden=8, steps=200)
    assert judge.read(pixels[[0, -1]]).tolist() == [7, 3]
    with pytest.raises(Refused, match="two classes"):
        images.fit_judge(pixels, labels * 0)


def test_confidence_without_entropy_rewards_collapse() -> None:
    """A model that writes one clear digit for ever is as sure as one that writes all ten."""
    one, all_ten = np.eye(10)[[3] * 50], np.eye(10)[np.arange(50) % 10]
    collapsed, right = images.judged(one), images.judged(all_ten)
    assert collapsed["confident"] == right["confident"] == 1
    assert collapsed["class_entropy"] == 0
    assert right["class_entropy"] == pytest.approx(math.log(10))
    assert images.judged(np.full((9, 2), 0.5))["confident_classes"] is None
    assert images.hole_ratio(np.full((9, 2), 0.5), np.eye(2)) == math.inf
