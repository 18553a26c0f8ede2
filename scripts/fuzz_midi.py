"""Damages MIDI files in many ways and reads each: it must load, or be refused by name and reason.

    python scripts/fuzz_midi.py FOLDER... --count 20000 --seed 0

Each damaged file is read, counted in bars and seconds, and written again, in a child process with
a limit on its memory (what it holds beyond its start) and on its time. Prints a table; exits with
1 if anything else happened than the two. A mutant is a function of files, seed and number, so that
the number printed finds it again. Linux, or any system that limits the memory of a process.
"""

import argparse
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

MEMORY = 300_000_000  # bytes beyond what the child holds before it reads
CLOCK = 2.0  # seconds of the processor a file: another program's work is not the file's
ALARM = 10.0  # seconds by the wall after which a file hangs
UNIT = 1 if sys.platform == "darwin" else 1024  # of the memory that the system counts
SIGNALS = {signal.SIGALRM: "hang", signal.SIGVTALRM: "hang"}
FINE = ("loaded", "refused")


class Outcome(NamedTuple):
    kind: str  # loaded, refused, crash, hang, or the name of an exception
    seconds: float
    memory: int  # bytes, the most so far in its process
    why: str


# --- mutants ------------------------------------------------------------------------------------

TEMPO, METRE = b"\x00\xff\x51\x03", b"\x00\xff\x58\x04"
INSERTS = [
    b"\xff\xff\xff\x7f",  # the longest wait there is
    b"\x00\x90\x3c\x50\xff\xff\xff\x7f\x80\x3c\x00",
    *(TEMPO + micros for micros in (b"\0\0\0", b"\0\0\1", b"\xff\xff\xff")),
    *(METRE + metre + b"\x18\x08" for metre in (b"\0\2", b"\1\7", b"\4\x1f", b"\xff\0")),
    b"\x00\xff\x59\x02\x7f\x05",
    b"\x00\xff\x01\xff\xff\xff\x7f",  # a text of 256 MB
    b"\x00\xf0\xff\xff\xff\x7f",
    b"\x00\xff\x2f\x00",
]


