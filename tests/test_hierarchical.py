"""Bar by bar: what a bar may know of others, what is written freely, and what may not be built."""

import re
from typing import Any

import pytest
import torch
from small import VOCAB, batch, loud, make, same
from torch import Tensor

from seqvae import recipe
from seqvae.build import build
from seqvae.decoders import HierarchicalDecoder
from seqvae.decoders.conductors import RecurrentConductor
from seqvae.encoders import BarwiseEncoder, HierarchicalEncoder
from seqvae.errors import Refused
from seqvae.generate import generate
from seqvae.tokens import SPECIAL

LENGTH, BARS, D = 12, 3, 5
BAR = LENGTH // BARS
WINDOWS = torch.tensor(
    [[4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5], [8, 8, 4, 4, 6, 6, 5, 5, 7, 4, 8, 6]]
)


KINDS = pytest.mark.parametrize(
    "kind", [{}, {"plan": 3}, {"recurrent": False}, {"recurrent": False, "plan": 3}]
)


def decoder_of(latent: int = D, **other: Any) -> HierarchicalDecoder:
    made = {"length": LENGTH, "bars": BARS, "latent": latent} | other
    return loud(make(HierarchicalDecoder, **made).eval())


def scores_of(decoder: HierarchicalDecoder, x: Tensor, z: Tensor) -> Tensor:
    return decoder.head(decoder.features(x, z))


