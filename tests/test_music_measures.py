"""What comes back of music: decoders and windows whose figures are known beforehand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small import make, vae
from torch import Tensor, nn
from torch.distributions import Distribution

from seqvae.codecs import Codec, DrumsCodec, MelodyCodec, TrioCodec, VoicedCodec, WordCodec
from seqvae.codecs.voices import HOLD, KIT, OFF, Ids
from seqvae.data import InMemory, in_batches, in_order, spread
from seqvae.decoders import LSTMDecoder
from seqvae.decoders.sequence import State
from seqvae.distributions import Delta
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.evaluate import Measured, measure
from seqvae.measures.codes import encode_all
from seqvae.measures.music import WAYS, figures_of, half_drawn, in_bits, lanes, music
from seqvae.measures.writing import write_back
from seqvae.priors import StandardNormal
from seqvae.rows import rows
from seqvae.schedules import FAR
from seqvae.tokens import SPECIAL
from seqvae.vae import VAE, Batch, Decoder, Encoder

MELODY, DRUMS, TRIO = MelodyCodec(bars=1), DrumsCodec(bars=1), TrioCodec(bars=1)
CODECS: dict[str, VoicedCodec] = {"melody": MELODY, "drums": DRUMS, "trio": TRIO}
C, D, E = (pitch - MELODY.low + 2 for pitch in (60, 62, 64))
KICK, SNARE, HAT = 1, 2, 4


def windows(codec: VoicedCodec, count: int = 12, seed: int = 0) -> InMemory:
    """Random ids that the codec may write, half of them holds."""
    draw = np.random.default_rng(seed)
    first, end = np.tile(codec.allowed, (codec.length // len(codec.voices), 1)).T
    ids = draw.integers(first, end, (count, codec.length))
    held = draw.random(ids.shape) < 0.5
    return InMemory(np.where(held, first, ids).tolist())


def melody(*tokens: int) -> Ids:
    """One window of a bar (1, 16, 1) that begins so, and holds."""
    return np.array([*tokens, *[HOLD] * (16 - len(tokens))]).reshape(1, 16, 1)


def told(tokens: Ids) -> dict[str, Ids]:
    return dict.fromkeys(WAYS, tokens)


def free(codec: VoicedCodec, truth: Ids, written: Ids) -> dict[str, Any]:
    return figures_of(codec.voices, truth, told(written))


# --- decoders that are known ---------------------------------------------------------------------


class Recorder(Encoder):
    """The code of a window is the window."""

    def forward(self, batch: Batch) -> Distribution:
        return Delta(batch.x.double())


class Player(Decoder):
    """The scores of its code's tokens, `sure` of them, moved by `late` steps."""

    def __init__(self, vocab: int, *, sure: float = 1e4, late: int = 0) -> None:
        super().__init__()
        self.vocab, self.sure, self.late = vocab, sure, late
        self.weight = nn.Parameter(torch.zeros(1))

    def score(self, z: Tensor) -> Tensor:
        return nn.functional.one_hot(z.roll(self.late, -1).long(), self.vocab) * self.sure

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        return self.score(z)

    def head(self, features: Tensor) -> Tensor:
        return features

    def forward(self, z: Tensor, step: int = FAR) -> Distribution:
        return torch.distributions.Independent(
            torch.distributions.Categorical(logits=self.score(z)), 1
        )

    def start(self, z: Tensor) -> State:
        return State(z=z, place=torch.zeros(len(z), dtype=torch.long))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        z, place = state["z"], state["place"]
        return self.score(z)[:, int(place[0])], State(z=z, place=place + 1)


