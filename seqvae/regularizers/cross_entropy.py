"""The label of an item must be readable from the item: what teaches a label head."""

from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import one_hot

from ..errors import Refused
from ..vae import Pass
from .regularizer import Regularizer


class CrossEntropy(Regularizer):
    """-log y(x)[label] per item (B,), nats: y(x) the probabilities of the model's label head.

    With weight 10 beside the ELBO, and the decoder reading y(x) behind z, this is an auxiliary
    classifier: labels are a target and not an input, so that none are needed to encode, and any
    may be set to generate. Without it nothing ties what the head says to the labels. It knows
    nothing of z, so the encoder does not feel it.

    Raises `Refused` for a model without a label head, and for items without labels.

    >>> import torch
    >>> from seqvae.distributions import gaussian
    >>> from seqvae.posteriors.label import LabelPosterior
    >>> from seqvae.vae import Batch
    >>> q, x = gaussian(torch.zeros(2, 8), torch.ones(2, 8)), torch.full((2, 3), 5)
    >>> batch = Batch(x, torch.full((2,), 3), torch.tensor([0, 1]), torch.arange(2))
    >>> y = LabelPosterior(2)(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
    >>> cost = CrossEntropy()(Pass(batch, q, q, q.mean, q, torch.zeros(2), y))
    >>> [round(nats, 2) for nats in cost.tolist()]
    [0.69, 0.13]
    """

    def forward(self, out: Pass) -> Tensor:
        if out.y is None:
            raise Refused(
                "CrossEntropy teaches a label head, and this model has none. Add the section "
                "[label] to the recipe (--set label={}), or take the term out."
            )
        if out.batch.label is None:
            raise Refused(
                "CrossEntropy needs the label of every item, and these have none. Prepare the "
                "corpus with labels (seqvae prepare … --label COLUMN), or take the term out."
            )
        return cross_entropy(out.y, out.batch.label)


def cross_entropy(y: Distribution, label: Tensor) -> Tensor:
    """-log y[label] (B,), nats, of labels (B,) under distributions over K of them, event (K,)."""
    return -y.log_prob(one_hot(label, y.event_shape[0]))
