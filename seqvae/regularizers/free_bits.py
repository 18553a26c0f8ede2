"""Free bits: a rate below which the KL costs nothing."""

from typing import Literal

from torch import Tensor

from ..distributions import kl, kl_per_dimension
from ..errors import Refused
from ..processes import gathered
from ..vae import Pass
from .regularizer import Regularizer

Per = Literal["dimension", "sentence", "batch_dimension"]


class FreeBits(Regularizer):
    """The KL with a floor of `nats`, in the three readings that were published.

    - per="dimension": sum_d max(KL_d(x), nats), each dimension of each sentence (Li et al.,
      2019, section 3.2, where the target is nats * D).
    - per="sentence": max(sum_d KL_d(x), nats), the total of each sentence.
    - per="batch_dimension": sum_d max(mean_x KL_d(x), nats), one number for the batch (Kingma
      et al., 2016, appendix C.8, with one dimension a group).

    Under the floor there is no gradient, so the encoder is free to use that much.

    Raises `Refused` where a reading per dimension meets a q or p that is no product.

    >>> import torch
    >>> from seqvae.distributions import gaussian
    >>> p = gaussian(torch.zeros(2), torch.ones(2))
    >>> q = gaussian(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2))  # KL 2, 0; 0, 0
    >>> out = Pass(None, q, p, q.mean, None, None)
    >>> FreeBits(nats=0.5)(out).tolist(), FreeBits(nats=0.5, per="sentence")(out).tolist()
    ([2.5, 1.0], [2.0, 0.5])
    >>> FreeBits(nats=0.5, per="batch_dimension")(out).item()
    1.5
    """

    of_rate = True

    def __init__(self, *, nats: float, per: Per = "dimension") -> None:
        super().__init__()
        if not nats >= 0:
            raise Refused(
                f"nats = {nats}: a floor under the KL is not negative; set it to 0 or more."
            )
        self.nats = nats
        self.per = per
        self.of_batch = per == "batch_dimension"

    def forward(self, out: Pass) -> Tensor:
        if self.per == "sentence":
            return kl(out.q, out.p, out.z).clamp_min(self.nats)
        rates = kl_per_dimension(out.q, out.p)
        if self.per == "batch_dimension":
            rates = gathered(rates).mean(0)
        return rates.clamp_min(self.nats).sum(-1)
