"""What the commands are given for a run that reads item by item: sentences, or pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Refused
from .music import MELODY, is_midi
from .pictures import given_pictures, is_picture, knows_pictures
from .sentences import given_sentences

if TYPE_CHECKING:
    from ..explore import Explorer


class Given(NamedTuple):
    """Items, what each is called, and under which word: a sentence is its own name."""

    word: str  # text, or file
    names: list[str]
    items: list[Any]


def given_items(model: "Explorer", texts: list[str] | None, file: str | None) -> Given:
    """The sentences, or the pictures of files, that a run reads.

    Raises `Refused` for what the run does not know.
    """
    if knows_pictures(model):
        pictures = given_pictures(model, texts, file)
        return Given("file", [picture.name for picture in pictures], list(pictures))
    check_sentences(model, texts)
    sentences = list(given_sentences(texts, file))
    return Given("text", sentences, list(sentences))


def check_sentences(model: "Explorer", texts: Iterable[str] | None) -> None:
    """Refuse a MIDI file or a picture, for a run that knows sentences."""
    for text in texts or ():
        if " " in text and not Path(text).is_file():
            continue
        what, other = _no_sentence(text)
        if what:
            raise Refused(
                f"{text} is a {what}, and the run {model.recipe['name']!r} knows sentences. "
                f"Name {other}."
            )


def _no_sentence(text: str) -> tuple[str, str]:
    """What is meant that is no sentence, if anything, and which run would know it."""
    if is_midi(text):
        return "MIDI file", f"a run that knows music, such as {MELODY}"
    if is_picture(text):
        return "picture", "a run that knows pictures: one of yours"
    return "", ""


def check_no_folder(out: Path | None, noun: str = "sentence") -> None:
    """Refuse a folder for what is printed."""
    if out is not None:
        raise Refused(
            f"--out {out} is for MIDI files and pictures; {noun}s are printed: … > {out}.txt"
        )
