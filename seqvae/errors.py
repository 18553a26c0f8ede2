"""The errors people are meant to read; commands print each as one line and exit with a status."""

from pathlib import Path


class Refused(ValueError):
    """Input that cannot be used; the message names the value, the reason and the cure.

    It is never a bug of ours.

    >>> raise Refused("latent = -1: a code has at least 0 dimensions. Set latent = 32.")
    Traceback (most recent call last):
    ...
    seqvae.errors.Refused: latent = -1: a code has at least 0 dimensions. Set latent = 32.
    """


class Diverged(RuntimeError):
    """The loss or a gradient is not finite; raised before the optimiser moved anything."""


class Stopped(Exception):
    """A signal asked training to end; its state was saved."""

    def __init__(self, step: int, number: int, folder: Path) -> None:
        self.number = number
        super().__init__(
            f"stopped after step {step} and saved; "
            f"go on with: seqvae train --resume --out {folder}"
        )