def truncated(data: bytes, draw: random.Random, other: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def flipped(data: bytes, draw: random.Random, other: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(min(draw.choice([1, 2, 5, 20, 200]), len(made))):
        made[draw.randrange(len(made))] = draw.randrange(256)
    return bytes(made)


def headed(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Another format, number of tracks or division, or another size of the header."""
    made = bytearray(data.ljust(14, b"\0"))
    at = draw.choice([4, 8, 10, 12])
    made[at : at + 2] = struct.pack(">H", draw.choice([0, 1, 2, 3, 255, 0x7FFF, 0xE728, 0xFFFF]))
    return bytes(made)


def spliced(data: bytes, draw: random.Random, other: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def inserted(data: bytes, draw: random.Random, other: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice(INSERTS) * draw.choice([1, 1, 8, 100]) + data[at:]


def repeated(data: bytes, draw: random.Random, other: bytes) -> bytes:
    at, size = draw.randrange(len(data) + 1), draw.choice([1, 8, 64, 1000])
    return data[:at] + data[at : at + size] * draw.choice([2, 20, 300]) + data[at + size :]


def claimed(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """A track that says it is of another length."""
    tracks = [found.start() for found in re.finditer(b"MTrk", data)]
    if not tracks:
        return data
    at = draw.choice(tracks) + 4
    size = draw.choice([0, 1, 7, draw.randrange(10_000), 0x7FFFFFFF, 0xFFFFFFFF])
    return data[:at] + struct.pack(">I", size) + data[at + 4 :]


def framed(data: bytes, draw: random.Random, other: bytes) -> bytes:
    """Every track as long as it says: so that damage inside is not hidden by damage outside."""
    head, *bodies = data.split(b"MTrk")
    return head + b"".join(
        b"MTrk" + struct.pack(">I", max(len(body) - 4, 0)) + body[4:] for body in bodies
    )


WAYS = [truncated, flipped, headed, spliced, inserted, repeated, claimed]


def mutant(files: Sequence[bytes], seed: int, number: int) -> bytes:
    draw = random.Random(f"{seed} {number}")
    data = draw.choice(files)
    for _ in range(draw.choice([1, 1, 2, 4])):
        data = draw.choice(WAYS)(data, draw, draw.choice(files))
    return framed(data, draw, b"") if draw.random() < 0.5 else data


def files_of(folders: Sequence[Path]) -> list[bytes]:
    paths = sorted(path for folder in folders for path in folder.rglob("*.mid*"))
    return [path.read_bytes() for path in paths if path.is_file()]


# --- the child: reads, and says how it went -----------------------------------------------------


def held() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def limit_memory() -> None:
    statm = Path("/proc/self/statm")
    if statm.is_file():
        now = int(statm.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + 2 * MEMORY, now + 2 * MEMORY))


def tried(data: bytes, number: int) -> tuple[str, str]:
    """What becomes of a file, and why."""
    from seqvae import midi

    try:
        song = midi.read(data, name="mutant", channels=number % 2 == 1)
        _ = song.bars, song.seconds
        midi.to_bytes(song)
    except midi.MidiError as error:
        return "refused", str(error)
    except BaseException as error:
        return type(error).__name__, str(error)
    return "loaded", "; ".join(song.repairs)


def child(files: Sequence[bytes], seed: int, start: int, count: int) -> None:
    """A line for each mutant. The clock ends the process: native code hears no exception."""
    tried(mutant(files, seed, 0), 1)  # what is loaded at first use is not the file's
    limit_memory()
    at_first = held()
    for number in range(start, count):
        data = mutant(files, seed, number)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, ALARM)
        kind, why = tried(data, number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds, grown = time.process_time() - began, held() - at_first
        print(kind, f"{seconds:.4f}", grown, " ".join(why.split())[:200], sep="\t", flush=True)


# --- the parent: counts -------------------------------------------------------------------------


def follow(command: Sequence[str]) -> Iterator[Outcome]:
    """What a child says of its mutants, and at last how it ended, if it was ended."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            kind, seconds, memory, why = line.rstrip("\n").split("\t")
            yield Outcome(kind, float(seconds), int(memory), why)
    code = process.returncode
    if code:
        kind = SIGNALS.get(signal.Signals(-code), "crash") if code < 0 else "crash"
        yield Outcome(kind, ALARM if kind == "hang" else 0.0, 0, f"the child ended with {code}")


def outcomes(options: argparse.Namespace) -> Iterator[Outcome]:
    """One a mutant; where one ends its child, the next begins in a new one."""
    number = 0
    while number < options.count:
        command = [sys.executable, __file__, *map(str, options.folders), f"--child={number}"]
        command += [f"--count={options.count}", f"--seed={options.seed}"]
        for outcome in follow(command):
            number += 1
            yield outcome


def reason(why: str) -> str:
    """The kind of a refusal: its words without names and numbers."""
    return re.sub(r"[-+]?\b(0x)?\d[\d,.]*\b", "N", why.removeprefix("mutant: "))[:70]


def table(found: Sequence[Outcome]) -> str:
    kinds = Counter(outcome.kind for outcome in found)
    lines = [
        f"{kind:<12}{count:>8,}{count / len(found):>8.1%}" for kind, count in kinds.most_common()
    ]
    why = Counter(reason(each.why) for each in found if each.kind == "refused")
    lines += ["", "refused because"]
    lines += [f"{count:>8,}  {words}" for words, count in why.most_common(12)]
    slow, large = (max(found, key=key) for key in (lambda o: o.seconds, lambda o: o.memory))
    lines += [
        "",
        f"slowest       {slow.seconds:.2f} s (mutant {found.index(slow)}); "
        f"{sum(each.seconds for each in found) / len(found) * 1000:.1f} ms on average",
        f"most memory   {large.memory / 1e6:,.0f} MB more (mutant {found.index(large)})",
    ]
    return "\n".join(lines)


def wrong(found: Sequence[Outcome]) -> list[str]:
    """The mutants that went otherwise than they may."""
    return [
        f"mutant {number}: {o.kind}, {o.seconds:.1f} s, {o.memory / 1e6:.0f} MB. {o.why}"
        for number, o in enumerate(found)
        if o.kind not in FINE or o.seconds > CLOCK or o.memory > MEMORY
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of MIDI files")
    parser.add_argument("--count", type=int, default=20_000, help="mutants (default 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = files_of(options.folders)
    if not files:
        sys.exit(f"{options.folders[0]}: no MIDI file in it. Give a folder of .mid files.")
    if options.child is not None:
        child(files, options.seed, options.child, options.count)
        return
    found = list(outcomes(options))
    print(f"{len(found):,} mutants of {len(files)} files, seed {options.seed}\n{table(found)}")
    if failures := wrong(found):
        sys.exit("\n".join(["", *failures[:20]]))


if __name__ == "__main__":
    main()
