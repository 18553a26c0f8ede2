"""Laws of form: what repeats has one letter, and distances are in widths of the posterior."""

import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from console import Command
from echo import echo, opened, untrained
from small import make
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from seqvae.cli.forms import phrases
from seqvae.codecs import MelodyCodec
from seqvae.decoders import LSTMDecoder
from seqvae.errors import Refused
from seqvae.explore import Explorer
from seqvae.midi import TICKS, Metre, MetreChange, Song, Track, notes_of, read, to_bytes
from seqvae.music.form import (
    NEAR,
    SILENT,
    agreement,
    distances,
    form,
    letters,
    picture,
    report,
    save,
)
from seqvae.priors import StandardNormal
from seqvae.vae import VAE, Batch, Encoder

BAR = 4 * TICKS
CODEC = MelodyCodec(bars=1)
PHRASES: dict[str, list[tuple[float, int]]] = {
    "x": [(0, 60), (1, 62), (2, 64), (3, 65)],
    "y": [(0, 72), (1, 71), (2, 69), (3, 67)],
    "z": [(0, 55), (1.5, 57), (3, 59)],
    " ": [],
    "p": [(3, 67)],  # a pickup
}


class Wide(Encoder):
    """The code of a window is its ids, with one width for all."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, batch: Batch) -> Distribution:
        mean = batch.x.float()
        return Independent(Normal(mean, torch.full_like(mean, self.width)), 1)


def reader(width: float, codec: MelodyCodec = CODEC) -> Explorer:
    decoder = make(LSTMDecoder, vocab=codec.vocab, latent=codec.length)
    vae = VAE(Wide(width), StandardNormal(codec.length), decoder)
    return opened(vae, codec, codec.length)


def song(bars: str, semitones: int = 0, **other: Any) -> bytes:
    """A bar for each letter of `PHRASES`."""
    rows = [
        (round(bar * BAR + beat * TICKS), round(bar * BAR + (beat + 1) * TICKS), pitch, 80)
        for bar, letter in enumerate(bars)
        for beat, pitch in PHRASES[letter]
    ]
    notes = notes_of(rows).moved(semitones=semitones)
    return to_bytes(Song([Track(notes, "melody")], length=len(bars) * BAR, **other))


def line(bars: str, width: float = 0.5, **other: Any) -> str:
    return form(reader(width), song(bars), **other).letters.replace(" ", "")


def test_what_repeats_has_one_letter_and_letters_come_in_order() -> None:
    assert line("xyxzyx") == "ABACBA"


def test_silence_has_no_letter_and_a_pickup_is_left_to_its_bar() -> None:
    assert line("  pxy xy") == "AB-AB"
    found = form(reader(0.5), song("  pxy xy"))
    assert [each.bar for each in found.stretches] == [4, 5, 6, 7, 8]
    assert found.stretches[2].likeness is None and found.stretches[0].start == pytest.approx(6.0)


def test_codes_are_the_windows_own_one_after_the_other() -> None:
    model, source = reader(0.5), song("xyzx")
    found = form(model, source)
    assert found.codes.shape == (4, CODEC.length) and torch.equal(found.codes[0], found.codes[3])
    assert torch.equal(found.widths, torch.full_like(found.codes, 0.5))


def test_wider_posteriors_call_more_the_same_and_near_says_how_much() -> None:
    assert line("xyz", 1e4) == "AAA" and line("xyz", 0.01) == "ABC"
    assert line("xyz", 0.01, near=1e9) == "AAA"


def test_a_draw_lies_at_distance_one_from_its_mean() -> None:
    torch.manual_seed(0)
    mean, stddev = torch.randn(1, 400), torch.rand(1, 400) + 0.1
    draws = mean + stddev * torch.randn(200, 400)
    both = torch.cat([mean, draws]), stddev.expand(201, -1)
    apart = distances(*both)[0, 1:]
    assert float(apart.square().mean().sqrt()) == pytest.approx(1.0, abs=0.02)


def test_distances_are_the_bhattacharyya_distance_of_equal_widths() -> None:
    """D_B = 1/8 sum (m - m')^2 / s^2, which is minus the log of the integral of sqrt(p q)."""
    torch.manual_seed(1)
    mean, width = torch.randn(5, 3), 0.7
    apart = distances(mean, torch.full((5, 3), width))
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for own in mean.T.double():
        p = torch.exp(-((grid - own[:, None]) / width).square() / 2) / (width * math.tau**0.5)
        root = (p[:, None] * p).sqrt()
        expected -= torch.trapezoid(root, grid, dim=-1).log()
    torch.testing.assert_close(apart.double().square() * 3 / 8, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(apart, apart.T)
    assert distances(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 0)


def test_a_window_is_of_the_nearest_first() -> None:
    at = torch.tensor([0.0, 1.5, 0.9])
    apart = (at[:, None] - at).abs()
    assert letters(apart, [True] * 3) == [0, 1, 1]
    assert letters(apart, [False, True, True]) == [None, 1, 1]


def test_agreement_is_kappa_one_of_equals_and_zero_by_chance() -> None:
    draw = np.random.default_rng(0)
    one, other = (np.triu(draw.random((300, 300)) < 0.3, 1) for _ in range(2))
    same, apart = agreement(one, one), agreement(one, other)
    assert same is not None and same.agreed == 1 and same.kappa == 1
    assert apart is not None and apart.kappa == pytest.approx(0, abs=0.02)
    assert apart.chance == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    all_apart = agreement(np.eye(3, dtype=bool), np.eye(3, dtype=bool))
    assert all_apart is not None and all_apart.kappa is None
    assert agreement(np.eye(1, dtype=bool), np.eye(1, dtype=bool)) is None


def test_codes_that_are_the_notes_agree_with_them() -> None:
    told = form(reader(0.5), song("xyxzyx")).agreement
    assert told is not None and (told.pairs, told.agreed, told.kappa) == (15, 1.0, 1.0)


def test_windows_beside_the_bars_are_not_compared_and_that_is_said() -> None:
    source = song("xyxz", metres=[MetreChange(0, Metre(5, 4))])
    found = form(reader(0.5), source)
    assert found.agreement is None and any("not compared" in line for line in found.said)
    assert any("metre: 5/4; the model knows 4/4" in line for line in found.said)
    assert len(found.stretches) == math.ceil(len(read(source).bars) * 5 / 4)
    assert found.each == report(found)["window"] == "4 beats"
    assert form(reader(0.5), song("xy")).each == "1 bar"


def test_a_window_is_of_the_bar_in_which_it_begins() -> None:
    """A bar of a beat and bars of 7/8: they begin at beats 12, 13, 16.5, 20; windows by four."""
    odd = song("xyxyxy", metres=[MetreChange(13 * TICKS, Metre(7, 8))])
    assert read(odd).bars.start.tolist()[3:7] == [5760, 6240, 7920, 9600]
    found = form(reader(0.5), odd)
    assert [each.bar for each in found.stretches][:6] == [1, 2, 3, 4, 5, 7]


def test_what_lies_behind_the_last_bar_looked_at_is_told_and_has_its_letter() -> None:
    found = form(reader(0.5), song("xy" * 195))
    assert found.letters.replace(" ", "") == "AB" * 195
    assert found.agreement is not None and found.agreement.pairs == 384 * 383 // 2
    assert found.said[-1].endswith("bars up to 384 are looked at: 6 windows from bar 385 on")
    assert not any("looked at" in line for line in form(reader(0.5), song("xyxy")).said)


def test_the_command_calls_the_same_what_form_does() -> None:
    assert inspect.signature(phrases).parameters["near"].default == NEAR


def test_codes_without_a_width_are_refused() -> None:
    with pytest.raises(Refused, match="are points: without a width"):
        form(echo(CODEC), song("xy"))
    with pytest.raises(Refused, match="near = 0"):
        form(reader(1.0), song("xy"), near=0.0)


def test_a_form_is_drawn_and_written(tmp_path: Path) -> None:
    found = form(untrained(CODEC), song("xyxz "))
    axis = picture(found).axes[0]
    shown: Tensor = torch.tensor(np.asarray(axis.images[0].get_array()))
    torch.testing.assert_close(shown.float(), 1 / (1 + found.distances.square()))
    assert [tick.get_text() for tick in axis.get_xticklabels()] == found.letters.split()
    assert [path.name for path in save(found, tmp_path / "new")] == ["form.png", "form.json"]
    said = json.loads((tmp_path / "new" / "form.json").read_bytes())
    assert said == json.loads(json.dumps(report(found)))
    assert len(said["codes"]) == len(said["windows"]) == 5 and said["form"].endswith(SILENT)


def test_phrases_are_listed_at_the_command(
    seqvae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run that comes with the package, which reads two bars at a time."""
    monkeypatch.chdir(tmp_path)
    Path("x.mid").write_bytes(song("xxyyxxyy"))
    done = seqvae("phrases", "x.mid", "--out", "new", "--device", "cpu")
    assert "form, 2 bars a letter: A B A B" in done.out and "of 6 pairs agree" in done.out
    assert Path("new/form.png").stat().st_size > 1000
    [row] = seqvae("phrases", "melody", "x.mid", "--json").rows
    assert row["form"] == "A B A B" and row["agreement_with_notes"]["kappa"] == 1
    drums = notes_of([(i * TICKS, i * TICKS + 60, (36, 38)[i % 2], 80) for i in range(32)])
    Path("d.mid").write_bytes(to_bytes(Song([Track(drums, "kit", drums=True)])))
    done = seqvae("phrases", "d.mid")
    assert "it is read by the run 'drums'" in done.err and "A A A A" in done.out
    Path("empty.mid").write_bytes(to_bytes(Song([])))
    assert (
        "empty.mid holds no notes. Give a file with some." in seqvae("phrases", "empty.mid").line
    )
    two = seqvae("phrases", "x.mid", "d.mid")
    assert two.status == 2 and "2 songs: one at a time, as in seqvae phrases x.mid" in two.line
    for wrong in (("x.mid", "--out", "new"), ("a", "b", "x.mid"), ("no.mid",)):
        assert seqvae("phrases", *wrong).status == 2
