"""Tours and squares: at a song's own place its own phrase, between them what the weights say."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo import echo, untrained

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, TrioCodec, WordCodec
from seqvae.errors import Refused
from seqvae.explore import Decoding
from seqvae.midi import TICKS, Metre, MetreChange, Song, Tempo, Track, notes_of, read, write
from seqvae.midi import to_bytes as midi
from seqvae.midi.keys import Move
from seqvae.midi.parts import NoPart
from seqvae.music.album import Phrase
from seqvae.music.feel import Touch, swing
from seqvae.music.morph import morph
from seqvae.music.scrapbook import file_names, folder_for, long_score, save
from seqvae.music.taste import Taste
from seqvae.music.tour import Tour, legs, snake, square, tour

BEAT, BAR = TICKS, 4 * TICKS
CODECS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}
ECHO = echo(CODECS["melody"])
MODES = ("major", "minor", "major", "minor")
SONGS = [
    compose(seed, key=key, mode=mode, metre=(4, 4), feel="straight").song
    for seed, key, mode in zip((3, 6, 7, 8), "CDGA", MODES, strict=True)
]


def walked(songs: Sequence[Song], loop: bool = False, **taste: Any) -> Tour:
    return tour(ECHO, [*map(midi, songs)], Taste(**{"steps": 3, **taste}), loop=loop)


def squared(songs: Sequence[Song] = SONGS, **taste: Any) -> Tour:
    return square(ECHO, [*map(midi, songs)], Taste(**{"steps": 3, **taste}))


def table(clip: Any, part: str = "melody") -> list[list[int]]:
    return sorted(clip.part(part).table.tolist())


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 7])
@pytest.mark.parametrize("loop", [False, True])
def test_a_tour_calls_at_every_song_in_order_with_its_steps_between(
    steps: int, loop: bool
) -> None:
    places = legs(4, steps, loop=loop)
    assert len(places) == (4 if loop else 3) * (steps - 1) + 1
    calls = [place.end for place in places[:: steps - 1]]
    assert calls == [0, 1, 2, 3, 0][: len(calls)]
    assert sum(place.end is not None for place in places) == len(calls)
    for place in places:
        assert sum(place.weights) == pytest.approx(1)
        assert {n for n, w in enumerate(place.weights) if w} <= set(place.leg)
        assert place.weights[place.leg[0]] == pytest.approx(1 - place.mix)
    for one, other in pairwise(places):
        apart = np.abs(np.subtract(one.weights, other.weights)).sum()
        assert apart == pytest.approx(2 / (steps - 1)), "every step is as long"


@pytest.mark.parametrize("side", [2, 3, 5])
def test_a_square_is_bilinear_and_neighbours_in_time_are_neighbours(side: int) -> None:
    places = snake(side)
    assert {(p.row, p.column) for p in places} == {
        (r, c) for r in range(side) for c in range(side)
    }
    for one, other in pairwise(places):
        assert abs(one.row - other.row) + abs(one.column - other.column) == 1
    for place in places:
        v, u = place.row / (side - 1), place.column / (side - 1)
        bilinear = ((1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u)
        assert place.weights == pytest.approx(bilinear)
    corners = {place.end: (place.row, place.column) for place in places if place.end is not None}
    last = side - 1
    assert corners == {0: (0, 0), 1: (0, last), 2: (last, 0), 3: (last, last)}


# --- what is heard -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_songs_own_place_has_its_own_phrase_and_its_code_brings_it_back(
    codec: MusicCodec,
) -> None:
    model, files = echo(codec), [*map(midi, SONGS)]
    for found in (tour(model, files, Taste(steps=2)), square(model, files, Taste(steps=2))):
        assert [end.letter for end in found.ends] == [*"ABCD"]
        assert [end.f1 for end in found.ends] == [1.0] * 4
        for stop in found.stops:
            number = stop.place.end
            assert number is not None and stop.alike[number] == 1.0
            end = found.ends[number]
            for part, notes in end.piece.clip.parts.items():
                up = end.move.semitones * (part != "drums")
                moved = notes.table + np.array([0, 0, up, 0])
                assert table(stop.clip, part) == sorted(moved.tolist())


def test_a_tour_of_two_is_their_morph() -> None:
    for decoding in (Decoding(together=True), Decoding(temperature=1.0, together=True, seed=3)):
        model = untrained(CODECS["melody"])
        taste = Taste(steps=5, refine=False, decoding=decoding)
        files = midi(SONGS[0]), midi(SONGS[1])
        pair, found = morph(model, *files, taste), tour(model, files, taste)
        assert len(found.stops) == 5
        for step, stop in zip(pair.steps, found.stops, strict=True):
            assert stop.place.mix == pytest.approx(step.mix)
            for one, other in ((step.clip, stop.clip), (step.again, stop.again)):
                assert table(one) == table(other) and one.qpm == pytest.approx(other.qpm)
        assert [tuple(end) for end in found.ends][1][2:] == tuple(pair.both[1])[2:]


def test_a_leg_is_the_same_whatever_the_tour() -> None:
    model = untrained(CODECS["melody"])
    taste = Taste(steps=3, refine=False)
    files = [*map(midi, SONGS[:3])]
    home, whole = tour(model, files, taste, loop=True), tour(model, files, taste)
    assert [table(s.clip) for s in home.stops[:5]] == [table(s.clip) for s in whole.stops]
    assert home.stops[-1].clip == home.stops[0].clip
    there_and_back = tour(model, files[:2], taste, loop=True)
    calls = [stop.place.weights for stop in there_and_back.stops]
    assert calls == [(1, 0), (0.5, 0.5), (0, 1), (0.5, 0.5), (1, 0)]
    assert table(there_and_back.stops[1].clip) == table(there_and_back.stops[3].clip)


def test_the_sides_of_a_square_are_morphs() -> None:
    model = untrained(CODECS["melody"])
    taste = Taste(steps=3, refine=False, key="keep", way="straight")
    found = square(model, [*map(midi, SONGS)], taste)
    cells = {(stop.place.row, stop.place.column): stop for stop in found.stops}
    # A's to B's and A's to C's: the key and the bars of both are A's.
    for side, other in ((lambda i: (0, i), 1), (lambda i: (i, 0), 2)):
        pair = morph(model, midi(SONGS[0]), midi(SONGS[other]), taste)
        for i, step in enumerate(pair.steps):
            assert table(cells[side(i)].again) == table(step.again)


def test_tempo_and_velocity_are_means_by_weight() -> None:
    rows = [(i * BEAT, (i + 1) * BEAT, 60 + 2 * (i % 4), 1) for i in range(16)]
    loud = (20, 40, 60, 120)
    tempos = (100.0, 110.0, 121.0, 130.0)
    songs = [
        Song([Track(notes_of([(s, e, p, v) for s, e, p, _ in rows]))], tempos=[Tempo(0, qpm)])
        for v, qpm in zip(loud, tempos, strict=True)
    ]
    for stop in squared(songs).stops:
        weights = stop.place.weights
        assert stop.clip.qpm == pytest.approx(math.prod(np.power(tempos, weights)), 1e-4)
        expected = float(np.dot(loud, weights))
        assert stop.again.part("melody").velocity.mean() == pytest.approx(expected, abs=0.51)


def test_all_are_brought_into_one_key() -> None:
    found = walked(SONGS[:3])
    assert found.key is not None and found.key.name == "C major"
    assert found.ends[0].move == Move()
    for end, song in zip(found.ends[1:], SONGS[1:], strict=False):
        pair = morph(ECHO, midi(SONGS[0]), midi(song), Taste(steps=2))
        assert end.move == pair.moved[1]
    into_b = walked(SONGS[:3], key="b")
    assert into_b.ends[1].move == Move() != into_b.ends[0].move
    kept = walked(SONGS[:3], key="keep")
    assert kept.key is None and {end.move for end in kept.ends} == {Move()}


def test_a_song_that_is_unsure_of_its_key_is_moved_in_octaves_only_and_named() -> None:
    doubtful = Song([Track(notes_of([(i * BEAT, (i + 1) * BEAT, 37, 80) for i in range(32)]))])
    found = walked([SONGS[0], SONGS[1], doubtful])
    assert found.ends[2].move.key == 0 and found.ends[2].move.octaves
    assert found.key is not None and found.ends[1].move.key
    assert "that of C is too weak evidence" in "\n".join(found.said)


def test_other_metres_are_read_in_the_first_ones_and_said_of_each() -> None:
    waltz = replace(SONGS[1], metres=[MetreChange(0, Metre(3, 4))])
    found = walked([SONGS[0], waltz, waltz])
    assert {stop.clip.metre for stop in found.stops} == {Metre(4, 4)}
    said = "\n".join(found.said)
    assert "4/4, A's; B is in 3/4" in said and "4/4, A's; C is in 3/4" in said
    assert len({stop.clip.length for stop in found.stops}) == 1


def test_what_is_asked_of_a_and_b_holds_for_them_alone() -> None:
    found = walked([SONGS[0]] * 3, from_a=3, from_b=5, track_b="bass")
    assert [end.piece.bar for end in found.ends][:2] == [3, 5]
    tracks = [end.piece.parts["melody"].how for end in found.ends]
    assert "bass" in tracks[1] and "bass" not in tracks[2]


def test_touch_is_done_to_every_stop() -> None:
    flat = Touch(velocity="flat", quantise=100.0, swing="60")
    for found in (walked(SONGS[:3], touch=flat), squared(touch=flat)):
        for stop in found.stops:
            notes = stop.clip.part("melody")
            assert len({*notes.velocity.tolist()}) <= 1
            own = stop.place.end  # a swing that cannot be told is left as it is
            if own is not None and swing(found.ends[own].piece.clip) is not None:
                assert {*(notes.start % BEAT).tolist()} <= {0, 144, 288, 384}
        assert "swing: A's" in "\n".join(found.said)
    human = walked(SONGS[:3], touch=Touch(humanise=50.0))
    assert "humanised by 50 %" in human.said


# --- what does not fit ---------------------------------------------------------------------------


def test_what_cannot_be_toured_is_refused_by_name() -> None:
    files = [*map(midi, SONGS)]
    with pytest.raises(Refused, match="1 files: a tour goes through 2 to 26"):
        tour(ECHO, files[:1])
    with pytest.raises(Refused, match="27 files"):
        tour(ECHO, files[:1] * 27)
    for count in (2, 3, 5):
        with pytest.raises(Refused, match=f"{count} files: a grid has one at each of its 4"):
            square(ECHO, (files * 2)[:count])
    with pytest.raises(Refused, match="3 files, 200 steps on each leg are 399 phrases; 256"):
        tour(ECHO, files[:3], Taste(steps=200))
    with pytest.raises(Refused, match="a grid of 17 times 17 are 289 phrases"):
        square(ECHO, files, Taste(steps=17))
    with pytest.raises(Refused, match="--humanise mixes how two"):
        square(ECHO, files, Taste(touch=Touch(humanise=5.0)))
    with pytest.raises(Refused, match="--key glide goes from one key to one other"):
        tour(ECHO, files, Taste(key="glide"))
    with pytest.raises(Refused, match="reads sentences, not MIDI"):
        tour(untrained(WordCodec(["a", "b"])), files)
    with pytest.raises(Refused, match="holds no notes"):
        tour(ECHO, [*files, midi(Song([]))])
    alone = Song([SONGS[0].tracks[0]], tempos=SONGS[0].tempos, name="alone.mid")
    with pytest.raises(NoPart, match="no drums"):
        tour(echo(CODECS["drums"]), [*files, midi(alone)])


# --- files ---------------------------------------------------------------------------------------


def test_names_say_where_a_phrase_lies_and_sort() -> None:
    names = file_names(walked(SONGS[:3], loop=True, bars=2))
    assert [name.partition("_2bar_")[0] for name in names] == [
        "01of07_a100_b00",
        "02of07_a50_b50",
        "03of07_a00_b100",
        "04of07_b50_c50",
        "05of07_b00_c100",
        "06of07_c50_a50",
        "07of07_c00_a100",
    ]
    names = file_names(squared(bars=2))
    assert names == sorted(names)
    assert [name.partition("_2bar_")[0] for name in names[:5]] == [
        "row1_column1_a100_b00_c00_d00",
        "row1_column2_a50_b50_c00_d00",
        "row1_column3_a00_b100_c00_d00",
        "row2_column1_a50_b00_c50_d00",
        "row2_column2_a25_b25_c25_d25",
    ]


def test_a_folder_is_named_after_the_first_of_many() -> None:
    assert folder_for(["x/a.mid", "b b.mid"], "tour") == "tour-a-b_b"
    assert folder_for(["..mid", "b.mid", "c.mid", *"defg"], "tour") == "tour-song-b-c-and-4-more"


def test_the_long_song_has_a_marker_a_stop_in_the_order_in_which_it_is_heard() -> None:
    found = squared(bars=1)
    song = read(midi(long_score(found).song()))
    titles = [marker.text for marker in song.markers]
    assert [marker.tick for marker in song.markers] == [BAR * i for i in range(9)]
    assert titles[1] == "50% A, 50% B" and titles[4] == "25% A, 25% B, 25% C, 25% D"
    assert titles[3] == "50% B, 50% D", "the second row comes from the right"
    assert song.end == 9 * BAR
    for place, stop in enumerate(found.stops):
        assert song.qpm_at(place * BAR) == pytest.approx(stop.clip.qpm, 1e-4)
    alone = long_score(found).song(band=False)
    assert sum(len(t.notes) for t in alone.tracks) == sum(s.clip.notes for s in found.stops)


def test_a_phrase_is_played_by_whom_there_is_most_of() -> None:
    weights = [(0.5, 0.5, 0.0), (0.6, 0.4, 0.0), (0.0, 0.0, 1.0), (0.1 + 0.2, 0.3, 0.4)]
    clip = walked(SONGS[:2]).stops[0].clip
    assert [Phrase(clip, each, "").nearest for each in weights] == [1, 0, 2, 2]


@pytest.mark.parametrize("many", ["tour", "grid"])
def test_files_read_back_and_the_report_says_what_was_done(many: str, tmp_path: Path) -> None:
    files = [write(song, tmp_path / f"{n}.mid") for n, song in zip("abcd", SONGS, strict=True)]
    taste = Taste(steps=2, bars=2)
    found = square(ECHO, files, taste) if many == "grid" else tour(ECHO, files, taste, loop=True)
    made = save(found, tmp_path / "out", ECHO, stems=True)
    assert all(file.is_file() for file in made.files)
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    names = [file.relative_to(tmp_path / "out").as_posix() for file in made.files]
    assert report["files"] == names and report["what"] == many
    assert {f"{many}.mid", f"{many}_band.mid", f"{many}.png", "stems/melody.mid"} < set(names)
    assert sum("_again" in name for name in names) == 4, "of every song once"
    count = 4 if many == "grid" else 5
    assert len(report["steps"]) == count and len(report["songs"]) == 4
    assert [song["comes_back_f1"] for song in report["songs"]] == [1.0] * 4
    assert report["steps"][1]["weights"] == {"A": 0, "B": 1, "C": 0, "D": 0}
    assert report["said"] == made.said and report["key"] == "C major"
    for name in names:
        if name.endswith(".mid"):
            song = read(tmp_path / "out" / name)
            assert not song.repairs
            long = name.startswith((many, "stems"))
            assert song.end == (count if long else 1) * 2 * BAR
