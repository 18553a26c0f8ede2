"""Even ways: of what is written near a path, what goes in the smallest steps."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from echo import leans, untrained
from hypothesis import given
from hypothesis import strategies as st

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, PolyphonyCodec, TrioCodec
from seqvae.decoders import LSTMDecoder
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer
from seqvae.generate import Lean, generate
from seqvae.measures.onsets import distance, struck
from seqvae.midi import to_bytes as midi
from seqvae.midi.clips import Clip
from seqvae.music import even
from seqvae.music.even import close, evenest, off
from seqvae.music.morph import Morph, morph
from seqvae.music.taste import Taste
from seqvae.tokens import EOS

SONGS = [midi(compose(seed, metre=(4, 4), feel="straight").song) for seed in (1, 2)]
GRIDS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}


def walked(model: Explorer, **taste: Any) -> Morph:
    a, b = SONGS
    return morph(model, a, b, Taste(**{"refine": False, "bars": 2, **taste}))


def effort(steps: list[Clip], codec: MusicCodec) -> float:
    legs = sum(distance(one, other, codec.grid.steps) ** 4 for one, other in pairwise(steps))
    first, *between, last = (len(struck(clip, codec.grid.steps)) for clip in steps)
    return legs + even.OFF * float(np.sum(off(between, (first, last)) ** 2))


# --- the way -------------------------------------------------------------------------------------


@given(st.data())
def test_the_evenest_way_is_that_of_all_ways(data: st.DataObject) -> None:
    sizes = [1, *data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)), 1]
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    legs = [draw.random(pair) for pair in pairwise(sizes)]
    dear = [draw.random(size) / 4 for size in sizes[1:-1]]

    def cost(way: tuple[int, ...]) -> float:
        full = (0, *way, 0)
        paid = sum(own[place] for own, place in zip(dear, way, strict=True))
        return float(
            paid + sum(leg[pair] ** 4 for leg, pair in zip(legs, pairwise(full), strict=True))
        )

    least = min(map(cost, product(*map(range, sizes[1:-1]))))
    assert cost(tuple(evenest(legs, dear))) == pytest.approx(least)


def test_a_way_keeps_to_what_is_as_dense_as_its_ends() -> None:
    legs = [np.zeros((1, 2)), np.zeros((2, 2)), np.zeros((2, 1))]
    assert evenest(legs, [off([2, 12], (4, 6))] * 2) == [0, 0]
    assert off([0, 3], (0, 0)).tolist() == [0, 3]


@pytest.mark.parametrize("codec", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("decoding", [Decoding(), Decoding(temperature=1.0, together=True)])
def test_no_way_is_dearer_than_along_the_path(codec: MusicCodec, decoding: Decoding) -> None:
    model = untrained(codec)
    evenly, plain = (
        walked(model, way=way, decoding=decoding, steps=6, bars=4) for way in ("even", "straight")
    )
    mine, other = (effort([step.clip for step in each.written], codec) for each in (evenly, plain))
    assert mine < other
    for place in (0, -1):
        assert evenly.written[place].again.parts.keys() == plain.written[place].again.parts.keys()
        for part, notes in evenly.written[place].again.parts.items():
            assert notes.table.tolist() == plain.written[place].again.part(part).table.tolist()


def test_the_same_way_is_found_again() -> None:
    model = untrained(GRIDS["melody"])
    one, other = (walked(model, steps=5) for _ in range(2))
    for mine, its in zip(one.steps, other.steps, strict=True):
        assert mine.clip.part("melody").table.tolist() == its.clip.part("melody").table.tolist()


@pytest.mark.parametrize(
    ("codec", "taste"),
    [
        (PolyphonyCodec(bars=1), {}),
        (GRIDS["melody"], {"decoding": Decoding(beam=2)}),
        (GRIDS["melody"], {"steps": 2}),
        (GRIDS["melody"], {"steps": 200}),
    ],
    ids=["events", "beam", "ends only", "many steps"],
)
def test_what_cannot_lean_goes_all_the_same(codec: MusicCodec, taste: dict[str, Any]) -> None:
    found = walked(untrained(codec), **{"steps": 4, "bars": 1, **taste})
    assert len(found.steps) == taste.get("steps", 4)


def test_other_ways_are_refused() -> None:
    with pytest.raises(Refused, match="odd"):
        Taste(way="odd")  # type: ignore[arg-type]


def test_each_code_leans_to_the_ends_by_its_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, model = GRIDS["melody"], untrained(GRIDS["melody"])
    seen = leans(model, monkeypatch)
    found = walked(model, steps=3, refine=False)
    (a, b), mixes = (codec.encode(found.written[end].clip).ids for end in (0, -1)), 9
    z_a, z_b = model.encode([found.written[0].clip, found.written[-1].clip])
    assert len(seen) == 1 + even.DRAWS
    for z, lean in seen:
        assert len(z) == len(lean.ids) == mixes * len(even.LEANS)
        for row in range(len(z)):
            nats, mix = even.LEANS[row // mixes], row % mixes / (mixes - 1)
            assert lean.ids[row].tolist() == [a, b]
            assert lean.nats[row].tolist() == pytest.approx([nats * (1 - mix), nats * mix])
            torch.testing.assert_close(z[row], z_a + mix * (z_b - z_a))


def test_what_was_written_a_quarter_away_is_near() -> None:
    found = close([0, 1, 2, 2], [0.0, 0.25, 0.75, 1.0], 5)
    assert found.tolist() == [[True, True, False], [False, True, True], [False, False, True]]


# --- leaning -------------------------------------------------------------------------------------


def decoder() -> LSTMDecoder:
    torch.manual_seed(0)
    return LSTMDecoder(12, 3)


def test_a_lean_of_nothing_changes_nothing_and_a_strong_one_decides() -> None:
    z, ids = torch.randn(5, 3), torch.randint(4, 12, (5, 2, 7))
    plain = generate(decoder(), z, length=7, end=None)

    def leaning(nats: list[float]) -> list[list[int]]:
        lean = Lean(ids, torch.tensor(nats).expand(5, 2))
        return generate(decoder(), z, length=7, end=None, lean=lean).tolist()

    assert leaning([0.0, 0.0]) == plain.tolist()
    assert leaning([1e4, 0.0]) == ids[:, 0].tolist()
    assert leaning([1e4, 2e4]) == ids[:, 1].tolist()


def test_a_lean_adds_up_where_both_have_the_same_token() -> None:
    lean = Lean(torch.tensor([[[5], [5]], [[5], [6]]]), torch.tensor([[1.0, 2.0], [1.0, 2.0]]))
    found = lean.add(torch.zeros(1, 8), torch.tensor([1]), 0)
    assert found.tolist() == [[0, 0, 0, 0, 0, 1, 2, 0]]
    assert lean.add(torch.zeros(1, 8), torch.tensor([0]), 0)[0, 5] == 3.0


def test_rows_that_have_ended_take_their_leans_with_them() -> None:
    z, ids = torch.randn(6, 3), torch.full((6, 1, 8), EOS)
    for row in range(6):
        ids[row, 0, : row + 1] = 4 + row
    found = generate(decoder(), z, length=8, lean=Lean(ids, torch.full((6, 1), 1e4)))
    for row in range(6):
        assert found[row, : row + 2].tolist() == [4 + row] * (row + 1) + [EOS]


def test_many_codes_lean_each_its_own_way() -> None:
    """More than are written at once."""
    model = untrained(GRIDS["melody"])
    length = GRIDS["melody"].length
    assert length is not None
    ids = torch.randint(4, model.codec.vocab, (300, 1, length))
    found = model.write(torch.randn(300, 6), lean=Lean(ids, torch.full((300, 1), 1e4)))
    assert found == ids[:, 0].tolist()


def test_a_beam_does_not_lean() -> None:
    model = untrained(GRIDS["melody"])
    lean = Lean(torch.zeros(1, 1, 32, dtype=torch.long), torch.ones(1, 1))
    with pytest.raises(Refused, match="beam"):
        model.write(torch.zeros(1, 6), Decoding(beam=2), lean=lean)
