"""A prior whose dimensions are independent copies of any one-dimensional torch distribution."""

import inspect
from typing import Any

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from ..errors import Refused
from ..vae import Prior


class Product(Prior):
    """p(z) = prod_d family(z_d; parameters), the family named as in `torch.distributions`.

    Arguments:
        latent: D.
        family: "Laplace", "Uniform", "Gamma", "StudentT", …
        parameters: the family's numbers by name, e.g. {"loc": 0.0, "scale": 1.0}.

    >>> Product(3, family="Laplace", parameters={"loc": 0.0, "scale": 1.0})().sample().shape
    torch.Size([3])
    """

    def __init__(self, latent: int, *, family: str, parameters: dict[str, float]) -> None:
        super().__init__()
        self.family = _family(family)
        self.names = list(parameters)
        try:
            for name, value in parameters.items():
                tensor = torch.full((latent,), float(value))
                self.register_buffer(f"parameter_{name}", tensor, persistent=False)
            _Bounded(self.family(**self._named(), validate_args=True), 1)
        except (TypeError, ValueError, KeyError) as error:
            given = ", ".join(f"{name}={value}" for name, value in parameters.items())
            raise Refused(
                f"{family}({given}) is no distribution of one number: {error}. "
                f"It takes {inspect.signature(self.family)}."
            ) from error

    def forward(self) -> Distribution:
        return _Bounded(self.family(**self._named(), validate_args=False), 1, validate_args=False)

    def _named(self) -> dict[str, Any]:
        return {name: getattr(self, f"parameter_{name}") for name in self.names}


class _Bounded(Independent):  # type: ignore[type-arg]  # generic only in recent torch
    """Independent copies whose density is zero outside their support, where torch would raise."""

    def log_prob(self, value: Tensor) -> Tensor:
        inside = self.base_dist.support.check(value)
        return self.base_dist.log_prob(value).masked_fill(~inside, -torch.inf).sum(-1)


def _family(name: str) -> type[Distribution]:
    found = getattr(distributions, name, None)
    if not (isinstance(found, type) and issubclass(found, Distribution)):
        known = [n for n in distributions.__all__ if n[0].isupper()]
        raise Refused(f"torch.distributions has no {name!r}; it has {', '.join(known)}.")
    return found
