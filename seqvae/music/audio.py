"""A song as a WAV file that one can listen to: by fluidsynth where it is there, else by sines."""

import wave
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codecs.voices import PLACE
from ..errors import Refused
from ..midi import Song, to_pretty_midi

if TYPE_CHECKING:
    from pretty_midi import Instrument, PrettyMIDI

Samples = NDArray[np.float32]

RATE = 44_100
RATES = 8_000, 96_000  # what fluidsynth can
LONGEST = 30  # minutes
TOGETHER = 120  # minutes of stems that are held at once
RING = 1.0  # seconds after the end, for the last notes to die away
FADE = 0.05  # of them, in which what still sounds is faded out
PEAK = 0.9  # of the largest sample a file can hold
SOUNDFONT = "TimGM6mb.sf2"  # the one that pretty_midi carries
CURE = "pip install 'seqvae[audio]', and apt install libfluidsynth3 or brew install fluid-synth"
MOST_BENDS = 1_000_000  # bends times notes; beyond, sines are played unbent, or nobody would wait

# What stands for each drum where there is no soundfont: the pitch of its skin at the stroke and
# later (Hz), how much of it is noise, and how fast it dies away (seconds).
BURSTS = (
    (130.0, 45.0, 0.05, 0.12),  # kick
    (210.0, 170.0, 0.70, 0.09),  # snare
    (8000.0, 8000.0, 0.95, 0.025),  # closed hi-hat
    (8000.0, 8000.0, 0.95, 0.14),  # open hi-hat
    (110.0, 75.0, 0.10, 0.16),  # low tom
    (150.0, 105.0, 0.10, 0.14),  # mid tom
    (200.0, 140.0, 0.10, 0.12),  # high tom
    (5000.0, 5000.0, 0.95, 0.45),  # crash
    (6500.0, 6500.0, 0.80, 0.25),  # ride
)


def render(song: Song, path: str | Path, *, rate: int = RATE) -> str:
    """Write the song as a WAV file, 16 bits, one channel; say how it was made.

    It lasts a second longer than the song, for its last notes to die away. Fluidsynth plays it,
    with the soundfont that pretty_midi carries; without fluidsynth sines do, and drums made of
    noise. The same song gives the same bytes. What stood at the path is replaced. Raises
    `Refused` for what is too long or no rate.
    """
    _check(song, rate)
    mixed = _mixed(song, rate)
    _write(mixed * _gain(mixed), Path(path), rate)
    return _how()


def render_stems(songs: Mapping[Path, Song], *, rate: int = RATE) -> str:
    """Write songs that sound together, each as a WAV file as loud as it is among the others.

    Laid on one another they are what `render` makes of one song of all their tracks, but for its
    level: one gain is for all, by which neither the loudest nor their sum clips. Songs of one
    length make files of one length. Raises `Refused` for what is too long, together more than
    two hours, or no rate.
    """
    for song in songs.values():
        _check(song, rate)
    minutes = sum(song.seconds for song in songs.values()) / 60
    if minutes > TOGETHER:
        raise Refused(
            f"{len(songs)} stems, {minutes:.0f} minutes of audio in all; at most {TOGETHER} are "
            "written. Ask for less music, or leave out the audio."
        )
    mixed = {path: _mixed(song, rate) for path, song in songs.items()}
    whole = np.zeros(max(map(len, mixed.values()), default=0), np.float32)
    for samples in mixed.values():
        whole[: len(samples)] += samples
    gain = _gain(whole, *mixed.values())
    for path, samples in mixed.items():
        _write(samples * gain, path, rate)
    return _how()


def _mixed(song: Song, rate: int) -> Samples:
    """All instruments of a song, silent at the very end."""
    made, missing = _as_pretty_midi(song), _missing()
    mixed = np.zeros(round((song.seconds + RING) * rate), np.float32)
    for player in made.instruments:  # one at a time: half an hour of each is large
        played = _sines(player, rate) if missing else _played(player, rate)
        size = min(len(played), len(mixed))
        mixed[:size] += played[:size]
    return _faded(mixed, rate)


