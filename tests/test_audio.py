"""Audio is as long as the song, loud but never clipped, the same every time, with its drums."""

import sys
import types
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from seqvae.codecs.voices import KIT, WRITTEN
from seqvae.errors import Refused
from seqvae.midi import Song, Tempo, Track, notes_of
from seqvae.music import audio
from seqvae.music.audio import BURSTS, RING, burst, render, render_stems

RATE = 16_000
TUNE = Track(notes_of([(0, 480, 69, 80), (960, 1440, 72, 80)]))
BEAT = Track(notes_of([(0, 60, 36, 100), (480, 540, 42, 60)]), drums=True)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fluidsynth, whatever this machine has."""
    monkeypatch.setitem(sys.modules, "fluidsynth", None)


def song(*tracks: Track, **more: Any) -> Song:
    return Song(tracks, length=1920, **more)


def heard(path: Path) -> tuple[int, NDArray[np.float64]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), data / 32768


def loud(samples: NDArray[np.float64], start: float, end: float) -> float:
    """How loud it is between two seconds."""
    return float(np.sqrt(np.square(samples[int(start * RATE) : int(end * RATE)]).mean()))


@pytest.mark.parametrize("rate", [8_000, 44_100])
@pytest.mark.parametrize("qpm", [60.0, 173.0])
def test_a_file_has_its_rate_and_lasts_as_long_as_the_song_rings(
    rate: int, qpm: float, tmp_path: Path
) -> None:
    made = song(TUNE, BEAT, tempos=[Tempo(0, qpm)])
    render(made, tmp_path / "new" / "a.wav", rate=rate)
    found, samples = heard(tmp_path / "new" / "a.wav")
    assert found == rate
    assert len(samples) == round((made.seconds + RING) * rate)


@pytest.mark.parametrize("tracks", [[TUNE], [BEAT], [TUNE, BEAT], [TUNE] * 12])
def test_it_is_loud_but_never_clips(tracks: list[Track], tmp_path: Path) -> None:
    render(song(*tracks), tmp_path / "a.wav", rate=RATE)
    _, samples = heard(tmp_path / "a.wav")
    assert np.abs(samples).max() == pytest.approx(audio.PEAK, abs=0.001)
    assert samples[-1] == 0


def test_a_song_without_notes_is_silence_of_its_length(tmp_path: Path) -> None:
    render(song(), tmp_path / "a.wav", rate=RATE)
    _, samples = heard(tmp_path / "a.wav")
    assert len(samples) == 3 * RATE
    assert not samples.any()


def test_the_same_song_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        render(song(TUNE, BEAT), path, rate=RATE)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_stems_are_as_long_and_loud_as_in_the_whole(tmp_path: Path) -> None:
    """Laid on one another they are the song."""
    late = Track(notes_of([(1440, 1900, 60, 30)]))
    paths = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    render(song(TUNE, BEAT, late), tmp_path / "all.wav", rate=RATE)
    render_stems(
        {path: song(track) for path, track in zip(paths, (TUNE, BEAT, late), strict=True)},
        rate=RATE,
    )
    _, whole = heard(tmp_path / "all.wav")
    each = [heard(path)[1] for path in paths]
    assert {len(samples) for samples in each} == {len(whole)}
    assert np.abs(sum(each) - whole).max() < 4 / 32768
    assert 0 < np.abs(each[2]).max() < 0.5 * np.abs(whole).max(), "it is soft, and stays so"


def test_no_stem_clips_where_the_whole_is_softer(tmp_path: Path) -> None:
    high = Track(notes_of([(0, 1920, 69, 127)]))
    render_stems({tmp_path / f"{i}.wav": song(high) for i in range(3)}, rate=RATE)
    loudest = [np.abs(heard(tmp_path / f"{i}.wav")[1]).max() for i in range(3)]
    assert loudest == pytest.approx([audio.PEAK / 3] * 3, abs=0.001)
    render_stems({tmp_path / "s.wav": song()}, rate=RATE)
    assert not heard(tmp_path / "s.wav")[1].any()


def test_stems_of_more_than_two_hours_are_refused(tmp_path: Path) -> None:
    long = Song([TUNE], length=480 * 2 * 60 * 25, name="long.mid")
    with pytest.raises(Refused, match=r"5 stems, 125 minutes of audio in all; at most 120"):
        render_stems({tmp_path / f"{i}.wav": long for i in range(5)})
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("without")
def test_sines_sound_at_their_pitch_while_the_note_lasts(tmp_path: Path) -> None:
    how = render(song(TUNE), tmp_path / "a.wav", rate=RATE)
    assert how.startswith("sines, for pyfluidsynth is not installed; ")
    assert "pip install 'seqvae[audio]'" in how
    _, samples = heard(tmp_path / "a.wav")
    spectrum = np.abs(np.fft.rfft(samples[: RATE // 2]))
    assert spectrum.argmax() * 2 == pytest.approx(440, abs=2)
    assert loud(samples, 0, 0.4) > 0.1 > 1e-6 > loud(samples, 0.55, 0.95)


@pytest.mark.usefixtures("without")
def test_drums_are_heard_where_they_are_struck(tmp_path: Path) -> None:
    render(song(BEAT), tmp_path / "a.wav", rate=RATE)
    _, samples = heard(tmp_path / "a.wav")
    assert loud(samples, 0, 0.1) > 0.1
    assert loud(samples, 0.5, 0.53) > 3 * loud(samples, 0.45, 0.5)
    assert loud(samples, 1.5, 2) < 1e-6


def test_each_drum_has_a_sound_of_its_own_from_the_lowest_to_the_highest() -> None:
    assert len(BURSTS) == len(KIT) == len(WRITTEN)
    sounds = [burst(*kind, 44_100) for kind in BURSTS]
    assert len({sound.tobytes() for sound in sounds}) == len(KIT)
    centres = []
    for sound in sounds:
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        pitches = np.fft.rfftfreq(len(sound), 1 / 44_100)
        centres.append(float((spectrum * pitches).sum() / spectrum.sum()))
    centre = dict(zip(KIT, centres, strict=True))
    assert centre["kick"] < centre["low tom"] < centre["mid tom"] < centre["high tom"]
    assert centre["high tom"] < centre["snare"] < centre["closed hi-hat"]


@pytest.mark.usefixtures("without")
def test_more_bends_than_anyone_would_wait_for_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bent = Track(TUNE.notes, bends=np.array([[240, 8191], [960, 0]], np.int32))
    played = []
    for most in (4, 3):
        monkeypatch.setattr(audio, "MOST_BENDS", most)
        render(song(bent), tmp_path / "a.wav", rate=RATE)
        played.append((tmp_path / "a.wav").read_bytes())
    render(song(TUNE), tmp_path / "a.wav", rate=RATE)
    assert played[0] != played[1] == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("Couldn't find the FluidSynth library."), "library is not installed"),
        (OSError("libfluidsynth.so.3: cannot open"), "library is not installed"),
    ],
)
def test_a_missing_library_is_said_and_sines_are_written(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> types.ModuleType:
        raise error

    monkeypatch.setattr(audio, "import_module", broken)
    assert said in render(song(TUNE), tmp_path / "a.wav", rate=RATE)
    assert heard(tmp_path / "a.wav")[1].any()


def test_fluidsynth_plays_where_it_is_installed(tmp_path: Path) -> None:
    if audio._missing():
        pytest.skip(audio._missing())
    how = render(song(TUNE, BEAT), tmp_path / "a.wav", rate=RATE)
    assert how.startswith("fluidsynth, with the soundfont ")
    _, samples = heard(tmp_path / "a.wav")
    assert loud(samples, 0, 1.5) > 0.03


def test_more_than_half_an_hour_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    long = Song([TUNE], length=480 * 2 * 60 * 31, name="long.mid")
    with pytest.raises(Refused, match=r"long\.mid: 31 minutes of audio; at most 30 .* Cut"):
        render(long, tmp_path / "a.wav")
    with pytest.raises(Refused, match="rate = 1: choose 8000 to 96000"):
        render(song(TUNE), tmp_path / "a.wav", rate=1)
    assert not list(tmp_path.iterdir())


def test_a_damaged_library_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(song: Song) -> None:
        raise OSError("libfluidsynth.so.3: file too short")

    monkeypatch.setattr(audio, "to_pretty_midi", broken)
    with pytest.raises(Refused, match=r"damaged .* pip uninstall pyfluidsynth"):
        render(song(TUNE), tmp_path / "a.wav", rate=RATE)
