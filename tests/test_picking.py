"""Picking: of many ways to write an item, the one that does what was asked and little else."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from echo import leans, untrained

from seqvae.attributes import attributes_of, contour_likeness, rhythm_likeness
from seqvae.codecs import Codec, DrumsCodec, MelodyCodec, WordCodec
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer
from seqvae.generate import Lean
from seqvae.steering import picking
from seqvae.steering.learning import steered
from seqvae.steering.picking import Picker
from seqvae.vectors import Vector

CODECS = {"melody": MelodyCodec(bars=1), "drums": DrumsCodec(bars=1)}
BEAM = Decoding(beam=2)


def vectors(codec: Codec) -> list[Vector]:
    """One of every attribute, of no meaning: the shift of each is drawn."""
    torch.manual_seed(0)
    shared = {"mean": 0.0, "low": 0.0, "high": 9.0, "r2": 0.5, "length": 1.0, "stretch": 1.0}
    return [
        Vector(name=name, unit="", shift=torch.randn(6), std=0.5, **shared)
        for name in attributes_of(codec)
    ]


def cost(model: Explorer, home: Sequence[int], ids: Sequence[int], name: str, s: float) -> float:
    """By the formula of `Picker`, written anew; all here have std .5."""
    one, other = model.codec.decode(home), model.codec.decode(ids)
    total = 0.0
    for known, attribute in attributes_of(model.codec).items():
        before, after = attribute.measure(one), attribute.measure(other)
        change = (after - before) / 0.5
        if np.isnan(before) != np.isnan(after):
            change = 1.0 if np.isnan(before) else -1.0
        elif np.isnan(before):
            change = 0.0
        if known != name:
            total += 4 * change**2
        else:
            short = (change < s) if s > 0 else (change > s)
            total += (80 if short else 4) * (change - s) ** 2
    contour = contour_likeness(one, other)
    total += 1 - rhythm_likeness(one, other) + (0 if np.isnan(contour) else 1 - contour)
    return float(total)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("strength", [1.0, -2.0])
@pytest.mark.parametrize("decoding", [Decoding(), BEAM], ids=["greedy", "beam"])
def test_what_is_picked_costs_no_more_than_what_was_asked_for(
    codec: Codec, strength: float, decoding: Decoding
) -> None:
    model, given = untrained(codec), vectors(codec)
    picker, z = Picker(model, given), torch.randn(5, 6)
    home = model.write(z, decoding)
    gains = []
    for vector in given[:3]:
        picked = picker.write(z, vector.name, vector.shift, strength, decoding)
        plain = model.write(steered(model, z, vector.shift, strength), decoding)
        for own, mine, other in zip(home, picked, plain, strict=True):
            pair = [cost(model, own, ids, vector.name, strength) for ids in (mine, other)]
            gains.append(pair[1] - pair[0])
    assert min(gains) >= -1e-9 and max(gains) > 0


def test_an_item_is_written_the_same_among_others() -> None:
    codec = CODECS["melody"]
    model, given = untrained(codec), vectors(codec)
    picker, z = Picker(model, given), torch.randn(30, 6)
    vector = given[0]
    together = picker.write(z, vector.name, vector.shift, 1.0)
    for row in (0, 7, 29):
        assert picker.write(z[row : row + 1], vector.name, vector.shift, 1.0) == [together[row]]


def test_nothing_is_picked_at_strength_zero_or_of_what_nothing_measures() -> None:
    codec = CODECS["melody"]
    model, given = untrained(codec), vectors(codec)
    picker, z, shift = Picker(model, given), torch.randn(4, 6), given[0].shift
    assert picker.write(z, given[0].name, shift, 0.0) == model.write(z)
    assert picker.write(z, "label=jig", shift, 1.0) == model.write(z + shift)
    assert Picker(model, []).write(z, given[0].name, shift, 1.0) == model.write(z + shift)


def test_sentences_are_picked_by_their_words() -> None:
    model = untrained(WordCodec.train(["one two three four five six"]))
    [length] = vectors(model.codec)
    z = torch.randn(6, 6)
    home, picked = model.write(z), Picker(model, [length]).write(z, "length", length.shift, 8.0)
    plain = model.write(z + 8 * length.shift)

    def missed(rows: list[list[int]]) -> float:
        lengths = [len(model.codec.decode(ids).split()) for ids in rows]
        own = [len(model.codec.decode(ids).split()) for ids in home]
        return float(np.square((np.subtract(lengths, own)) / 0.5 - 8).sum())

    assert missed(picked) <= missed(plain)


def test_what_is_no_text_has_no_length_or_none_at_all() -> None:
    length = attributes_of(WordCodec.train(["one two"]))["length"].measure
    assert (length("one two two"), length(""), length(" ")) == (3.0, 0.0, 0.0)
    assert np.isnan(length("one\0"))


def test_every_code_leans_to_what_is_written_of_its_own_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec, given = CODECS["melody"], vectors(CODECS["melody"])
    model, z = untrained(CODECS["melody"]), torch.randn(7, 6)
    write, seen = model.write, leans(model, monkeypatch)
    picked = Picker(model, given).write(z, given[0].name, given[0].shift, 1.0)
    home = write(z)
    assert len(seen) == picking.ROUNDS * (1 + picking.DRAWS) and codec.length == len(picked[0])
    codes, lean = seen[0]
    times, nats = picking.TIMES, picking.LEANS
    for row in range(len(codes)):
        which, (time, item) = row // (7 * len(times)), divmod(row % (7 * len(times)), 7)
        torch.testing.assert_close(codes[row], z[item] + times[time] * given[0].shift)
        assert lean.ids[row].tolist() == [home[item]] and lean.nats[row].item() == nats[which]
    monkeypatch.setattr(picking, "ROUNDS", 1)
    once = Picker(model, given).write(z, given[0].name, given[0].shift, 1.0)
    assert seen[picking.DRAWS + 1][1].ids[:7, 0].tolist() == once, "then towards what was picked"


def test_for_another_register_it_leans_to_the_item_transposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec, z = CODECS["melody"], torch.randn(5, 6)
    model = untrained(codec)
    [register] = [vector for vector in vectors(codec) if vector.name == "register"]
    home, seen = model.write(z), leans(model, monkeypatch)
    Picker(model, [register]).write(z, "register", register.shift, -6.0)  # of half a semitone
    down = [codec.encode(codec.decode(ids).moved(-3)).ids for ids in home]
    assert seen[0][1].ids[:5, 0].tolist() == down and down != home
    with_rests = [np.less(ids, 6).tolist() for ids in home]
    assert [np.less(ids, 6).tolist() for ids in down] == with_rests, "what stands where stays"


def test_of_two_as_long_that_with_more_of_its_words_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = untrained(WordCodec.train(["one two three four five six"]))
    encode = model.codec.encode
    home, near, far = (
        encode(text).ids for text in ("one two", "one two three four", "six five four three")
    )
    rows = iter([[home], *[[far], [near]] * 99])
    monkeypatch.setattr(
        model, "write", lambda z, *how, lean=None: [row for _ in z for row in next(rows)]
    )
    [length] = vectors(model.codec)
    assert Picker(model, [length]).write(torch.zeros(1, 6), "length", length.shift, 4.0) == [near]


def test_how_it_is_drawn_is_as_asked() -> None:
    """A length, top_k and top_p hold for every way it is written."""
    model = untrained(WordCodec.train(["one two three four five six"]))
    [length] = vectors(model.codec)
    picker, z = Picker(model, [length]), torch.randn(8, 6)
    found = picker.write(z, "length", length.shift, 20.0, Decoding(length=3))
    assert max(len(ids) for ids in found) <= 3
    greedy = Picker(model, []).write(z, "length", length.shift, 1.0, Decoding(top_k=1))
    assert greedy == model.write(z + length.shift)


def test_no_items_are_written_as_none() -> None:
    model, given = untrained(CODECS["melody"]), vectors(CODECS["melody"])
    assert Picker(model, given).write(torch.zeros(0, 6), given[0].name, given[0].shift, 1.0) == []


def test_a_lean_of_other_items_is_refused() -> None:
    model = untrained(CODECS["melody"])
    lean = Lean(torch.zeros(3, 1, 16, dtype=torch.long), torch.ones(3, 1))
    with pytest.raises(Refused, match="3 rows for 2 codes"):
        model.write(torch.zeros(2, 6), lean=lean)


def test_a_form_of_other_items_is_refused() -> None:
    model = untrained(CODECS["melody"])
    form = model.form._replace(allowed=np.full((3, 1, 2), (4, 9)))
    with pytest.raises(Refused, match="a form of 3 rows for 2 codes"):
        model.write(torch.zeros(2, 6), form=form)
    assert len(model.write(torch.zeros(3, 6), form=form)) == 3