@KINDS
@pytest.mark.parametrize("latent", [D, 0])
def test_a_position_sees_its_own_bar_the_token_before_it_and_no_more(
    latent: int, kind: dict[str, Any]
) -> None:
    decoder, z = decoder_of(latent, **kind), torch.randn(2, latent)
    scores = scores_of(decoder, WINDOWS, z)
    for place in range(LENGTH):
        changed = WINDOWS.clone()
        changed[:, place] = 4 + (WINDOWS[:, place] - 3) % (VOCAB - 4)
        moved = (scores_of(decoder, changed, z) - scores).abs().amax((0, 2)) > 1e-6
        end = (place // BAR + 1) * BAR
        if place == end - 1:  # of a bar's last token the next bar reads, for its first and on
            end += BAR
        assert moved.nonzero().flatten().tolist() == list(range(place + 1, min(end, LENGTH)))


@pytest.mark.parametrize("layers", [1, 2])
def test_bars_differ_by_what_the_conductor_says_of_them_and_nothing_else(
    layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, z = decoder_of(layers=layers), torch.randn(2, D)
    x = WINDOWS[:, :BAR].repeat(1, BARS)
    told = scores_of(decoder, x, z).view(2, BARS, BAR, VOCAB)
    assert (told[:, 1] - told[:, 2]).abs().amax(-1).min() > 1e-4
    alike = torch.randn(2, 1, 8).expand(-1, BARS, -1)
    monkeypatch.setattr(decoder.conductor, "forward", lambda z: alike)
    told = scores_of(decoder, x, z).view(2, BARS, BAR, VOCAB)
    same(told[:, 1], told[:, 2], 1e-6)
    assert (told[:, 0] - told[:, 1]).abs().max() > 1e-4  # one has read BOS, the other a token


def test_the_conductor_is_an_lstm_that_begins_from_the_code_and_reads_which_bar_it_is() -> None:
    decoder, z = decoder_of(), torch.randn(2, D)
    conductor = decoder.conductor
    assert isinstance(conductor, RecurrentConductor) and conductor.first is not None
    cell = conductor.first(z)
    state = (cell.tanh()[None], cell[None])
    for bar in range(BARS):
        read = torch.cat([torch.eye(BARS)[bar].expand(2, -1), z], dim=1)
        c, state = conductor.lstm(read.unsqueeze(1), state)
        same(decoder.start(z)["conducted"][:, bar], c[:, 0])


@KINDS
def test_without_a_code_a_bar_still_knows_which_it_is(kind: dict[str, Any]) -> None:
    decoder = decoder_of(0, **kind)
    told = scores_of(decoder, torch.full((1, LENGTH), 5), torch.zeros(1, 0))
    for a, b in ((5, 9), (7, 11)):  # at the same place of their bars
        assert (told[:, a] - told[:, b]).abs().max() > 1e-4


@KINDS
def test_a_bar_begins_with_the_token_that_was_written_before_it(kind: dict[str, Any]) -> None:
    """Whatever is chosen, the scores it was chosen from are those of the writing itself."""
    decoder, z = decoder_of(**kind), torch.randn(2, D)
    for written in (WINDOWS, WINDOWS.flip(1), 4 + (WINDOWS - 3) % 5):
        heard: list[Tensor] = []

        def choose(scores: Tensor, script: Tensor = written, heard: Any = heard) -> Tensor:
            heard.append(scores)
            return script[:, len(heard) - 1]

        assert torch.equal(generate(decoder, z, length=LENGTH, choose=choose, end=None), written)
        same(torch.stack(heard, 1)[..., SPECIAL:], scores_of(decoder, written, z)[..., SPECIAL:])


def test_behind_the_window_the_bars_begin_anew() -> None:
    decoder, z = decoder_of(), torch.randn(2, D)
    told = scores_of(decoder, WINDOWS.repeat(1, 3), z).view(2, 3, LENGTH, VOCAB)
    same(told[:, 1], told[:, 2])
    part = scores_of(
        decoder, WINDOWS.repeat(1, 3)[:, : 2 * LENGTH + 2], z
    )  # a bar that breaks off
    same(part[:, 2 * LENGTH :], told[:, 2, :2])


def test_a_plan_says_at_each_step_of_a_bar_what_the_conductor_has_for_it() -> None:
    decoder = decoder_of(plan=3, at_start=False, layers=1)
    assert decoder.layout is not None
    c = torch.randn(2, decoder.layout.in_features)
    told = decoder.layout(c).view(2, BAR, 3)
    x = WINDOWS[:, :BAR]
    read = torch.cat([decoder.embedding(x), told], dim=-1)
    same(decoder._read(x, decoder._told(c)), read)
    with torch.no_grad():  # step 2 of the plan is changed: what is written before it is not
        decoder.layout.bias[2 * 3 : 3 * 3] += 1.0
    z = torch.randn(2, D)
    before = scores_of(decoder, x, z)
    with torch.no_grad():
        decoder.layout.bias[2 * 3 : 3 * 3] -= 1.0
    moved = (scores_of(decoder, x, z) - before).abs().amax((0, 2)) > 1e-6
    assert moved.tolist() == [False, False, True, True]


@KINDS
@pytest.mark.parametrize("latent", [D, 0])
def test_gradient_reaches_every_weight_of_the_decoder(latent: int, kind: dict[str, Any]) -> None:
    made = {"latent": latent, "length": LENGTH, "bars": BARS, "layers": 2} | kind
    decoder = make(HierarchicalDecoder, **made)
    decoder(torch.randn(2, latent)).log_prob(WINDOWS).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_an_encoder_reads_bars_one_by_one_and_then_what_it_read() -> None:
    encoder = make(HierarchicalEncoder, length=LENGTH, bars=BARS).eval()
    items = batch(WINDOWS.tolist())
    states = []
    for bar in encoder.embedding(items.x).split(BAR, dim=1):
        _, (last, _) = encoder.inside(bar)
        states.append(torch.cat([last[0], last[1]], dim=-1))
    _, (last, _) = encoder.over(torch.stack(states, dim=1))
    expected = torch.cat([last[0], last[1]], dim=-1)
    same(encoder.summary(encoder.embedding(items.x), items), expected)


def test_bars_are_read_alike_and_laid_side_by_side() -> None:
    encoder = make(BarwiseEncoder, length=LENGTH, bars=BARS, share=3).eval()
    items = batch(WINDOWS.tolist())
    embedded = encoder.embedding(items.x)
    bars = [encoder.own(encoder.inside(bar.flatten(1))) for bar in embedded.split(BAR, dim=1)]
    assert not torch.equal(bars[0], bars[1])
    same(encoder.summary(embedded, items), torch.cat(bars, dim=-1))


@pytest.mark.parametrize("kind", [HierarchicalEncoder, BarwiseEncoder])
def test_what_is_behind_the_window_is_not_read(kind: Any) -> None:
    encoder = make(kind, length=LENGTH, bars=BARS).eval()
    longer = [[*row, 4, 5] for row in WINDOWS.tolist()]
    same(encoder(batch(longer)).mean, encoder(batch(WINDOWS.tolist())).mean)


@pytest.mark.parametrize("kind", [HierarchicalDecoder, HierarchicalEncoder, BarwiseEncoder])
def test_bars_that_do_not_divide_the_window_are_refused_with_a_number_that_does(
    kind: Any,
) -> None:
    for length, bars in ((30, 16), (8, 16), (7, 2)):
        with pytest.raises(Refused, match=f"bars = {bars} do not divide") as refused:
            make(kind, length=length, bars=bars)
        make(kind, length=length, bars=int(re.findall(r"set bars = (\d+)", str(refused.value))[0]))
    with pytest.raises(Refused, match="bars = 0"):
        make(kind, bars=0)


def test_the_shipped_pair_is_compared_at_equal_numbers_of_weights() -> None:
    vocab, length = 94, 256  # of melodies over 16 bars of 16 steps
    hierarchical, flat = (
        build(recipe.read(name), vocab, length=length).vae
        for name in ("melody-16", "melody-16-flat")
    )
    sizes = [[w.shape for w in vae.encoder.parameters()] for vae in (hierarchical, flat)]
    assert sizes[0] == sizes[1]
    counts = [sum(w.numel() for w in vae.parameters()) for vae in (hierarchical, flat)]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)
