"""Draws for a share of a batch, cut out of those that one process alone would make."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .shares import Share


class Drawn(TorchFunctionMode):
    """Within, what is drawn for the items of this process is cut out of a draw for all items.

    A draw has its items first, (B, ...) or (K B, ...) with samples of each, or behind samples,
    (K, B, ...) of three dimensions or more. What is drawn for the whole batch says so (`alike`).
    A draw of no such shape, or that is not one of torch's plain normal or uniform ones (network
    dropout, von Mises-Fisher), is each process's own: as good, but not that of one process alone.
    """

    def __init__(self, share: Share, seed: int) -> None:
        super().__init__()
        self.share = share
        self.seed = seed
        self.is_alike = False
        self.generators: dict[torch.device, torch.Generator] = {}

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Within, torch draws for itself, from where the draws for all items stand."""
        pairs = [(self._generator(each.device), each) for each in _own_generators()]
        before = [own.get_state() for _, own in pairs]
        for shared, own in pairs:
            own.set_state(shared.get_state())
        self.is_alike = True
        try:
            yield
        finally:
            self.is_alike = False
            for (shared, own), state in zip(pairs, before, strict=True):
                shared.set_state(own.get_state())
                own.set_state(state)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = kwargs.get("generator") is not None
        if function not in DRAWS or given or self.is_alike:
            return function(*args, **kwargs)
        return DRAWS[function](self, function, *args, **kwargs)

    def filled(self, like: Tensor, fill: Callable[..., Tensor], *args: Any) -> Tensor:
        """Like this tensor, filled as it would be in one process alone."""
        shape, (start, stop) = list(like.shape), self.share.own
        split = _split(shape, stop - start)
        if split is None:
            return fill(like.new_empty(shape), *args)
        samples, *others = split
        whole, generator = (samples, self.share.size, *others), self._generator(like.device)
        drawn = fill(like.new_empty(whole), *args, generator=generator)
        return drawn[:, start:stop].reshape(shape)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]


def _split(shape: Sequence[int], own: int) -> tuple[int, ...] | None:
    """A shape as samples of each item, and what one of them is; None where it has no items."""
    if len(shape) > 2 and shape[1] == own:
        return shape[0], *shape[2:]
    if not shape or shape[0] % own:
        return None
    return shape[0] // own, *shape[1:]


def _own_generators() -> list[torch.Generator]:
    """Those from which torch draws for itself: the processor's, and that of the GPU in use."""
    found = [torch.default_generator]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found.append(torch.cuda.default_generators[torch.cuda.current_device()])
    return found


def _in_place(mode: Drawn, function: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tensor.copy_(mode.filled(tensor, lambda *a, **k: function(*a, **kwargs, **k), *args))


def _uniform(mode: Drawn, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty(*args, **kwargs), Tensor.uniform_)


def _standard(mode: Drawn, function: Any, *args: Any, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty(*args, **kwargs), Tensor.normal_)


def _uniform_like(mode: Drawn, function: Any, like: Tensor, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.uniform_)


def _standard_like(mode: Drawn, function: Any, like: Tensor, **kwargs: Any) -> Tensor:
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.normal_)


def _normal(mode: Drawn, function: Any, mean: Tensor, std: Tensor) -> Tensor:
    return mean + std * mode.filled(mean + std, Tensor.normal_)


def _integers_like(mode: Drawn, function: Any, like: Tensor, *ends: int, **kwargs: Any) -> Tensor:
    low, high = ends if len(ends) == 2 else (0, *ends)
    return mode.filled(torch.empty_like(like, **kwargs), Tensor.random_, low, high)


DRAWS: dict[Any, Callable[..., Tensor]] = {
    torch.rand: _uniform,
    torch.randn: _standard,
    torch.rand_like: _uniform_like,
    torch.randn_like: _standard_like,
    torch.randint_like: _integers_like,
    torch.normal: _normal,
    Tensor.normal_: _in_place,
    Tensor.uniform_: _in_place,
    Tensor.exponential_: _in_place,
}
