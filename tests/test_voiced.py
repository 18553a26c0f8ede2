"""Voices of a step in turn: by the equations, step by step, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from console import Command
from small import VOCAB, loud, make, same
from torch import Tensor
from torch.nn.functional import gelu

from seqvae.decoders import VoicedDecoder
from seqvae.decoders.sequence import State
from seqvae.errors import Refused
from seqvae.tokens import BOS

LENGTH, VOICES, D = 12, 3, 5
STEPS = LENGTH // VOICES
WINDOWS = torch.tensor(
    [[4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5], [8, 8, 4, 4, 6, 6, 5, 5, 7, 4, 8, 6]]
)


def decoder_of(latent: int = D, **other: Any) -> VoicedDecoder:
    made = {"length": LENGTH, "voices": VOICES, "latent": latent} | other
    return loud(make(VoicedDecoder, **made).eval())


def scores_of(decoder: VoicedDecoder, x: Tensor, z: Tensor) -> Tensor:
    return decoder.head(decoder.features(x, z))


def test_features_are_those_of_the_equations() -> None:
    decoder, z = decoder_of(), torch.randn(2, D)
    assert decoder.first is not None and decoder.planner is not None and decoder.layout is not None
    read = torch.cat([torch.full((2, 1), BOS), WINDOWS[:, :-1]], 1)
    e = decoder.embedding(read).view(2, STEPS, VOICES, -1)
    plan = decoder.layout(gelu(decoder.planner(z))).view(2, STEPS, -1)
    u = decoder.of_step.weight.view(VOICES, -1, VOICES, e.shape[-1])
    memory = (decoder.first(z).tanh()[None], decoder.first(z)[None])
    before = [torch.zeros_like(e[:, 0, 0])] * VOICES
    for s in range(STEPS):
        before = [*before[1:], e[:, s, 0]]
        h, memory = decoder.lstm(torch.cat([*before, plan[:, s]], 1).unsqueeze(1), memory)
        v = decoder.of_state(h[:, 0]).view(2, VOICES, -1)
        for p in range(VOICES):
            heard = sum(e[:, s, q] @ u[p, :, q].T for q in range(p + 1))
            same(decoder.features(WINDOWS, z)[:, s * VOICES + p], gelu(v[:, p] + heard))
        before = [*before[1:], *e[:, s, 1:].unbind(1)][-VOICES:]


def test_the_lstm_takes_one_step_for_all_voices_together() -> None:
    decoder, z = decoder_of(), torch.randn(2, D)
    taken: list[int] = []
    decoder.lstm.register_forward_pre_hook(lambda _, given: taken.append(given[0].shape[1]))
    decoder.features(WINDOWS, z)
    assert taken == [STEPS]
    state = decoder.start(z)
    for place in range(LENGTH):
        _, state = decoder.step(WINDOWS[:, place], state)
    assert taken == [STEPS] + [1] * STEPS


@pytest.mark.parametrize("latent", [D, 0])
def test_items_at_different_places_are_written_each_as_if_alone(latent: int) -> None:
    """Beams may mix what is at different voices, and in different steps."""
    decoder, z = decoder_of(latent), torch.randn(2, latent)
    true = scores_of(decoder, WINDOWS, z)
    read = torch.cat([torch.full((2, 1), BOS), WINDOWS], 1)
    states = []
    for item, ahead in enumerate((4, 0)):
        state = decoder.start(z[item : item + 1])
        for place in range(ahead):
            _, state = decoder.step(read[item : item + 1, place], state)
        states.append(state)
    state = State({name: torch.cat([s[name] for s in states]) for name in states[0]})
    for place in range(LENGTH - 4):
        scores, state = decoder.step(torch.stack([read[0, place + 4], read[1, place]]), state)
        same(scores, torch.stack([true[0, place + 4], true[1, place]]))


def test_behind_the_window_the_plan_begins_anew() -> None:
    decoder, z = decoder_of(), torch.randn(2, D)
    once = decoder.start(z)["plan"]
    seen: list[Tensor] = []
    decoder.lstm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    told = scores_of(decoder, WINDOWS.repeat(1, 2)[:, : LENGTH + 4], z)
    assert told.shape == (2, LENGTH + 4, VOCAB)
    plan = seen[0][..., -once.shape[-1] :]
    same(plan, torch.cat([once, once[:, :2]], 1))


@pytest.mark.parametrize("latent", [D, 0])
def test_gradient_reaches_every_weight(latent: int) -> None:
    decoder = make(VoicedDecoder, latent=latent, length=LENGTH, voices=VOICES)
    decoder(torch.randn(2, latent)).log_prob(WINDOWS).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    u = decoder.of_step.weight.grad.view(VOICES, -1, VOICES, decoder.embedding.embedding_dim)
    reached = u.abs().sum((1, 3)) > 0
    assert torch.equal(reached, torch.ones(VOICES, VOICES).tril().bool())


def test_voices_that_do_not_divide_the_window_are_refused_with_those_that_do() -> None:
    with pytest.raises(Refused, match="voices = 5 do not divide a window of 12 tokens: set voic"):
        decoder_of(voices=5)
    with pytest.raises(Refused, match="voices = 0"):
        decoder_of(voices=0)


@pytest.mark.parametrize("recipe", ["feel", "trio", "chorales"])
def test_shipped_recipes_give_their_codec_as_many_voices_as_it_has(
    seqvae: Command, recipe: str, tmp_path: Path
) -> None:
    """A recipe is tried at the size of its own windows before anything is prepared."""
    wrong = seqvae("train", recipe, "composed", "--out", tmp_path, "--set", "decoder.voices=7")
    assert wrong.status != 0 and "voices = 7 do not divide a window of" in wrong.err
    assert not (tmp_path / "corpus").exists()
