"""Dense layers and convolutions, and how they begin: what networks for pictures share."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from .errors import Refused, check_shares, check_sizes

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "elu", "silu"]
Init = Literal["torch", "normal"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}
SMALL = 0.01  # deviation of weights that begin as init="normal"


def activated(activation: Activation) -> nn.Module:
    """A layer that applies it. Raises `Refused` for a name that is none."""
    if activation not in ACTIVATIONS:
        raise Refused(f"activation = {activation!r} is not one of: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[activation]()


def dense(sizes: Sequence[int], activation: Activation, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers from each size to the next, with activation and dropout behind every one.

    >>> import torch
    >>> dense([5, 4, 3], "tanh")(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """
    check_shares(dropout=dropout)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activated(activation), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def begin(network: nn.Module, init: Init) -> None:
    """Leave weights as torch draws them, or with "normal" draw N(0, 0.01^2) and biases 0.

    The latter is how the published adversarial autoencoders of dense layers begin.
    Raises `Refused` for another word.
    """
    if init not in ("torch", "normal"):
        raise Refused(f"init = {init!r} is not one of: torch, normal.")
    if init == "normal":
        for weight in network.parameters():
            nn.init.normal_(weight, std=SMALL if weight.dim() > 1 else 0.0)


def halved(height: int, width: int, times: int) -> list[tuple[int, int]]:
    """Height and width halved so many times, each time rounded up: from the whole to the least.

    >>> halved(28, 9, 2)
    [(28, 9), (14, 5), (7, 3)]
    """
    return [(-(-height // 2**t), -(-width // 2**t)) for t in range(times + 1)]


def convolutions(channels: Sequence[int], kernel: int, activation: Activation) -> nn.Sequential:
    """From each number of channels to the next, (*, H, W) -> (*, H/2, W/2), rounded up.

    Raises `Refused` for an even kernel, which has no middle, or where there is no convolution.
    """
    _check(channels, kernel)
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers.append(nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2))
        layers.append(activated(activation))
    return nn.Sequential(*layers)


def deconvolutions(
    channels: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    kernel: int,
    activation: Activation,
) -> nn.Sequential:
    """The way back through sizes as `halved` gives them, from the last channels to the first.

    Nothing is applied behind the last of them. Raises `Refused` as `convolutions` does.
    """
    _check(channels, kernel)
    layers: list[nn.Module] = []
    for (after, before), size in reversed(list(zip(pairwise(channels), sizes, strict=False))):
        # n rows become 2 n - 1, and one more where the picture has an even number.
        more = (1 - size[0] % 2, 1 - size[1] % 2)
        layers.append(activated(activation))
        layers.append(nn.ConvTranspose2d(before, after, kernel, 2, kernel // 2, more))
    return nn.Sequential(*layers[1:])


def _check(channels: Sequence[int], kernel: int) -> None:
    check_sizes(channels=min(channels), kernel=kernel)
    if len(channels) < 2:
        raise Refused("channels = []: name those of one convolution or more, as [32, 64].")
    if kernel % 2 == 0:
        raise Refused(f"kernel = {kernel}: it lies about a pixel; set an odd size, 3 or 5.")
