"""A real corpus with no download: plain sentences out of the docstrings of installed Python."""

import ast
import random
import re
import sysconfig
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from seqvae.corpus import Replacing

# What seqvae's own dependencies bring along, so that an installation always has it.
PACKAGES = ("matplotlib", "networkx", "numpy", "pandas", "sympy")
NOT_PROSE = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}
WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*[,;:]?")
CODE_NAME = re.compile(r"[a-z][A-Z]|[A-Z]{6}")
MARKUP = (" ", "\t", ">", ".", ":", "@", "-", "*", "+", "|", "#", "=")
ARTICLES_AND_SUCH = "the a an is are be to of in and or for if it that this with as by not from on"
ORDINARY = frozenset(ARTICLES_AND_SUCH.split())

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstring_sentences(limit: int | None = None, seed: int = 0) -> list[str]:
    """Unique plain sentences of 4 to 20 words out of docstrings; the same for an installation.

    Sources are parsed, never imported: the standard library first, then `PACKAGES` where they
    are installed. `limit` ends the search early; the seed orders the files of each library.

    >>> len(docstring_sentences(limit=20))
    20
    """
    seen: dict[str, None] = {}
    for text in _docstrings(seed):
        seen.update(dict.fromkeys(prose_sentences(text)))
        if limit is not None and len(seen) >= limit:
            break
    return list(islice(seen, limit))


def prose_sentences(docstring: str) -> list[str]:
    """The sentences of a docstring that are plain prose: no code, prompts, tables or lists.

    >>> prose_sentences("Return the sum of two numbers. See f(x).\\n\\n>>> add(1, 2)\\n3")
    ['Return the sum of two numbers.']
    """
    paragraphs = re.split(r"\n\s*\n", docstring)
    plain = [text for text in paragraphs if "::" not in text and not _has_markup(text)]
    parts = (re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(text.split())) for text in plain)
    return [part for found in parts for part in found if _is_sentence(part)]


def write_docstrings(path: Path, limit: int | None = None, seed: int = 0) -> int:
    """Write `docstring_sentences` as text, one a line; returns how many."""
    sentences = docstring_sentences(limit, seed)
    with Replacing(Path(path)) as file:
        file.writelines(f"{sentence}\n".encode() for sentence in sentences)
    return len(sentences)


def _has_markup(paragraph: str) -> bool:
    return any(line.startswith(MARKUP) for line in paragraph.split("\n"))


def _is_sentence(text: str) -> bool:
    words = text[:-1].split(" ")
    return (
        text[:1].isupper()
        and text[-1] in ".!?"
        and 4 <= len(words) <= 20
        and all(WORD.fullmatch(word) for word in words)
        and not CODE_NAME.search(text)
        and not ORDINARY.isdisjoint(text.lower().split())
    )


def _docstrings(seed: int) -> Iterator[str]:
    for root in _libraries():
        files = [path for path in sorted(root.rglob("*.py")) if _may_hold_prose(root, path)]
        random.Random(seed).shuffle(files)
        for path in files:
            yield from _file_docstrings(path)


def _libraries() -> Iterator[Path]:
    yield Path(sysconfig.get_path("stdlib"))
    for name in PACKAGES:
        yield Path(sysconfig.get_path("purelib")) / name


def _may_hold_prose(root: Path, path: Path) -> bool:
    return NOT_PROSE.isdisjoint(path.relative_to(root).parts)


def _file_docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's invalid escapes
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # libraries carry broken files on purpose, as templates or for their tests
    for node in _documented(tree):
        yield ast.get_docstring(node) or ""


def _documented(node: ast.AST) -> Iterator[Documented]:
    """Modules, classes and functions; expressions, most of a tree, are not entered."""
    if isinstance(node, Documented):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler):
            yield from _documented(child)