class Held(Player):
    """Writes the hold of every voice, whatever the code."""

    def __init__(self, codec: VoicedCodec) -> None:
        super().__init__(codec.vocab)
        self.holds = torch.tensor(codec.firsts * (codec.length // len(codec.voices)))

    def score(self, z: Tensor) -> Tensor:
        return super().score(self.holds.expand(len(z), -1))


def comes_back(codec: VoicedCodec, decoder: Decoder, items: InMemory, **other: Any) -> Any:
    model = VAE(Recorder(), StandardNormal(codec.length), decoder)
    codes = encode_all(model, in_order(items, 5))
    back = write_back(model, codec, items, spread(len(items)), size=7)
    return music(model, codec, codes, back, **other)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_who_writes_the_truth_is_right_in_every_way(codec: VoicedCodec) -> None:
    found = comes_back(codec, Player(codec.vocab), windows(codec))
    shares = ("accuracy", "non_hold", "rhythm", "pitch")
    assert {found[f"{way}_{share}"] for way in WAYS for share in shares} == {1.0}
    assert found["note_f1"] == found["note_precision"] == found["note_recall"] == 1.0
    assert found.get("duration_f1", 1.0) == found.get("drums_f1", 1.0) == 1.0
    assert found["accuracy_items"] == 12 and found["accuracy_tokens"] == 12 * codec.length
    assert found["accuracy_bits"] is None, "a code that is a point has no rate"
    assert found["accuracy_at"] == "at an undefined rate"


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_who_writes_holds_has_the_accuracy_of_the_floor_and_no_notes(codec: VoicedCodec) -> None:
    found = comes_back(codec, Held(codec), windows(codec))
    for way in WAYS:
        assert found[f"{way}_accuracy"] == found["accuracy_floor"]
        assert found[f"{way}_non_hold"] == 0.0
        assert found[f"{way}_pitch"] is None, "no onset is written, so none is wrong"
    assert found["note_f1"] == found["note_recall"] == 0.0 and found["note_precision"] is None
    assert found["note_written"] == 0 < found["note_true"]
    assert found["accuracy_floor"] == pytest.approx(1 - found["non_hold_share"])
    for voice, part in zip(found["voices"], codec.parts, strict=True):
        assert (voice["voice"], voice["accuracy_floor_token"]) == (part, f'{part} "-"')


def test_only_a_drawn_history_differs_from_call_to_call() -> None:
    """Scores that are hardly sure: the likeliest token is the true one, a drawn one seldom is."""
    torch.manual_seed(0)
    decoder = make(LSTMDecoder, vocab=MELODY.vocab, latent=2)
    z = torch.randn(9, 2)
    one, again, other = (half_drawn(decoder, MELODY, z, seed=seed) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    assert one.shape == (9, 16, 1) and one.min() >= 0 and one.max() < 90
    items = windows(MELODY)
    found = comes_back(MELODY, Player(MELODY.vocab, sure=1.0), items)
    assert found["musicvae_accuracy"] == 1.0, "what is counted is the likeliest, not the drawn"


def test_every_window_is_told_from_its_own_code_and_at_its_own_rate() -> None:
    """In whatever order they were encoded, and where not all of them are written."""
    items, rows_of = windows(MELODY, 12), spread(12, 5)
    player = VAE(Recorder(), StandardNormal(MELODY.length), Player(MELODY.vocab))
    codes = encode_all(player, in_batches(items, spread(12)[::-1], 5))
    found = music(player, MELODY, codes, write_back(player, MELODY, items, rows_of))
    assert {found[f"{way}_accuracy"] for way in WAYS} == {1.0}
    model = small(MELODY)
    codes = encode_all(model, in_batches(items, spread(12)[::-1], 5))
    assert codes.rate is not None
    rate = codes.rate[torch.isin(codes.item, torch.as_tensor(rows_of))].double().mean()
    found = music(model, MELODY, codes, write_back(model, MELODY, items, rows_of))
    assert found["accuracy_bits"] == pytest.approx(float(rate) / np.log(2))


def test_a_decoder_of_one_voice_is_not_asked_for_the_tokens_of_another() -> None:
    """Scores for ids that cannot stand at a place do not count, nor are they written."""

    class Astray(Player):
        def score(self, z: Tensor) -> Tensor:
            return super().score(z) + 2e4 * nn.functional.one_hot(z.roll(1, -1).long(), self.vocab)

    found = comes_back(TRIO, Astray(TRIO.vocab), windows(TRIO))
    assert {found[f"{way}_accuracy"] for way in WAYS} == {1.0}


# --- figures that are known ----------------------------------------------------------------------


def test_literals_of_a_bar() -> None:
    """C held, off, D: written an octave off its pitch in the second, and the off one step late."""
    truth = melody(C, HOLD, OFF, HOLD, D)
    written = melody(C, HOLD, HOLD, OFF, E)
    found = free(MELODY, truth, written)
    assert found["free_running_accuracy"] == 13 / 16
    assert found["accuracy_floor"] == 13 / 16 and found["non_hold_share"] == 3 / 16
    assert found["free_running_non_hold"] == 1 / 3
    assert found["free_running_rhythm"] == 14 / 16
    assert (found["free_running_pitch"], found["free_running_onsets_told"]) == (1 / 2, 2)
    assert (found["note_true"], found["note_written"], found["note_both"]) == (2, 2, 1)
    assert found["note_f1"] == 1 / 2
    assert found["duration_f1"] == 0.0, "C ends a step late"
    assert found["free_running_switches"] == "z the mean of q, own history, argmax throughout"


def test_right_on_pitch_and_late_by_a_step_is_wrong_on_every_onset() -> None:
    truth = melody(HOLD, C, HOLD, D, HOLD, E)
    late = np.roll(truth, 1, axis=1)
    found = free(MELODY, truth, late)
    assert found["note_f1"] == 0.0 and found["free_running_non_hold"] == 0.0
    assert found["free_running_pitch"] is None
    assert found["free_running_rhythm"] == 10 / 16
    items = InMemory([(truth.ravel() + SPECIAL).tolist()])
    assert comes_back(MELODY, Player(MELODY.vocab, late=1), items)["note_f1"] == 0.0


def test_right_in_rhythm_and_wrong_in_pitch_are_told_apart() -> None:
    found = free(MELODY, melody(C, HOLD, D, OFF), melody(D, HOLD, C, OFF))
    assert found["free_running_rhythm"] == 1.0 and found["free_running_pitch"] == 0.0
    assert free(MELODY, melody(C, OFF), melody(C, D))["free_running_rhythm"] == 15 / 16
    drummed = free(DRUMS, melody(KICK, HOLD, SNARE), melody(KICK, HOLD, HAT))
    assert drummed["free_running_rhythm"] == 1.0 and drummed["free_running_pitch"] == 1 / 2


def test_notes_are_those_that_the_codec_decodes() -> None:
    for codec in (MELODY, TRIO, DRUMS):
        items = windows(codec)
        ids = [items[row].tolist() for row in range(len(items))]
        whole = lanes(codec, ids)
        count = sum(codec.decode(each).notes for each in ids)
        assert free(codec, whole, whole)["note_true"] == count


def test_a_note_in_another_voice_or_window_is_not_the_same() -> None:
    truth, written = np.zeros((2, 2, 16, 3), np.int64)
    truth[0, 0, 0], written[0, 0, 1] = C, C
    assert free(TRIO, truth, written)["note_both"] == 0
    written = np.zeros_like(truth)
    written[1, 0, 0] = C
    assert free(TRIO, truth, written)["note_both"] == 0


def test_a_drum_that_is_neither_struck_nor_written_is_left_out_and_named() -> None:
    """Not scored 0: perfect predictions with two of nine drums are perfect."""
    truth = melody(KICK, HOLD, SNARE, HOLD)
    found = free(DRUMS, truth, truth)
    assert found["drums_f1"] == 1.0
    assert found["drums_each"].startswith("kick 100%, snare 100%; left out, neither struck nor")
    assert found["drums_each"].count(",") == 1 + 1 + 6
    assert [one["drum"] for one in found["drums"]] == list(KIT)
    assert [one["f1"] for one in found["drums"]] == [1.0, 1.0, *[None] * 7]
    written = melody(KICK + HAT, HOLD, HOLD, KICK)
    found = free(DRUMS, truth, written)
    # Kick: one right, one too many; snare missed; hat invented.
    assert [one["f1"] for one in found["drums"]][:3] == [2 / 3, 0.0, 0.0]
    assert found["drums_f1"] == found["note_f1"] == 2 / 5
    assert "duration_f1" not in found, "a stroke has no length"


def test_nothing_at_all_has_no_figures_and_no_error() -> None:
    rest = melody()
    for codec in (MELODY, DRUMS):
        found = free(codec, rest, rest)
        assert found["free_running_accuracy"] == found["accuracy_floor"] == 1.0
        missing = ("free_running_non_hold", "free_running_pitch", "note_f1", "note_recall")
        assert [found[name] for name in missing] == [None] * 4
    assert free(DRUMS, rest, rest)["drums_each"].startswith("none; left out")


def test_figures_do_not_depend_on_the_order_of_windows_and_each_voice_stands_alone() -> None:
    truth, written = (lanes(TRIO, windows(TRIO, seed=seed).ids) for seed in (0, 1))
    whole = free(TRIO, truth, written)
    turned = free(TRIO, truth[::-1], written[::-1])
    assert turned == whole
    for at, codec in enumerate((MELODY, MELODY, DRUMS)):
        alone = free(codec, truth[..., at : at + 1], written[..., at : at + 1])
        own = whole["voices"][at]
        for name in ("accuracy_floor", "free_running_accuracy", "note_f1", "note_true", "onsets"):
            assert own[name] == alone[name]
    for name in ("accuracy_floor", "free_running_accuracy"):
        assert whole[name] == pytest.approx(np.mean([own[name] for own in whole["voices"]]))
    assert whole["note_true"] == sum(own["note_true"] for own in whole["voices"])
    assert whole["duration_true"] == sum(own["note_true"] for own in whole["voices"][:2])


# --- in the report -------------------------------------------------------------------------------


def small(codec: VoicedCodec) -> VAE:
    torch.manual_seed(0)
    encoder = make(LSTMEncoder, vocab=codec.vocab)
    return vae(encoder=encoder, decoder=make(LSTMDecoder, vocab=codec.vocab))


def language_model(codec: VoicedCodec) -> VAE:
    decoder = make(LSTMDecoder, vocab=codec.vocab, latent=0)
    return VAE(EmptyEncoder(), StandardNormal(0), decoder)


@pytest.fixture(scope="module", params=CODECS)
def measured(request: pytest.FixtureRequest) -> tuple[VoicedCodec, Measured]:
    codec = CODECS[request.param]
    items, model = windows(codec), language_model(codec)
    options: dict[str, Any] = {"samples": 5, "sample_items": 6, "fitted_items": 0, "written": 9}
    train = windows(codec, seed=1)
    return codec, measure(small(codec), items, codec=codec, train=train, baseline=model, **options)


def test_an_accuracy_is_never_printed_without_its_bits(
    measured: tuple[VoicedCodec, Measured],
) -> None:
    _, found = measured
    table = {name.strip(): remark for name, _, remark in rows(found.figures)}
    at = f"at {found.figures['accuracy_bits']:.1f} bits a window"
    wanted = ["exact match", "token accuracy", "rhythm", "pitch", "onset and pitch, F1"]
    for name in ("teacher-forced", "free-running", "MusicVAE's protocol"):
        wanted += [name, f"{name}, non-hold"]
    assert all(table[name].startswith(at) for name in wanted)
    assert table["free-running"] == f"{at}; {WAYS['free_running']}"


def test_the_free_running_accuracy_is_that_of_the_tokens_that_come_back(
    measured: tuple[VoicedCodec, Measured],
) -> None:
    codec, found = measured
    figures = found.figures
    assert figures["free_running_accuracy"] == pytest.approx(figures["token_accuracy"])
    assert figures["accuracy_items"] == figures["reconstruction_items"] == 9
    assert [voice["voice"] for voice in found.vectors["voices"]] == codec.parts
    assert ("drums" in found.vectors) == (codec is not MELODY)


def test_music_is_priced_in_bits_too_and_never_by_the_word(
    measured: tuple[VoicedCodec, Measured],
) -> None:
    _, found = measured
    for name in ("reconstruction", "kl", "negative_elbo", "baseline_nll"):
        assert found.figures[f"{name}_bits"] == pytest.approx(found.figures[name] / np.log(2))
    assert not {"perplexity_per_word", "bits_per_byte", "bleu"} & set(found.figures)
    assert in_bits(WordCodec(["a"]), found.figures) == in_bits(None, found.figures) == {}


def test_what_is_said_of_music_is_said_of_windows_that_have_no_end_token(
    measured: tuple[VoicedCodec, Measured],
) -> None:
    _, found = measured
    said = [*found.notes, *(word for row in rows(found.figures) for word in row)]
    assert any("nats a window" in line for line in said)
    assert not [line for line in said if "sentence" in line or "end token" in line]
    assert "gain_tokens_first" in found.figures and "gain_tokens_end" not in found.figures


def test_a_language_model_of_music_stands_at_no_bits() -> None:
    found = measure(language_model(MELODY), windows(MELODY), codec=MELODY, written=9).figures
    assert found["accuracy_at"] == "at 0.0 bits a window"
    assert "exact_match" not in found and 0 <= found["free_running_accuracy"] <= 1


def test_text_has_none_of_these_figures() -> None:
    words: Codec = WordCodec(["a", "b", "c", "d", "e"])
    rows_of: Sequence[Sequence[int]] = [[4, 5, 6, 3], [5, 5, 3], [8, 7, 3]]
    found = measure(vae(), InMemory(rows_of), codec=words, samples=0).figures
    assert found["noun"] == "sentence"
    assert not [name for name in found if "accuracy_" in name or name.endswith("_bits")]