def _how() -> str:
    """How sound is made here, in words."""
    if missing := _missing():
        return f"sines, for {missing}; for real instruments: {CURE}"
    return f"fluidsynth, with the soundfont {SOUNDFONT}"


def _check(song: Song, rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise Refused(f"rate = {rate}: choose {RATES[0]} to {RATES[1]} samples a second.")
    if song.seconds > 60 * LONGEST:
        raise Refused(
            f"{song.name or 'the song'}: {song.seconds / 60:.0f} minutes of audio; at most "
            f"{LONGEST} are written. Cut the song, or leave out the audio."
        )


def _missing() -> str:
    """What fluidsynth lacks here, in words; empty if nothing."""
    try:
        import_module("fluidsynth")
    except ModuleNotFoundError:
        return "pyfluidsynth is not installed"
    except (ImportError, OSError, AttributeError):
        return "the fluidsynth library is not installed"
    return "" if _soundfont().is_file() else f"pretty_midi came without {SOUNDFONT}"


def _soundfont() -> Path:
    import pretty_midi

    return Path(pretty_midi.__file__).parent / SOUNDFONT


def _as_pretty_midi(song: Song) -> "PrettyMIDI":
    try:
        return to_pretty_midi(song)
    except (OSError, AttributeError) as error:  # pretty_midi imports fluidsynth if it can
        raise Refused(
            f"the fluidsynth library is damaged ({error}). Install it again, or remove what "
            "speaks to it: pip uninstall pyfluidsynth."
        ) from error


def _played(player: "Instrument", rate: int) -> NDArray[Any]:
    """One instrument, by a synthesizer of its own: another's volume and pedal stay with it."""
    return player.fluidsynth(fs=rate, synthesizer=str(_soundfont()))


def _sines(player: "Instrument", rate: int) -> NDArray[Any]:
    """One instrument by pretty_midi's synthesizer, which leaves out drums: those by us."""
    if player.is_drum:
        return _drummed(player, rate)
    if len(player.notes) * len(player.pitch_bends) > MOST_BENDS:
        player.pitch_bends = []
    return player.synthesize(fs=rate, wave=_tone)


def _tone(phase: NDArray[Any]) -> NDArray[Any]:
    """A sine with two overtones, for small loudspeakers play no bass."""
    return np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase)


def _drummed(player: "Instrument", rate: int) -> Samples:
    """A burst at every stroke, whatever the length of its note."""
    bursts = [burst(*kind, rate) for kind in BURSTS]
    longest = max(map(len, bursts))
    samples = np.zeros(round(player.get_end_time() * rate) + longest + 1, np.float32)
    for note in player.notes:
        sound = bursts[PLACE[note.pitch]]
        start = round(note.start * rate)
        samples[start : start + len(sound)] += note.velocity * sound
    return samples


def burst(first: float, last: float, noise: float, decay: float, rate: int) -> Samples:
    """A drum's stroke: a sine that falls from one pitch to another, and noise, dying away.

    Arguments:
        first, last: Hz.
        noise: how much of it is noise, 0 to 1; what the ear hears as high is kept of it.
        decay: seconds to a third of its strength; it lasts five times that.
        rate: samples a second.
    """
    time = np.arange(round(5 * decay * rate)) / rate
    pitch = last + (first - last) * np.exp(-time / 0.03)
    tone = np.sin(2 * np.pi * np.cumsum(np.minimum(pitch, 0.45 * rate)) / rate)
    hiss = np.diff(np.random.default_rng(0).uniform(-1, 1, len(time)), prepend=0.0)
    struck = (1 - noise) * tone + noise * hiss
    return (struck * np.exp(-time / decay)).astype(np.float32)


def _faded(samples: Samples, rate: int) -> Samples:
    """Silent at its very end."""
    fade = min(round(FADE * rate), len(samples))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return samples


def _gain(*mixed: Samples) -> np.float32:
    """What makes the loudest of some as loud as a file can hold without clipping."""
    loudest = max(float(np.abs(samples).max(initial=0.0)) for samples in mixed)
    return np.float32(PEAK / loudest if loudest else 1.0)


def _write(samples: Samples, path: Path, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
