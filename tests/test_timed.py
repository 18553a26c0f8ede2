"""Events by the time at which they happen: what time it is, who reads it, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import VOCAB, batch, loud, make, same
from torch import Tensor
from torch.nn.functional import gelu

from seqvae import recipe
from seqvae.build import build
from seqvae.clock import Timekeeper
from seqvae.codecs import MelodyCodec, MultitrackCodec, PolyphonyCodec
from seqvae.codecs.codec import BAR, NOTHING, Clock
from seqvae.decoders import TimedDecoder
from seqvae.encoders import TimedEncoder
from seqvae.errors import Refused
from seqvae.midi import notes_of
from seqvae.midi.clips import Clip
from seqvae.tokens import BOS, EOS, PAD

D = 5
BEGIN, ON, OFF, A, B = range(4, 9)  # a bar begins, its two steps, and two sorts of event
CLOCK = Clock(2, 2, (NOTHING,) * 4 + (BAR, 0, 1, NOTHING, NOTHING))
# Ids, and the step each happens at.
KNOWN = [
    ([BEGIN, ON, A, OFF, B, BEGIN, OFF, A, A, EOS], [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]),
    ([BEGIN, BEGIN, A], [0, 2, 2]),  # a bar may be empty,
    ([BEGIN, OFF, A, ON, B], [0, 1, 1, 0, 0]),  # and time go back
    ([A, OFF, A, BEGIN, A], [0, 0, 0, 0, 0]),  # nothing is before the first bar
    ([BEGIN, BEGIN, BEGIN, ON, A], [0, 2, 3, 3, 3]),  # or behind the last
    ([BOS, BEGIN, OFF, PAD, PAD], [0, 0, 1, 1, 1]),
]


def decoder_of(latent: int = D) -> TimedDecoder:
    return loud(make(TimedDecoder, latent=latent, clock=CLOCK).eval())


@pytest.mark.parametrize("ids, steps", KNOWN)
def test_events_happen_where_those_before_them_have_led(ids: list[int], steps: list[int]) -> None:
    assert Timekeeper(CLOCK)(torch.tensor([ids])).tolist() == [steps]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=12))
def test_the_time_is_the_same_token_by_token(ids: list[int]) -> None:
    keeper, x = Timekeeper(CLOCK), torch.tensor([ids, ids[::-1]])
    time, heard = keeper.before(torch.zeros(2, dtype=torch.long)), []
    for place in range(len(ids)):
        time = keeper.after(x[:, place], time)
        heard.append(keeper.within(time))
    assert torch.equal(torch.stack(heard, 1), keeper(x))


@pytest.mark.parametrize("kind", [PolyphonyCodec, MultitrackCodec])
@pytest.mark.parametrize("metre, bar", [("4/4", 16), ("6/8", 12), ("7/8", 14)])
def test_codecs_of_events_say_when_every_note_of_theirs_begins(
    kind: type[PolyphonyCodec], metre: str, bar: int
) -> None:
    codec = kind(metre=metre)
    clip_of = {"program:0" if codec.several else "piano": [0, 1, 5, 11, bar - 1, bar + 3]}
    [(part, begins)] = clip_of.items()
    notes = notes_of([(s * 240, s * 240 + 240, 60 + i, 80) for i, s in enumerate(begins)])
    clip = Clip({part: notes}, 2 * bar * 240, 960, codec.grid.metre)
    [ids] = torch.tensor([codec.encode(clip).ids]).tolist()
    first, end = codec.pitches
    assert codec.clock is not None and codec.clock.steps == bar and codec.clock.bars == 2
    times = Timekeeper(codec.clock)(torch.tensor([ids]))[0].tolist()
    assert [t for i, t in zip(ids, times, strict=True) if first <= i < end] == begins
    assert codec.extent.clock == codec.clock and len(codec.clock.says) == codec.vocab


def test_the_decoder_reads_its_code_and_of_its_plan_what_belongs_to_the_time() -> None:
    decoder, z = decoder_of(), torch.randn(1, D)
    assert decoder.planner is not None and decoder.layout is not None and decoder.first is not None
    plan = decoder.layout(gelu(decoder.planner(z))).view(1, 4, -1)
    for ids, steps in KNOWN[:5]:
        x = torch.tensor([[*ids, EOS]])
        embedded = decoder.embedding(torch.tensor([[BOS, *ids]]))
        beside = z.unsqueeze(1).expand(-1, len(ids) + 1, -1)
        read = torch.cat([embedded, plan[:, [0, *steps]], beside], -1)
        cell = decoder.first(z)[None]
        same(decoder.features(x, z), decoder.lstm(read, (cell.tanh(), cell))[0])


def test_word_dropout_hides_an_event_and_not_its_time() -> None:
    decoder = make(TimedDecoder, latent=D, clock=CLOCK, word_dropout=0.9).train()
    seen: list[Tensor] = []
    decoder.lstm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x, z = torch.tensor([KNOWN[0][0]]), torch.randn(1, D)
    decoder.features(x, z)
    decoder.eval().features(x, z)
    size = decoder.embedding.embedding_dim
    hidden, told = seen
    assert not torch.equal(hidden[..., :size], told[..., :size])
    same(hidden[..., size:], told[..., size:])


@pytest.mark.parametrize("latent", [D, 0])
def test_gradient_reaches_every_weight(latent: int) -> None:
    decoder = make(TimedDecoder, latent=latent, clock=CLOCK)
    x = torch.tensor([KNOWN[0][0]])
    decoder(torch.randn(1, latent)).log_prob(x).sum().backward()
    encoder = make(TimedEncoder, clock=CLOCK)
    encoder(batch([KNOWN[0][0]])).rsample().sum().backward()
    for name, parameter in [*decoder.named_parameters(), *encoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_encoder_adds_up_what_happens_at_a_step_and_reads_steps_side_by_side() -> None:
    encoder, items = make(TimedEncoder, clock=CLOCK).eval(), batch([KNOWN[0][0]])
    [said] = gelu(encoder.said(encoder.embedding(items.x).transpose(1, 2))).transpose(1, 2)
    steps = torch.stack(
        [said[torch.tensor(KNOWN[0][1]) == step].sum(0) for step in range(4)]
    ).flatten()
    assert encoder.first is not None and encoder.second is not None
    expected = gelu(encoder.second(gelu(encoder.first(steps))))
    same(encoder.summary(encoder.embedding(items.x), items)[0], expected)
    plain = make(TimedEncoder, clock=CLOCK, hidden=0).eval()
    plain.said.load_state_dict(encoder.said.state_dict())
    same(plain.summary(encoder.embedding(items.x), items)[0], steps)


def test_the_same_events_at_another_time_are_another_code() -> None:
    encoder = loud(make(TimedEncoder, clock=CLOCK).eval())
    early, late = batch([[BEGIN, ON, A, A, EOS]]), batch([[BEGIN, OFF, A, A, EOS]])
    moved = batch([[BEGIN, BEGIN, ON, A, A, EOS]])
    means = [encoder(items).mean for items in (early, late, moved)]
    assert (means[0] - means[1]).abs().max() > 1e-3 and (means[0] - means[2]).abs().max() > 1e-3


def test_what_has_no_time_or_no_middle_is_refused() -> None:
    with pytest.raises(Refused, match="reach = 4: it lies about a token; set an odd number"):
        make(TimedEncoder, clock=CLOCK, reach=4)
    melody = MelodyCodec().extent._asdict()
    for section in ("encoder", "decoder"):
        mixed = recipe.read("melody")
        mixed[section] = recipe.read("polyphony")[section]
        with pytest.raises(Refused, match="is for events that say when they happen"):
            build(mixed, **melody)


def test_pseudo_inputs_have_no_time() -> None:
    made = {**recipe.read("polyphony"), "prior": {"kind": "VampPrior"}}
    made["objective"] = {"kind": "Elbo", "terms": {"it": {"kind": "KL"}}}
    with pytest.raises(Refused, match="TimedEncoder reads of tokens when they happen"):
        build(made, **PolyphonyCodec().extent._asdict())
