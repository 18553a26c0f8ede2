"""Codecs whose ids can be listed: on disk their settings, and beside them what every id says."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from ..errors import Refused
from ..tokens import NAMES
from .codec import Codec
from .folder import Saved, read_folder, write_folder

LIST = "tokens.txt"  # the data file: what every id says


class ListedCodec(Codec):
    """A codec that its settings make again; the list is for people, and to tell damage by."""

    words: ClassVar[tuple[str, ...]] = ()  # settings that are words, all others being numbers

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments that make the same codec again."""

    @abstractmethod
    def names(self) -> list[str]:
        """What every id says, from the first that stands for something (V - 4)."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._list[i] if 0 <= i < self.vocab else NAMES[1] for i in map(int, ids)]

    @cached_property
    def _list(self) -> list[str]:
        return [*NAMES, *self.names()]

    def save(self, folder: Path) -> None:
        data = "".join(f"{i}\t{name}\n" for i, name in enumerate(self._list)).encode()
        write_folder(folder, Saved(self.kind, self.settings(), data), LIST)

    @classmethod
    def load(cls, folder: Path) -> Self:
        saved = read_folder(folder)
        try:
            made = cls(**cls._checked(saved.settings))
        except (TypeError, ValueError) as error:
            raise Refused(f"{folder}/codec.json is damaged ({error}). Copy it again.") from error
        if (said := saved.data.count(b"\n")) != made.vocab:
            raise Refused(
                f"{folder}/codec.json is damaged: by its settings there are {made.vocab} ids, "
                f"{LIST} says {said}. Copy the folder again."
            )
        return made

    @classmethod
    def _checked(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings. Raises `TypeError` for one that no codec saved."""
        for name, value in settings.items():
            if type(value) is not (str if name in cls.words else int):
                raise TypeError(f"{name} = {value!r}")
        return settings
