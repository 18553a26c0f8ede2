"""Paths that are known beforehand: straight ones, leaps, splices, and what they cost."""

import math

import pytest
import torch
from small import make

from seqvae.codecs import MelodyCodec
from seqvae.data import InMemory, in_order
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import EmptyEncoder
from seqvae.errors import Refused
from seqvae.measures.codes import encode_all
from seqvae.measures.way import Band, band, density, nats_a_note, splices, way
from seqvae.midi import Metre, notes_of
from seqvae.midi.clips import Clip, split
from seqvae.priors import StandardNormal
from seqvae.vae import VAE

BAR = 1920
CODEC = MelodyCodec(bars=1)


def tune(*pitches: int | None, bars: int = 4) -> Clip:
    """A pitch a bar; None rests."""
    rows = [(BAR * i, BAR * i + 480, p, 80) for i, p in enumerate(pitches) if p is not None]
    return Clip({"melody": notes_of(rows)}, bars * BAR)


A, B = tune(60, 60, 60, 60), tune(60, 62, 65, 69)


def language_model() -> VAE:
    torch.manual_seed(0)
    decoder = make(LSTMDecoder, vocab=CODEC.vocab, latent=0)
    return VAE(EmptyEncoder(), StandardNormal(0), decoder).eval()


def test_a_splice_goes_bar_by_bar_from_one_to_the_other() -> None:
    found = splices(A, B, 5)
    pitches = [clip.part("melody").pitch.tolist() for clip in found]
    assert pitches == [
        [60, 60, 60, 60],
        [60, 60, 60, 69],
        [60, 60, 65, 69],
        [60, 62, 65, 69],
        [60, 62, 65, 69],
    ]
    assert found[0] == A and found[-1] == B
    assert len(splices(A, B, 9)) == 9 and {clip.length for clip in splices(A, B, 9)} == {4 * BAR}
    fine = B.rescaled(960)
    assert splices(A, fine, 2)[1].part("melody") == B.part("melody")


def test_splices_that_do_not_fall_together_are_refused() -> None:
    with pytest.raises(Refused, match="the bars of both must fall together"):
        splices(A, tune(60, bars=3), 3)
    with pytest.raises(Refused, match="the bars of both"):
        splices(A, Clip(B.parts, B.length, metre=Metre(3, 4)), 3)
    with pytest.raises(Refused, match="steps = 0"):
        splices(A, B, 1)


def test_a_straight_path_has_no_detour_and_a_leap_is_the_whole() -> None:
    found = way(splices(A, B, 5))
    assert found["whole"] == 0.375 and found["even_share"] == 0.25
    assert found["detour"] == pytest.approx(1.0) and found["onward"] == 1.0
    leap = way([A, A, A, B, B])
    assert leap["largest_share"] == 1.0 == leap["detour"] and leap["onward"] == 1.0
    away = way([A, tune(None, None, None, 40), B])
    assert away["detour"] > 1 and away["onward"] < 1
    assert [step["from_a"] for step in leap["steps"]] == [0, 0, 0, 0.375, 0.375]
    assert [step["to_b"] for step in leap["steps"]] == [0.375, 0.375, 0.375, 0, 0]
    assert [step["step"] for step in leap["steps"]] == [0, 0, 0, 0.375, 0]


def test_ends_that_are_alike_have_no_share_of_nothing() -> None:
    found = way([A, A.moved(5)])
    assert found["whole"] == 0 and found["largest_share"] is None is found["detour"]
    assert found["dense"] is None is found["density_off"] is found["typical"]


def test_a_step_is_dense_between_the_ends_and_no_denser() -> None:
    half, full = tune(60, None, 60, None), tune(60, 60, 60, 60)
    assert (density(half), density(full), density(tune())) == (1 / 8, 1 / 4, 0.0)
    found = way([half, tune(60, 60, 60), tune(60), full])
    assert found["dense"] == 0.5
    assert found["density_off"] == pytest.approx((1 / 8 - 1 / 16) / (3 / 16))
    assert way([tune(), A, tune()])["density_off"] is None, "a share of nothing"


def test_a_step_is_typical_in_the_band_of_real_data_and_never_without_notes() -> None:
    real = [*map(float, range(101)), None]
    assert band(real) == (5.0, 95.0)
    found = way([A, A, A, A, B], [1.0, 2.0, 9.0, None, 1.0], Band(1.5, 3.0))
    assert found["typical"] == pytest.approx(1 / 3) and found["all_typical"] is False
    assert way([A, A, A, A, B], [1.0, 1.0, 9.0, None, 1.0], Band(1.5, 3.0))["dull"] == 1 / 3
    assert way([A, A, B], [9.0, 2.0, 9.0], Band(2.0, 2.0))["all_typical"] is True
    assert way([A, A, B], [9.0, 2.0, 9.0])["typical"] is None
    with pytest.raises(Refused, match="a band of no values"):
        band([None])


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(Refused, match="a path of 1 steps"):
        way([A])
    with pytest.raises(Refused, match="nats of 1 steps, of a path of 2"):
        way([A, B], [1.0])
    with pytest.raises(Refused, match="give those of every step"):
        way([A, B], typical=Band(0, 1))


def test_a_note_costs_what_its_windows_cost_the_language_model() -> None:
    model, clip = language_model(), tune(60, None, 62, 64)
    ids = [CODEC.encode(window).ids for window in split(clip, CODEC.grid)]
    nll = encode_all(model, in_order(InMemory(ids), 4)).reconstruction
    got = nats_a_note(model, CODEC, [tune(), clip, A], size=2)
    assert got[0] is None and got[1] == pytest.approx(float(nll.sum()) / 3, rel=1e-5)
    held = Clip({"melody": notes_of([(0, 2 * BAR, 60, 80)])}, 2 * BAR)
    [each] = nats_a_note(model, CODEC, [held])
    assert each is not None and math.isfinite(each), "struck in both windows: two notes"
    assert nats_a_note(model, CODEC, []) == []


def test_what_has_a_code_is_no_language_model() -> None:
    decoder = make(LSTMDecoder, vocab=CODEC.vocab, latent=2)
    model = VAE(EmptyEncoder(), StandardNormal(2), decoder)
    with pytest.raises(Refused, match="latent = 0"):
        nats_a_note(model, CODEC, [A])
