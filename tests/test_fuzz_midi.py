"""Thousands of damaged files: each loads or is refused; and what is worse would be seen."""

import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seqvae.midi import Marker, Metre, MetreChange, Song, Tempo, Track, notes_of, write

SCRIPT = Path(__file__).parents[1] / "scripts" / "fuzz_midi.py"
HARD = Path(__file__).parents[2] / "shared" / "data" / "midi_hard"
FUZZ = runpy.run_path(str(SCRIPT))


def songs(folder: Path) -> Path:
    """Files of our own, so that the law is tested where no other files are."""
    for count in (1, 4, 20):
        rows = [(240 * n, 240 * n + 200, 40 + n % 40, 1 + n % 127) for n in range(30 * count)]
        players = [Track(notes_of(rows), f"part {n}", n, n % 3 == 2) for n in range(count)]
        tempos = [Tempo(960 * n, 90.0 + n) for n in range(count)]
        metres = [MetreChange(0, Metre(3, 4)), MetreChange(1440 * count, Metre(6, 8))]
        song = Song(players, 480, tempos, metres, markers=[Marker(0, "here")], length=1440 * 90)
        write(song, folder / f"{count}.mid")
    return folder


def fuzz(folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(folder), "--count=1000", "--seed=1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1,000 mutants of") and "refused because" in run.stdout
    assert all(word in run.stdout for word in ("loaded", "slowest", "most memory"))


def test_damaged_files_of_ours_load_or_are_refused_in_time_and_memory(tmp_path: Path) -> None:
    fuzz(songs(tmp_path))


@pytest.mark.skipif(not HARD.is_dir(), reason="hard files are not here (shared/data/midi_hard)")
def test_damaged_files_of_others_load_or_are_refused_in_time_and_memory() -> None:
    fuzz(HARD)


def test_time_is_of_the_processor_and_what_waits_is_no_slow_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def waits(data: bytes, number: int) -> tuple[str, str]:
        time.sleep(0.2)
        return "loaded", ""

    child = FUZZ["child"]
    monkeypatch.setitem(child.__globals__, "tried", waits)
    monkeypatch.setitem(child.__globals__, "limit_memory", lambda: None)
    child([b"MThd"], 0, 0, 1)
    assert float(capsys.readouterr().out.split("\t")[1]) < 0.1
    assert FUZZ["ALARM"] > FUZZ["CLOCK"]


def test_a_mutant_is_a_function_of_files_seed_and_number(tmp_path: Path) -> None:
    files = FUZZ["files_of"]([songs(tmp_path)])
    made = [[FUZZ["mutant"](files, 0, number) for number in range(40)] for _ in range(2)]
    assert made[0] == made[1] and len(set(made[0])) > 30


@pytest.mark.parametrize(
    ("does", "kind"),
    [
        ("os.abort()", "crash"),
        ("sys.exit(3)", "crash"),
        ("signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(9)", "hang"),
    ],
)
def test_a_child_that_dies_is_counted_for_the_mutant_it_read(does: str, kind: str) -> None:
    said = "print('loaded', 0.5, 7, 'why', sep='\\t', flush=True)"
    program = f"import os, signal, sys, time; {said}; {does}"
    first, last = FUZZ["follow"]([sys.executable, "-c", program])
    assert first == ("loaded", 0.5, 7, "why") and last.kind == kind
    assert len(FUZZ["wrong"]([first, last])) == 1


def test_other_exceptions_slow_files_and_much_memory_are_failures() -> None:
    outcome = FUZZ["Outcome"]
    fine = [outcome("loaded", 0.1, 0, ""), outcome("refused", 0.1, 0, "mutant: 9 tracks")]
    bad = [
        outcome("IndexError", 0.1, 0, ""),
        outcome("loaded", 2.1, 0, ""),
        outcome("loaded", 0.1, 300_000_001, ""),
    ]
    assert FUZZ["wrong"](fine) == [] and len(FUZZ["wrong"]([*fine, *bad])) == 3
    assert "1  N tracks" in FUZZ["table"](fine)


def test_a_folder_without_midi_is_said(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "no MIDI file in it" in run.stderr
