"""Ways without a layer in between: from a token to the code, and from the code to a position."""

from typing import Any

import pytest
import torch
from small import batch, make, same
from torch import Tensor

from seqvae.codecs.codec import Clock
from seqvae.decoders import TimedDecoder, VoicedDecoder, WindowDecoder
from seqvae.encoders import BarwiseEncoder, WindowEncoder

LENGTH, D = 4, 5
CLOCK = Clock(4, 1, (-2,) * 4 + (0, 1, 2, 3) + (-2,) * 2)
DECODERS = pytest.mark.parametrize(
    ("kind", "made"),
    [
        (WindowDecoder, {"length": LENGTH}),
        (VoicedDecoder, {"length": LENGTH, "voices": 2, "inner": 6}),
        (TimedDecoder, {"clock": CLOCK}),
    ],
)


@pytest.mark.parametrize(
    ("kind", "made"), [(WindowEncoder, {}), (BarwiseEncoder, {"bars": 2, "share": 3})]
)
def test_without_layers_the_parameters_of_q_are_linear_in_the_embeddings(
    kind: Any, made: dict[str, Any]
) -> None:
    encoder = make(kind, length=LENGTH, hidden=0, **made).eval()
    items = batch([[4, 5, 6, 7]])
    one, other = torch.randn(2, 1, LENGTH, encoder.embedding.embedding_dim)

    def mean(embedded: Tensor) -> Tensor:
        return encoder.posterior_of(embedded, items).mean

    rest = mean(torch.zeros_like(one))
    same(mean(one + other), mean(one) + mean(other) - rest, 1e-5)
    assert (mean(one) - rest).abs().max() > 1e-3


@DECODERS
def test_a_direct_plan_is_linear_in_the_code(kind: Any, made: dict[str, Any]) -> None:
    decoder = make(kind, latent=D, direct=True, **made).eval()
    one, other = torch.randn(2, 1, D)

    def plan(z: Tensor) -> Tensor:
        return decoder.start(z)["plan"]

    rest = plan(torch.zeros(1, D))
    same(plan(one + other), plan(one) + plan(other) - rest, 1e-5)
    assert (plan(one) - rest).abs().max() > 1e-3
    bent = make(kind, latent=D, **made).eval()
    start = bent.start(torch.zeros(1, D))["plan"]
    sums = [bent.start(z)["plan"] for z in (one + other, one, other)]
    assert (sums[0] - sums[1] - sums[2] + start).abs().max() > 1e-4


@DECODERS
@pytest.mark.parametrize("latent", [D, 0])
def test_gradient_reaches_every_weight(kind: Any, made: dict[str, Any], latent: int) -> None:
    decoder = make(kind, latent=latent, direct=True, **made)
    decoder(torch.randn(2, latent)).log_prob(torch.tensor([[4, 5, 6, 7]] * 2)).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
