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


def check_sizes(**sizes: int) -> None:
    """Raise `Refused` for the first size under 1, by its name."""
    for name, size in sizes.items():
        if size < 1:
            raise Refused(f"{name} = {size}: set it to 1 or more.")


def check_shares(**shares: float) -> None:
    """Raise `Refused` for the first share outside 0 to 1, by its name."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise Refused(f"{name} = {share}: a share lies between 0 and 1.")


def check_parts(length: int, **parts: int) -> None:
    """Raise `Refused` where a number by name does not divide a window of `length` tokens.

    >>> check_parts(96, bars=16)
    >>> check_parts(30, bars=16)
    Traceback (most recent call last):
    ...
    seqvae.errors.Refused: bars = 16 do not divide a window of 30 tokens: set bars = 15.
    """
    check_sizes(length=length, **parts)
    for name, value in parts.items():
        if length % value:
            divisors = (n for n in range(1, length + 1) if length % n == 0)
            nearest = min(divisors, key=lambda n: abs(n - value))
            raise Refused(
                f"{name} = {value} do not divide a window of {length} tokens: set {name} = "
                f"{nearest}."
            )


class Diverged(RuntimeError):
    """The loss, a gradient or a weight is not finite; the last good state was saved, or stands."""


class Lost(RuntimeError):
    """Another process of the same training no longer answers; the last whole step was saved."""


class Collapsed(Exception):
    """A run that was to stop where its code stays empty or unread has done so; it was saved."""

    def __init__(self, step: int, folder: Path, said: str) -> None:
        super().__init__(f"stopped after step {step} and saved in {folder}: {said}")


class Stopped(Exception):
    """A signal asked training to end; its state was saved."""

    def __init__(self, step: int, number: int, folder: Path) -> None:
        self.number = number
        super().__init__(
            f"stopped after step {step} and saved; "
            f"go on with: seqvae train --resume --out {folder}"
        )
