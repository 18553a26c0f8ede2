"""Sentences and codes as the commands read them, and rows as they write them."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import Refused


def given_sentences(texts: list[str] | None, file: str | None) -> Iterable[str]:
    if bool(texts) == bool(file):
        raise Refused('give sentences ("one" "two") or --file FILE (- for stdin), not both.')
    return texts or read_sentences(str(file))


def read_sentences(file: str) -> Iterator[str]:
    rows = _rows(file, "text")
    first = next(rows, None)
    if first is None:
        raise Refused(f"{file} holds no sentence: write one a line.")
    return (row["text"] for row in chain([first], rows))


def read_codes(file: str) -> list[list[float]]:
    cure = "make codes with: seqvae encode RUN TEXT"
    codes = [row["z"] for row in _rows(file, "z")]
    for place, code in enumerate(codes, 1):
        if not (isinstance(code, list) and all(map(_is_finite, code))):
            raise Refused(f"{file}, code {place}: `z` is not a list of finite numbers; {cure}")
        if len(code) != len(codes[0]):
            raise Refused(
                f"{file}, code {place}: {len(code)} numbers, not {len(codes[0])}; {cure}"
            )
    if not codes:
        raise Refused(f"{file} holds no codes; {cure}")
    return codes


def _is_finite(number: Any) -> bool:
    # Beyond 1e38 a float32 is infinite; the comparison also fails for NaN.
    return type(number) in (int, float) and abs(number) < 1e38


def _rows(file: str, field: str) -> Iterator[dict[str, Any]]:
    """Lines of text as {"text": line}, lines of JSON as they are; `field` must be there."""
    plain = field == "text" and not file.endswith(".jsonl")
    for place, line in _lines(file):
        yield {"text": line} if plain else _row(line, field, f"{file}, line {place}")


def _lines(file: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers, as they come: a pipe may have no end."""
    path = Path(file)
    if file != "-" and (not path.exists() or path.is_dir()):
        raise Refused(f"no file {file!r}. Check its name, or write - for standard input.")
    with nullcontext(sys.stdin.buffer) if file == "-" else path.open("rb") as stream:
        for place, raw in enumerate(stream, 1):
            try:
                line = raw.decode("utf-8-sig" if place == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise Refused(
                    f"{file}, line {place} is not UTF-8 text: {error}. Convert it: "
                    f"iconv -f LATIN1 -t UTF-8 {file}"
                ) from error
            if line.strip():
                yield place, line.removesuffix("\n").removesuffix("\r")


def _row(line: str, field: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is no JSON: {error}. Write one object a line.") from error
    if not isinstance(row, dict) or field not in row:
        raise Refused(f'{where} has no field {field!r}. Write one object a line: {{"{field}": …}}')
    return row


def write_rows(rows: Iterable[Mapping[str, Any]], as_json: bool, form: str = "{text}") -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False) if as_json else form.format(**row))
