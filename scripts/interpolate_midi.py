"""Morph one MIDI file into another, as a page of Python.

    python scripts/interpolate_midi.py a.mid b.mid morph/ --bars 4 --steps 9

The model is the melody run that ships, or `--run FOLDER`. What it leaves: a MIDI file a step, the
whole way with and without the other tracks, a picture, and `report.json`.
"""

import argparse
import sys
from pathlib import Path

from seqvae import Refused, load
from seqvae.music.album import free_folder, save
from seqvae.music.morph import morph
from seqvae.music.taste import Taste


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", type=Path, help="where the way begins: a MIDI file")
    parser.add_argument("b", type=Path, help="where it ends")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--run", default="melody", help="a run's folder, or one that ships")
    parser.add_argument("--bars", type=int, default=4, help="of the phrase")
    parser.add_argument("--steps", type=int, default=9, help="both ends included")
    parser.add_argument("--audio", action="store_true", help="also write a WAV file")
    arguments = parser.parse_args()

    folder = free_folder(arguments.out, "morph")
    model = load(arguments.run)
    way = morph(model, arguments.a, arguments.b, Taste(arguments.bars, steps=arguments.steps))
    written = save(way, folder, model, audio=arguments.audio)
    print(*written.said, *written.files, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
