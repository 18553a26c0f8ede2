"""Grooves: what the drums may play in each metre, at which tempo, and on which bass."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

EIGHTHS, SIXTEENTHS = "x.o.x.o.x.o.x.o.", "xoxoxoxoxoxoxoxo"


class Groove(NamedTuple):
    """A way to play drums: for each drum what may be chosen, a character a sixteenth."""

    weight: float
    tempo: tuple[int, int]
    bass: Mapping[str, float]
    patterns: Mapping[str, Sequence[str]]
    cymbal: Mapping[str, Sequence[str]]  # one of these drums keeps the time


_FOUR: dict[str, Groove] = {
    "rock": Groove(
        0.4,
        (84, 160),
        {"root": 0.55, "root-fifth": 0.35, "walking": 0.1},
        {
            "kick": [
                "X.......x.......",
                "X.......x.x.....",
                "X.....x.x.......",
                "X..x....x.x.....",
                "X.....x...x.....",
            ],
            "snare": ["....X.......X...", "....X..o.o..X...", "....X.......X..o"],
        },
        {"hat": [EIGHTHS, "x...x...x...x...", SIXTEENTHS], "ride": [EIGHTHS]},
    ),
    "four on the floor": Groove(
        0.25,
        (104, 140),
        {"octaves": 0.45, "root": 0.35, "root-fifth": 0.2},
        {
            "kick": ["X...X...X...X..."],
            "snare": ["....x.......x...", "....x.......x..o", "............x..."],
        },
        {"open": ["..x...x...x...x."], "hat": [EIGHTHS, SIXTEENTHS]},
    ),
    "half-time": Groove(
        0.2,
        (100, 160),
        {"root": 0.6, "root-fifth": 0.4},
        {
            "kick": [
                "X.........x.....",
                "X..x......x.....",
                "X.....x.........",
                "X.............x.",
            ],
            "snare": ["........X.......", "........X.....o.", "......o.X......."],
        },
        {"hat": [EIGHTHS, SIXTEENTHS, "x...x...x...x..."], "ride": ["x...x...x...x..."]},
    ),
    "bossa": Groove(
        0.15,
        (70, 132),
        {"root-fifth": 0.7, "walking": 0.3},
        {"kick": ["X..xx..xx..xx..x"], "rim": ["x..x..x...x..x..", "..x..x....x...x."]},
        {"hat": [EIGHTHS, SIXTEENTHS]},
    ),
}
GROOVES: dict[tuple[int, int], dict[str, Groove]] = {
    (4, 4): _FOUR,
    (3, 4): {
        "waltz": Groove(
            1.0,
            (80, 160),
            {"root": 0.4, "root-fifth": 0.4, "walking": 0.2},
            {"kick": ["X...........", "X.........x."], "snare": ["....x...x...", "....x...x.o."]},
            {"hat": ["....x...x...", "x.o.x.o.x.o."], "ride": ["x...x...x...", "x...x.o.x..."]},
        )
    },
    (6, 8): {
        "six-eight": Groove(
            1.0,
            (70, 130),
            {"root": 0.4, "root-fifth": 0.4, "walking": 0.2},
            {"kick": ["X...........", "X.........x.", "X...x......."], "snare": ["......X....."]},
            {"hat": ["x.o.o.x.o.o."], "ride": ["x.o.o.x.o.o.", "x...o.x...o."]},
        )
    },
}
