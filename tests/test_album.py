"""What a morph leaves: files that read back as they should, with names that sort and speak."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo import echo

from data_prep.composer import compose
from seqvae.codecs import DrumsCodec, MelodyCodec, MusicCodec, TrioCodec
from seqvae.errors import Refused
from seqvae.explore import Explorer
from seqvae.midi import TICKS, Song, Tempo, Track, notes_of, read, to_bytes, write
from seqvae.midi.clips import Clip
from seqvae.music.album import (
    clip_song,
    file_name,
    folder_name,
    free_folder,
    report,
    save,
    save_stems,
    seated,
    stems,
    step_song,
    way,
)
from seqvae.music.morph import Morph, morph
from seqvae.music.taste import Taste

BEAT, BAR = TICKS, 4 * TICKS
CODECS: dict[str, MusicCodec] = {
    "melody": MelodyCodec(bars=2),
    "drums": DrumsCodec(bars=2),
    "trio": TrioCodec(bars=1),
}


def songs(*, feel: str = "human") -> tuple[Song, Song]:
    a = compose(3, key="C", mode="major", metre=(4, 4), feel=feel).song
    b = compose(6, key="D", mode="minor", metre=(4, 4), feel=feel).song
    return a, b


def walk(explorer: Explorer, a: Song, b: Song, **taste: Any) -> Morph:
    return morph(explorer, to_bytes(a), to_bytes(b), Taste(**taste))


MELODIES = walk(echo(CODECS["melody"]), *songs(), steps=5)


def player(program: int, channel: int | None = 0, pitch: int = 60, name: str = "") -> Track:
    return Track(notes_of([(0, BEAT, pitch, 80)]), name, program, channel=channel)


def loudness(song: Song, name: str, bar: int) -> float:
    """The mean velocity of a track's notes that begin in some bars from one on."""
    notes = [t.notes for t in song.tracks if t.name == name]
    velocity = np.concatenate([n.velocity[n.start // (4 * BAR) == bar] for n in notes])
    return float(velocity.mean()) if len(velocity) else 0.0


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_morph_leaves_every_step_the_way_a_picture_and_a_report(
    codec: MusicCodec, tmp_path: Path
) -> None:
    model = echo(codec)
    a, b = (write(s, tmp_path / f"{n}.mid") for n, s in zip("ab", songs(), strict=True))
    found = morph(model, a, b, Taste(steps=3, bars=2))
    files, sound, said = save(found, tmp_path / "new" / "out", model)
    assert sound is None and all(file.is_file() for file in files)
    names = [file.name for file in files]
    key = "" if codec is CODECS["drums"] else "_(Cmaj|Amin)"
    for name, share in zip(names, ("a100_b00", "a50_b50", "a00_b100"), strict=False):
        assert re.fullmatch(rf"0\dof03_{share}_2bar_\d+bpm{key}\.mid", name), name
    assert names[3:] == [
        names[0].replace(".mid", "_again.mid"),
        names[2].replace(".mid", "_again.mid"),
        *("morph.mid", "morph_band.mid", "morph.png", "report.json"),
    ]
    assert names[:3] == sorted(names[:3])
    for file in files[:7]:
        song = read(file)
        assert not song.repairs
        assert song.end == song.bars.start[-1], "it ends on the bar"
        assert len(song.bars) == (6 if file.name.startswith("morph") else 2)
    report = json.loads((tmp_path / "new" / "out" / "report.json").read_bytes())
    assert report["said"] == said and report["files"] == names
    assert report["run"] == "echo" and report["corpus"] == "c" * 64 and report["weights_step"] == 7
    assert {"version", "torch", "taste", "device"} <= set(report)
    assert report["a"]["sha256"] != report["b"]["sha256"] and len(report["a"]["sha256"]) == 64
    assert report["a"]["comes_back_f1"] == 1.0 and report["a"]["bits_a_window"] is None
    assert report["taste"]["decoding"]["seed"] == 0
    assert [step["mix"] for step in report["steps"]] == [0, 0.5, 1]


def test_a_step_is_played_at_its_tempo_by_the_players_of_the_nearer_end() -> None:
    for step, piece in ((MELODIES.steps[0], MELODIES.a), (MELODIES.steps[-1], MELODIES.b)):
        song = read(to_bytes(step_song(MELODIES, step)))
        [track] = song.tracks
        assert track.program == piece.player("melody").program
        assert track.name == "melody" and song.qpm_at(0) == pytest.approx(step.clip.qpm, 1e-4)
        assert sorted(track.notes.table.tolist()) == sorted(
            step.clip.part("melody").table.tolist()
        )
    middle = read(to_bytes(step_song(MELODIES, MELODIES.steps[2])))
    tempos = [piece.clip.qpm for piece in (MELODIES.a, MELODIES.b)]
    assert middle.qpm_at(0) == pytest.approx(math.sqrt(tempos[0] * tempos[1]), 1e-4)


def test_the_way_has_a_marker_and_a_tempo_a_step() -> None:
    song = read(to_bytes(way(MELODIES)))
    assert [tuple(marker) for marker in song.markers] == [
        (0, "A"),
        (4 * BAR, "75% A, 25% B"),
        (8 * BAR, "50% A, 50% B"),
        (12 * BAR, "25% A, 75% B"),
        (16 * BAR, "B"),
    ]
    assert song.end == 20 * BAR
    for place, step in enumerate(MELODIES.steps):
        assert song.qpm_at(place * 4 * BAR) == pytest.approx(step.clip.qpm, 1e-4)
    assert sum(len(t.notes) for t in song.tracks) == sum(s.clip.notes for s in MELODIES.steps)


def test_drums_are_drums_wherever_their_track_stood() -> None:
    hits = Clip({"drums": notes_of([(0, 60, 36, 90)])}, BAR)
    song = clip_song(hits, {"drums": Track(hits.part("drums"), "kit", 5, channel=3)})
    [track] = read(to_bytes(song), channels=True).tracks
    assert track.drums and track.channel == 9


# --- the band ------------------------------------------------------------------------------------


def test_the_band_fades_from_one_into_the_other() -> None:
    a, b = songs()
    b = replace(b, tracks=[replace(t, name=f"{t.name} of B") for t in b.tracks])
    song = way(walk(echo(CODECS["melody"]), a, b, steps=5), band=True)
    of_a = [loudness(song, "bass", step) for step in range(5)]
    of_b = [loudness(song, "bass of B", step) for step in range(5)]
    assert of_a == sorted(of_a, reverse=True) and of_b == sorted(of_b)
    assert of_a[4] == of_b[0] == 0 < of_a[3] < of_a[0]
    assert {"chords", "bass", "drums", "chords of B", "drums of B"} < {t.name for t in song.tracks}


@pytest.mark.parametrize("band", ["a", "b"])
def test_one_band_plays_on_as_it_did(band: str) -> None:
    a, b = songs()
    b = replace(b, tracks=[replace(t, name=f"{t.name} of B") for t in b.tracks])
    song = way(walk(echo(CODECS["melody"]), a, b, steps=3, band=band), band=True)
    name = "bass" if band == "a" else "bass of B"
    heard = [loudness(song, name, step) for step in range(3)]
    assert heard[0] == heard[1] == heard[2] > 0
    assert ("bass of B" in {t.name for t in song.tracks}) == (band == "b")


def test_the_band_of_b_is_moved_into_key_with_it_and_its_drums_are_not() -> None:
    a, b = songs()
    found = walk(echo(CODECS["melody"]), a, b, steps=2, band="b")
    tracks = {t.name: t.notes for t in way(found, band=True).tracks if t.name != "melody"}
    for track in found.b.others:
        moved = track.notes.pitch + (0 if track.drums else found.moved[1].key)
        length = found.steps[0].clip.length
        assert tracks[track.name].within(0, length).pitch.tolist() == moved.tolist()


def test_the_band_goes_at_the_pace_of_b() -> None:
    a, b = songs(feel="straight")
    b = replace(b, tempos=[Tempo(0, 2.2 * a.qpm_at(0))])
    found = walk(echo(CODECS["melody"]), a, b, steps=2, band="b")
    assert found.pace == 0.5
    bass = next(t for t in found.b.others if t.name == "bass").notes
    heard = next(t for t in way(found, band=True).tracks if t.name == "bass").notes
    assert heard.start[: len(bass)].tolist() == [round(s / 2) for s in bass.start.tolist()]


def test_what_a_melody_leaves_of_its_track_plays_on_with_it() -> None:
    """Piano music: the left hand is the band, and the file has one piano."""
    rows = [(i * BEAT, (i + 1) * BEAT, p, 70) for i in range(32) for p in (48, 55, 76 + i % 5)]
    piano = Song([Track(notes_of(rows), "piano")])
    found = walk(echo(CODECS["melody"]), piano, piano, steps=2, band="a")
    [track] = way(found, band=True).tracks
    assert set(track.notes.pitch.tolist()) == {48, 55, *range(76, 81)}
    assert [len(t.notes) for t in way(found).tracks] == [32]


def test_a_volume_and_a_pedal_are_set_again_at_every_step() -> None:
    a, b = songs()
    controls = np.array([(0, 7, 64), (BAR // 2, 64, 127), (BAR, 64, 0)], np.int32)
    tracks = [replace(t, controls=controls) if t.name == "bass" else t for t in a.tracks]
    found = walk(echo(CODECS["melody"]), replace(a, tracks=tracks), b, steps=3, from_a=1, bars=2)
    song = read(to_bytes(way(found, band=True)))
    rows = [t.controls.tolist() for t in song.tracks if len(t.controls)]
    once = [[0, 7, 64], [BAR // 2, 64, 127], [BAR, 64, 0]]
    assert rows == [[[2 * BAR * step + t, n, v] for step in range(3) for t, n, v in once]]


def test_the_melody_keeps_its_volume_and_its_pedal_at_every_step() -> None:
    """Of both ends, in every step's file and in the whole way; B's go at its pace."""

    def played(song: Song, volume: int) -> Song:
        rows = np.array([(0, 7, volume), (BAR // 2, 64, 127), (BAR, 64, 0)], np.int32)
        tracks = [replace(t, controls=rows) if t.name == "melody" else t for t in song.tracks]
        return replace(song, tracks=tracks)

    a, b = (played(s, v) for s, v in zip(songs(feel="straight"), (64, 90), strict=True))
    b = replace(b, tempos=[Tempo(0, 2.2 * a.qpm_at(0))])
    found = walk(echo(CODECS["melody"]), a, b, steps=4, from_a=1, from_b=1, bars=2)
    assert found.pace == 0.5
    of_a = [[0, 7, 64], [BAR // 2, 64, 127], [BAR, 64, 0]]
    of_b = [[0, 7, 90], [BAR // 4, 64, 127], [BAR // 2, 64, 0]]
    for step, once in zip(found.steps, (of_a, of_a, of_b, of_b), strict=True):
        [track] = read(to_bytes(step_song(found, step))).tracks
        assert track.controls.tolist() == once
    melodies = [t.controls.tolist() for t in way(found).tracks if not t.drums]
    assert melodies == [
        [[2 * BAR * step + t, n, v] for step in range(4) for t, n, v in once]
        for once in (of_a, of_b)
    ]


def test_a_hand_of_a_piano_stays_one_player_with_its_pedal() -> None:
    rows = [(i * BEAT, (i + 1) * BEAT, p, 70) for i in range(32) for p in (48, 55, 76 + i % 5)]
    pedal = np.array([(0, 64, 127), (BAR, 64, 0)], np.int32)
    piano = Song([Track(notes_of(rows), "piano", controls=pedal)])
    found = walk(echo(CODECS["melody"]), piano, piano, steps=2, band="a")
    assert len(way(found, band=True).tracks) == 1


def test_a_report_says_both_parts_of_a_move(tmp_path: Path) -> None:
    a, b = songs()
    model = echo(CODECS["melody"])
    up = [t if t.drums else replace(t, notes=t.notes.moved(semitones=-12)) for t in b.tracks]
    found = walk(model, a, replace(b, tracks=up), steps=2)
    about = report(found, model)["b"]
    move = found.moved[1]
    assert move.octaves and about["moved_by_octaves"] == move.octaves
    assert about["moved_in_key_by_semitones"] == move.key
    assert about["moved_by_semitones"] == move.key + 12 * move.octaves


# --- stems ---------------------------------------------------------------------------------------


def test_stems_are_the_song_by_its_players_and_end_together() -> None:
    song = way(MELODIES, band=True)
    found = stems(song)
    assert {stem.end for stem in found.values()} == {song.end}
    for stem in map(read, map(to_bytes, found.values())):
        assert stem.end == song.end and not stem.repairs
        assert stem.markers == read(to_bytes(song)).markers
        assert [stem.qpm_at(i * 4 * BAR) for i in range(5)] == pytest.approx(
            [song.qpm_at(i * 4 * BAR) for i in range(5)], 1e-4
        )
    rows = [row for stem in found.values() for t in stem.tracks for row in t.notes.table.tolist()]
    assert sorted(rows) == sorted(row for t in song.tracks for row in t.notes.table.tolist())


def test_tracks_of_one_name_are_told_apart_and_the_silent_have_no_stem() -> None:
    silent = replace(player(1), notes=player(1).notes[:0], name="rests")
    tracks = [player(0, name="piano"), player(1), player(2, name="piano"), silent]
    assert list(stems(Song(tracks, length=BAR))) == ["piano 1", "track 2", "piano 3"]
    named = [player(0, name="piano 2"), player(1, name="piano"), player(2, name="piano")]
    assert [len(s.tracks) for s in stems(Song(named, length=BAR)).values()] == [1, 1, 1]
    together = stems(Song(tracks, length=BAR), ["one", "two", "one", "two"])
    assert [len(stem.tracks) for stem in together.values()] == [2, 1]
    assert len({track.channel for track in together["one"].tracks}) == 2


def test_stems_of_any_song_on_disk_are_files_of_one_length(tmp_path: Path) -> None:
    song = read(write(way(MELODIES, band=True), tmp_path / "a.mid"))
    files = save_stems(song, tmp_path / "stems")
    assert len(files) == len({file.name.lower() for file in files}) == len(song.tracks)
    assert {read(file).end for file in files} == {song.end}


def test_names_that_a_disk_takes_for_one_are_kept_apart(tmp_path: Path) -> None:
    names = ["Bass!", "bass", "BASS?", "///", "bass_2"]
    song = Song([player(i, name=name) for i, name in enumerate(names)], length=BAR)
    files = save_stems(song, tmp_path)
    assert len({file.name.lower() for file in files}) == len(names)
    programs = [read(file).tracks[0].program for file in files]
    assert programs == [0, 1, 2, 3, 4], "none is written over another"


def test_a_morph_has_a_stem_a_part_and_one_for_each_other_track(tmp_path: Path) -> None:
    model = echo(CODECS["trio"])
    found = walk(model, *songs(), steps=2, bars=1)
    made = save(found, tmp_path / "out", model, stems=True, audio=True)
    names = {file.stem for file in made.files if file.parent.name == "stems"}
    assert {"melody", "bass", "drums", "A_chords", "B_chords"} == names
    sounds = [file for file in made.files if file.suffix == ".wav"]
    assert len(sounds) == 6 and len({file.stat().st_size for file in sounds}) == 1
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert "stems/A_chords.wav" in report["files"]


def test_a_part_that_rests_throughout_is_said_to_have_no_stem(tmp_path: Path) -> None:
    late = [(8 * BAR + i * BEAT, 8 * BAR + i * BEAT + 9, 60, 80) for i in range(16)]
    model, rests = echo(CODECS["melody"]), Song([Track(notes_of(late))])
    found = walk(model, rests, rests, steps=2, from_a=1, from_b=1)
    made = save(found, tmp_path / "out", model, stems=True)
    assert made.said[-1] == "no stem of melody: no note of it is heard"


# --- channels ------------------------------------------------------------------------------------


def test_every_player_has_a_channel_of_its_own() -> None:
    """Two programs on one channel would both be played by the later one."""
    song = read(to_bytes(way(MELODIES, band=True)), channels=True)
    pitched = [t for t in song.tracks if not t.drums]
    assert len({t.channel for t in pitched}) == len(pitched)
    found = seated([player(0, 3), player(40, 3), player(41, None), player(42, 3)])
    assert [t.channel for t in found] == [3, 0, 1, 2]
    assert [t.program for t in found] == [0, 40, 41, 42]


def test_the_sixteenth_player_shares_a_channel_with_one_of_its_program() -> None:
    found = seated([player(i % 10, 0) for i in range(30)])
    channels = {t.program: set[int | None]() for t in found}
    for track in found:
        channels[track.program].add(track.channel)
    assert [t.program for t in found] == [i % 10 for i in range(30)]
    assert all(len(own) == 1 for own in channels.values())


def test_only_what_shares_a_channel_loses_its_controls() -> None:
    volume = np.array([(0, 7, 64)], np.int32)
    programs = [*range(14), 50, 50]
    found = seated([replace(player(program, 0), controls=volume) for program in programs])
    assert [len(t.controls) for t in found] == [1] * 14 + [0, 0]


def test_of_more_than_15_programs_the_rarest_are_played_by_the_nearest() -> None:
    often = [player(program, 0) for program in range(0, 120, 8) for _ in range(2)]
    found = seated([*often, player(42), player(127)])
    assert [t.program for t in found[-2:]] == [40, 112]
    by_channel: dict[Any, set[int]] = {}
    for track in found:
        by_channel.setdefault(track.channel, set()).add(track.program)
    assert all(len(programs) == 1 for programs in by_channel.values()) and 9 not in by_channel


def test_players_that_a_file_of_many_programs_loses_are_said(tmp_path: Path) -> None:
    def crowd(first: int) -> Song:
        tune = notes_of([(i * BEAT, (i + 1) * BEAT, 72 + i % 5, 100) for i in range(16)])
        low = notes_of([(i * BAR, (i + 1) * BAR, 40, 60) for i in range(4)])
        others = [Track(low, f"{first + i}", first + i) for i in range(10)]
        return Song([Track(tune, "melody"), *others])

    model = echo(CODECS["melody"])
    said = save(walk(model, crowd(10), crowd(80), steps=2), tmp_path / "out", model).said
    assert "15 channels cannot hold all programs: others play those of" in said[-1]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "name"),
    [
        ("a.mid", "b.mid", "morph-a-b"),
        ("/x/My Song (1).mid", "..mid", "morph-My_Song_1-song"),
        ("测试文件.midi", "Für Elise.mid", "morph-测试文件-Für_Elise"),
        ("x" * 250 + ".mid", "b.mid", f"morph-{'x' * 30}-b"),
        ("-rf.mid", ".mid", "morph-rf-mid"),
    ],
)
def test_a_folder_is_named_after_both_files(a: str, b: str, name: str) -> None:
    assert folder_name(a, b) == name


def test_a_key_in_doubt_is_in_no_file_name() -> None:
    still = Song([Track(notes_of([(i * 480, (i + 1) * 480, 60, 80) for i in range(32)]))])
    found = walk(echo(CODECS["melody"]), still, songs()[1])
    assert 0 < found.a.key.confidence < 0.5 and "too weak evidence" in "\n".join(found.said)
    last = len(found.steps) - 1
    assert file_name(found, 0).endswith("bpm")
    assert file_name(found, last).endswith(f"bpm_{found.b.key.short}")


def test_a_folder_in_use_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder(None, "morph") == Path("morph")
    (tmp_path / "morph").mkdir()
    (tmp_path / "morph-2").mkdir()
    assert free_folder(None, "morph") == Path("morph-3")
    assert free_folder(tmp_path / "morph", "x") == tmp_path / "morph", "it is empty"
    (tmp_path / "morph" / "mine").touch()
    with pytest.raises(Refused, match=r"morph is in use\. Name another folder"):
        free_folder(tmp_path / "morph", "x")
    for place in ("morph/mine", "morph/mine/below"):
        with pytest.raises(Refused, match="mine is a file, so no folder can be made"):
            free_folder(tmp_path / place, "x")


def test_names_of_many_steps_sort() -> None:
    found = walk(echo(CODECS["melody"]), *songs(), steps=120, bars=1)
    names = [file_name(found, place) for place in range(120)]
    assert names == sorted(names) and names[0].startswith("001of120_a100_b00_1bar_")
