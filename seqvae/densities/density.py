"""What every density is: fitted on codes, and drawn from; it has no likelihood to misuse."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from ..errors import Refused

Tell = Callable[[str, int, int], None]  # what, done, of how many

FEWEST = 20  # codes below which nothing is learnt of where they lie
ROUNDING = 1e-4  # of a length, relative
HELD_OUT = 0.1  # share of the codes by which a fit is chosen


class Density(nn.Module, ABC):
    """q̂(z), fitted on codes z ~ q(z) = E_x q(z|x) of a trained model, to draw codes from.

    Where the prior has holes, places that it likes and no item is encoded to, the decoder has
    never seen what is drawn there. q̂ is drawn from instead (Ghosh et al., 2020, section 4). It is
    fitted to samples of the posteriors, not to their means: samples are what the decoder was
    trained on. Means lie closer together, at one point in a dimension that the code does not use.

    On purpose there is no `log_prob`: log p(x) and its bounds are the model's, under its prior.

    Its tensors are float32, on the CPU. `sizes` are the constructor's arguments, which make an
    empty one for tensors to be loaded into.
    """

    kind: ClassVar[str]
    radius: Tensor  # of the sphere on which all codes lie; 0 where they lie on none

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent  # D
        self.register_buffer("radius", torch.zeros(()))

    @classmethod
    @abstractmethod
    def fit(cls, codes: Tensor, *, seed: int = 0, tell: Tell | None = None) -> Self:
        """Fit one on codes (N, D), one an item; `tell` is told how far it is.

        Raises `Refused` for too few codes, of no dimensions, or not finite.
        """

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Codes (count, D), drawn by the generator, or by torch's own."""
        z = self.draw(count, generator)
        if self.radius == 0:
            return z
        # Of a posterior on a sphere (von Mises-Fisher): off it, the decoder has seen nothing.
        return self.radius * torch.nn.functional.normalize(z, dim=1)

    @abstractmethod
    def draw(self, count: int, generator: Generator | None) -> Tensor:
        """The same before it is put on the sphere, if there is one."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]: ...

    @property
    @abstractmethod
    def about(self) -> str:
        """What it is, for a reader."""


def check_codes(codes: Tensor) -> Tensor:
    """Codes (N, D) as float32 on the CPU. Raises `Refused` for what nothing can be fitted on."""
    if codes.dim() != 2 or codes.shape[1] == 0:
        raise Refused(
            f"codes of shape {tuple(codes.shape)}: a density is fitted on codes (N, D) with D of "
            "1 or more. A language model (latent = 0) has none."
        )
    if len(codes) < FEWEST:
        raise Refused(f"{len(codes)} codes: fit a density on {FEWEST} or more, better thousands.")
    if not bool(codes.isfinite().all()):
        raise Refused("some codes are not finite: this model has diverged. Train it again.")
    return codes.detach().float().cpu()


class Scaled(NamedTuple):
    """Codes (N, D) moved to mean 0 and width 1 in every dimension, and how to move them back."""

    codes: Tensor
    mean: Tensor
    width: Tensor


def scaled(codes: Tensor) -> Scaled:
    """So that what is fitted does not depend on the units of a code.

    A dimension that stands still (of an autoencoder, which may leave one out) keeps width 0.

    >>> scaled(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).codes.tolist()
    [[-0.7071067690849304, 0.0], [0.7071067690849304, 0.0]]
    """
    mean, width = codes.mean(0), codes.std(0)
    return Scaled((codes - mean) / width.where(width > 0, 1.0), mean, width)


def radius_of(codes: Tensor) -> Tensor:
    """The length that all codes (N, D) have, up to rounding; 0 where they differ in it.

    >>> radius_of(torch.tensor([[3.0, 4.0], [0.0, -5.0]])), radius_of(torch.eye(2) + 1)
    (tensor(5.), tensor(2.2361))
    >>> radius_of(torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
    tensor(0.)
    """
    length = codes.norm(dim=1)
    mean = length.mean()
    return mean if bool((length - mean).abs().max() < ROUNDING * mean) else torch.zeros(())


def apart(codes: Tensor) -> tuple[Tensor, Tensor]:
    """A random nine tenths of some codes, to learn from, and the rest, to choose by."""
    order = torch.randperm(len(codes))
    held = max(round(HELD_OUT * len(codes)), 2)
    return codes[order[held:]], codes[order[:held]]
