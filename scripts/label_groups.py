"""Label lines that belong together, so that `seqvae evaluate` can look for each other's codes.

    python scripts/label_groups.py test.5captions.txt.gz captions.jsonl --each 5

Writes JSON lines with `text` and `group`, the number of every so many lines: five captions of one
picture, verses of one stanza. Prepare them with `--column text --label group`.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from seqvae import Refused


def labelled(lines: list[str], each: int) -> Iterator[str]:
    """A line of JSON for every line of text."""
    if len(lines) % each:
        raise Refused(
            f"{len(lines)} lines do not fall into groups of {each}: the last would be short. "
            "Check --each, and that no line is missing."
        )
    for number, text in enumerate(lines):
        yield json.dumps({"text": text, "group": str(number // each)}, ensure_ascii=False)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, gzipped or not."""
    if not path.is_file():
        raise Refused(f"no file {path}. Check its name.")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        # Not splitlines: a line may hold characters that only it takes for an end.
        return file.read().removesuffix("\n").split("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="lines, those of a group one after another")
    parser.add_argument("out", type=Path, help="the JSON lines to write")
    parser.add_argument("--each", type=int, default=5, help="lines of a group")
    arguments = parser.parse_args()
    if arguments.each < 2:
        raise Refused(f"--each {arguments.each}: a group has 2 lines or more.")
    if arguments.out.exists():
        raise Refused(f"{arguments.out} exists already; name another file, or remove it.")
    lines = list(labelled(read_lines(arguments.text), arguments.each))
    arguments.out.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    print(f"{len(lines)} lines in {len(lines) // arguments.each} groups: {arguments.out}")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
