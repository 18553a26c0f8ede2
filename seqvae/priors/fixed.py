"""A prior that is a torch distribution somebody made."""

from torch.distributions import Distribution

from ..errors import Refused
from ..vae import Prior


class Fixed(Prior):
    """p(z) is `distribution`, with event shape (D,): a mixture, a transformed normal, ….

    For use from Python: a recipe names a `StandardNormal` or a `Product` instead. The
    distribution's tensors stay on the device they were made on.

    >>> import torch
    >>> from torch.distributions import MultivariateNormal
    >>> Fixed(MultivariateNormal(torch.zeros(3), torch.eye(3)))().sample((2,)).shape
    torch.Size([2, 3])
    """

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        if len(distribution.event_shape) != 1 or distribution.batch_shape:
            raise Refused(
                f"a prior is one distribution over vectors (D,); this has batch shape "
                f"{tuple(distribution.batch_shape)} and event shape "
                f"{tuple(distribution.event_shape)}. Wrap it: Independent(distribution, 1)."
            )
        self.distribution = distribution

    def forward(self) -> Distribution:
        return self.distribution
