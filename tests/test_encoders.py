"""The laws of every encoder: padding and neighbours are never seen, every weight is used."""

from itertools import product
from typing import Any, get_args

import pytest
import torch
from small import LATENT, PICTURES, SENTENCES, VOCAB, batch, exports, make, of_sequences, pad, same
from torch import nn

from seqvae import encoders, posteriors
from seqvae.encoders.sequence import Pool
from seqvae.errors import Refused
from seqvae.tokens import PAD

KINDS = of_sequences(encoders)
CASES = [
    pytest.param(
        {"kind": kind, "pool": pool, "layers": layers}, id=f"{kind.__name__}-{pool}-{layers}"
    )
    for kind, pool, layers in product(KINDS, get_args(Pool), (1, 2))
]
laws = pytest.mark.parametrize("case", CASES)


def encoder_of(case: dict[str, Any], **other: Any) -> Any:
    arguments = case | other
    return make(arguments.pop("kind"), **arguments).eval()


@laws
def test_codes_ignore_padding_neighbours_and_order(case: dict[str, Any]) -> None:
    encoder = encoder_of(case)
    mu = encoder(batch()).mean
    same(encoder(pad(batch())).mean, mu)
    for row, ids in enumerate(SENTENCES):
        same(encoder(batch([ids])).mean[0], mu[row])
    order = [2, 0, 3, 1]
    same(encoder(batch([SENTENCES[row] for row in order])).mean, mu[order])


@laws
def test_codes_depend_on_every_token(case: dict[str, Any]) -> None:
    encoder = encoder_of(case)
    if case["pool"] == "max":  # a unit sees the token that is largest: with many units, each one
        encoder = encoder_of(case, hidden=64, width=64)
    ids = [4, 5, 6, 7, 3]
    mu = encoder(batch([ids])).mean
    for place in range(4):
        changed = [*ids[:place], 8, *ids[place + 1 :]]
        assert (encoder(batch([changed])).mean - mu).abs().max() > 1e-5


@laws
def test_codes_depend_on_the_order_of_tokens(case: dict[str, Any]) -> None:
    encoder = encoder_of(case, hidden=64, width=64)
    mu = encoder(batch([[4, 5, 6, 3], [5, 4, 6, 3]])).mean
    assert (mu[0] - mu[1]).abs().max() > 1e-4


@laws
def test_gradient_reaches_every_weight(case: dict[str, Any]) -> None:
    encoder = encoder_of(case).train()
    z = encoder(batch()).rsample()
    (z * torch.randn_like(z)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    unseen = [token for token in range(VOCAB) if not (batch().x == token).any()]
    assert (encoder.embedding.weight.grad[[PAD, *unseen]] == 0).all()


@pytest.mark.parametrize("kind", exports(encoders))
@pytest.mark.parametrize("head", exports(posteriors))
def test_every_encoder_takes_every_posterior(kind: Any, head: Any) -> None:
    q = make(kind, posterior=head(LATENT))(batch(PICTURES))
    size = 0 if kind is encoders.EmptyEncoder else LATENT
    assert (q.batch_shape, q.event_shape) == ((4,), (size,))
    assert q.rsample((2,)).shape == (2, 4, size)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_equals_torchs_own_on_packed_sequences(layers: int, bidirectional: bool) -> None:
    encoder = make(encoders.LSTMEncoder, layers=layers, bidirectional=bidirectional)
    theirs = nn.LSTM(8, 8, layers, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for layer in range(layers):
            ours = {"": encoder.forwards[layer]}
            if bidirectional:
                ours["_reverse"] = encoder.backwards[layer]
            for suffix, lstm in ours.items():
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    mine = getattr(lstm, f"{name}_l0")
                    getattr(theirs, f"{name}_l{layer}{suffix}").copy_(mine)
    items = batch()
    packed = nn.utils.rnn.pack_padded_sequence(
        encoder.embedding(items.x), items.length, batch_first=True, enforce_sorted=False
    )
    read, (last, _) = theirs(packed)
    expected, _ = nn.utils.rnn.pad_packed_sequence(read, batch_first=True)
    real = (items.x != 0).unsqueeze(-1)
    same(encoder.states(encoder.embedding(items.x), items) * real, expected)
    final = torch.cat([last[-2], last[-1]], dim=-1) if bidirectional else last[-1]
    same(encoder.summary(encoder.embedding(items.x), items), final)


def test_pools_are_what_they_say() -> None:
    encoder = make(encoders.LSTMEncoder, pool="max")
    items = batch()
    states = encoder.states(encoder.embedding(items.x), items)
    for row, length in enumerate(items.length.tolist()):
        own = states[row, :length]
        same(encoder.summary(encoder.embedding(items.x), items)[row], own.amax(0))
        encoder.pool = "mean"
        same(encoder.summary(encoder.embedding(items.x), items)[row], own.mean(0))
        encoder.pool = "max"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [{"layers": 0}, {"dropout": 1.1}, {"embed": 0}, {"heads": 3}])
def test_sizes_and_shares_out_of_range_are_refused(kind: Any, wrong: dict[str, Any]) -> None:
    if set(kind.__init__.__kwdefaults__) >= set(wrong):
        with pytest.raises(Refused, match=next(iter(wrong))):
            make(kind, **wrong)
