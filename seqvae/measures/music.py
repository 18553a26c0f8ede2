"""How much music comes back: tokens by step, rhythm and pitch apart, and whole notes.

Most steps of a window say that nothing new happens, so an accuracy means little without its
floor, and nothing without the bits of the code that it was written from.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..codecs import Codec, MusicCodec, VoicedCodec
from ..codecs.groove import Stroke
from ..codecs.voices import FIRST_PITCH, KIT, Ids, Kit, Voice
from ..data import Rows
from ..decoders.sequence import SequenceDecoder
from ..generate import Choose, form_of, generate, sampler
from ..metrics import bits
from ..vae import VAE
from .codes import Back, Codes, device_of

WAYS = {  # how a prediction is made: the code, the history, the choice
    "teacher_forced": "z drawn from q, true history, argmax",
    "free_running": "z the mean of q, own history, argmax throughout",
    "musicvae": "z drawn from q, own history drawn at temperature 1, argmax of its scores",
}
IN_BITS = ("reconstruction", "kl", "negative_elbo", "baseline_nll", "iw_nll", "nll")
AT_ONCE = 2**24  # scores in memory


# --- what is predicted ---------------------------------------------------------------------------


@torch.no_grad()
def music(
    vae: VAE, codec: VoicedCodec, codes: Codes, back: Back, *, seed: int = 0, size: int = 250
) -> dict[str, Any]:
    """Accuracies of the three `WAYS`, their floor, and notes, of items written back greedily.

    The tokens, one a step and voice, are told apart only from those of the same voice. Notes are
    those that come back greedily from the means. Of each of the `voices` there is besides what its
    tokens cost, `bits` a window, of the reconstruction.

    Arguments:
        back: the items, and what comes back greedily from their means.
        seed: of the history that is drawn.
        size: codes written together.
    """
    vae.eval()
    place = {row: at for at, row in enumerate(codes.item.tolist())}
    at = [place[row] for row in back.rows.tolist()]
    x, z = torch.tensor(back.originals), codes.read[at]
    decoder: Any = vae.decoder
    device = device_of(vae)
    truth = lanes(codec, back.originals)
    told = {
        "teacher_forced": teacher_forced(decoder, codec, x.to(device), z.to(device)),
        "free_running": lanes(codec, back.written),
        "musicvae": half_drawn(decoder, codec, z.to(device), seed=seed, size=size),
    }
    rate = None if codes.rate is None else bits(float(codes.rate[at].double().mean()))
    found = figures_of(codec.voices, truth, told)
    for voice, cost in zip(found["voices"], costs(codes, at, len(codec.voices)), strict=True):
        voice["bits"] = cost
    return {
        "accuracy_items": len(at),
        "accuracy_bits": rate,
        "accuracy_at": "at an undefined rate" if rate is None else f"at {rate:.1f} bits a window",
        **found,
    }


def costs(codes: Codes, at: Sequence[int], voices: int) -> list[float | None]:
    """-log2 p(x_c | x_<, z) of the tokens of each voice c, bits a window, means over items."""
    if codes.tokens is None:
        return [None] * voices
    nats = codes.tokens.double().view(len(codes.item), -1, voices)[at].sum(1).mean(0)
    return [bits(each) for each in nats.tolist()]


def lanes(codec: VoicedCodec, ids: Sequence[ArrayLike]) -> Ids:
    """Ids of windows -> the tokens of every step and voice (N, T, C), 0 for other voices' ids."""
    first, end = codec.allowed.T
    tokens = np.asarray(ids, np.int64).reshape(len(ids), -1, len(codec.voices))
    return np.where((tokens >= first) & (tokens < end), tokens - first, 0)


def teacher_forced(decoder: SequenceDecoder, codec: VoicedCodec, x: Tensor, z: Tensor) -> Ids:
    """The likeliest token everywhere, after the true ones before it (N, T, C)."""
    size = max(AT_ONCE // (x.shape[1] * codec.vocab), 1)
    parts = (slice(at, at + size) for at in range(0, len(x), size))
    return np.concatenate([_likeliest(decoder, codec, x[part], z[part]) for part in parts])


def _likeliest(decoder: SequenceDecoder, codec: VoicedCodec, x: Tensor, z: Tensor) -> Ids:
    scores = decoder.head(decoder.features(x, z))
    voices = len(codec.voices)
    spans = enumerate(codec.allowed.tolist())
    best = [scores[:, voice::voices, first:end].argmax(-1) for voice, (first, end) in spans]
    return torch.stack(best, dim=-1).cpu().numpy()


def half_drawn(
    decoder: SequenceDecoder, codec: VoicedCodec, z: Tensor, *, seed: int = 0, size: int = 250
) -> Ids:
    """The likeliest token everywhere, after tokens that were drawn at temperature 1 (N, T, C).

    What the field's reference counts as its accuracy   (Roberts et al., 2018; in the code, the
    argmax of scores along a sampled history).
    """
    draw, form = sampler(seed=seed, device=z.device), form_of(codec, codec.length)
    likeliest: list[list[int]] = []
    for at in range(0, len(z), size):
        choose = _Watched(draw)
        generate(decoder, z[at : at + size], choose=choose, **form._asdict())
        likeliest += torch.stack(choose.best, dim=1).tolist()
    return lanes(codec, likeliest)


class _Watched:
    """A choice of tokens, and the likeliest ones that it passed by."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.best: list[Tensor] = []

    def __call__(self, scores: Tensor) -> Tensor:
        self.best.append(scores.argmax(-1))
        return self.choose(scores)


# --- how much of it is right ---------------------------------------------------------------------


def figures_of(voices: Sequence[Voice], truth: Ids, told: Mapping[str, Ids]) -> dict[str, Any]:
    """What is right of tokens (N, T, C) that were told in some `WAYS`, of all voices and of each.

    The notes are those of the free-running way.
    """
    return {
        "accuracy_tokens": int(truth.size),
        "rhythm_kinds": _kinds(voices),
        **_of_voices(voices, truth, told),
        **drums(voices, truth, told["free_running"]),
        **feel(voices, truth, told["free_running"]),
        "voices": [
            {
                "voice": voice.called,
                **_of_voices(
                    [voice],
                    truth[..., at : at + 1],
                    {name: tokens[..., at : at + 1] for name, tokens in told.items()},
                ),
            }
            for at, voice in enumerate(voices)
        ],
        **{f"{name}_switches": WAYS[name] for name in told},
    }


def _of_voices(voices: Sequence[Voice], truth: Ids, told: Mapping[str, Ids]) -> dict[str, Any]:
    """Floor, accuracies and notes of these voices together."""
    found = {**floors(voices, truth), **notes(voices, truth, told["free_running"])}
    for name, tokens in told.items():
        found |= _named(name, accuracies(voices, truth, tokens))
    return found


def accuracies(voices: Sequence[Voice], truth: Ids, told: Ids) -> dict[str, Any]:
    """Shares of tokens (N, T, C) that are right; None where there is nothing to be right about.

    - accuracy: of all; non_hold: of those that are not 0, at which nothing new happens;
    - rhythm: where the same kind of token stands: hold, off or onset; of drums, struck or not;
    - pitch: of the true onsets at which some onset was told, `onsets_told` in number, those of
      which the pitch is right; of drums, exactly the same ones struck.
    """
    first = _onsets(voices)
    right = truth == told
    both = (truth >= first) & (told >= first)
    return {
        "accuracy": share(right),
        "non_hold": share(right[truth != 0]),
        "rhythm": share(np.minimum(truth, first) == np.minimum(told, first)),
        "pitch": share(right[both]),
        "onsets_told": int(both.sum()),
    }


def _onsets(voices: Sequence[Voice]) -> Ids:
    """The least token of each voice that strikes something (C,)."""
    return np.array([1 if voice.drums else FIRST_PITCH for voice in voices])


def _kinds(voices: Sequence[Voice]) -> str:
    """What the rhythm of these voices is told apart by, in words."""
    long = "hold, off or onset" if not all(voice.drums for voice in voices) else ""
    short = "drums struck or not" if any(voice.drums for voice in voices) else ""
    return "; ".join(filter(None, (long, short)))


def share(right: NDArray[np.bool_]) -> float | None:
    """How many are, of all; None of none."""
    return float(right.mean()) if right.size else None


def floors(voices: Sequence[Voice], truth: Ids) -> dict[str, Any]:
    """The accuracy of who always tells the commonest token of every voice, and which these are."""
    common = [int(np.bincount(lane.ravel()).argmax()) for lane in np.moveaxis(truth, -1, 0)]
    named = [
        f'{voice.called} "{voice.name(token)}"'
        for voice, token in zip(voices, common, strict=True)
    ]
    return {
        "accuracy_floor": share(truth == np.array(common)),
        "accuracy_floor_token": ", ".join(named),
        "non_hold_share": share(truth != 0),
        "onsets": int((truth >= _onsets(voices)).sum()),
    }


def _named(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_{key}": value for key, value in found.items()}


# --- notes ---------------------------------------------------------------------------------------


class Counted(NamedTuple):
    """How many there truly are, how many were written, and how many of these are right."""

    true: int
    written: int
    both: int

    def figures(self) -> dict[str, Any]:
        """F1 = 2 both / (true + written), precision and recall; None of nothing.

        >>> Counted(4, 2, 1).figures()["f1"]
        0.3333333333333333
        """
        return {
            "f1": _over(2 * self.both, self.true + self.written),
            "precision": _over(self.both, self.written),
            "recall": _over(self.both, self.true),
            "true": self.true,
            "written": self.written,
            "both": self.both,
        }


def _over(count: int, of: int) -> float | None:
    return count / of if of else None


def notes(voices: Sequence[Voice], truth: Ids, written: Ids) -> dict[str, Any]:
    """F1 of the notes of windows (N, T, C), as the codec decodes them, counted over all windows.

    A note is right where one of equal onset step and pitch is written in its voice; `duration_…`
    asks for an equal end step besides, of voices whose notes have a length: drums have none.
    """
    true, found = _notes(voices, truth), _notes(voices, written)
    long = [at for at, voice in enumerate(voices) if not voice.drums]
    figures = _named("note", counted(true[:, ONSET], found[:, ONSET]).figures())
    if long:
        lasting = (each[np.isin(each[:, VOICE], long)] for each in (true, found))
        figures |= _named("duration", counted(*lasting).figures())
        figures["duration_parts"] = ", ".join(voices[at].part for at in long)
    return figures


VOICE, ONSET = 1, [0, 1, 2, 3]  # columns of a note: window, voice, step, pitch, end step


def _notes(voices: Sequence[Voice], tokens: Ids) -> Rows:
    """Rows (window, voice, step, pitch, end step) of all notes."""
    found = [np.zeros((0, 5), np.int64)]
    for at, voice in enumerate(voices):
        for window, lane in enumerate(tokens[..., at]):
            step, end, pitch, _ = voice.strokes(lane).T.astype(np.int64)
            where = np.full_like(step, window), np.full_like(step, at)
            found.append(np.stack([*where, step, pitch, end], axis=1))
    return np.concatenate(found)


def counted(true: Rows, written: Rows) -> Counted:
    """How many rows of one are rows of the other; in each of them all differ."""
    both = len(true) + len(written) - len(np.unique(np.concatenate([true, written]), axis=0))
    return Counted(len(true), len(written), both)


def drums(voices: Sequence[Voice], truth: Ids, written: Ids) -> dict[str, Any]:
    """F1 of the strokes of each of the nine drums, and of all of them counted together.

    A drum that is neither struck nor written has none: it is left out, and named.
    """
    if not any(voice.drums for voice in voices):
        return {}
    true, found = (_struck(voices, tokens) for tokens in (truth, written))
    counts = [Counted(*map(int, each)) for each in zip(*_sums(true, found), strict=True)]
    micro = Counted(*(sum(column) for column in zip(*counts, strict=True)))
    each = [{"drum": name, **c.figures()} for name, c in zip(KIT, counts, strict=True)]
    seen = [f"{one['drum']} {one['f1']:.0%}" for one in each if one["f1"] is not None]
    absent = [str(one["drum"]) for one in each if one["f1"] is None]
    never = f"; left out, neither struck nor written: {', '.join(absent)}" if absent else ""
    return {
        "drums_f1": micro.figures()["f1"],
        "drums_each": f"{', '.join(seen) or 'none'}{never}",
        "drums": each,
    }


def _struck(voices: Sequence[Voice], tokens: Ids) -> NDArray[np.bool_]:
    """Tokens (N, T, C) -> which of the nine are struck at each step (N T, 9)."""
    found = np.zeros((*tokens.shape[:-1], len(KIT)), dtype=bool)
    for at, voice in enumerate(voices):
        if isinstance(voice, Kit):
            found |= (tokens[..., at, None] >> np.arange(len(KIT)) & 1).astype(bool)
        if isinstance(voice, Stroke):
            found[..., voice.place] |= tokens[..., at] > 0
    return found.reshape(-1, len(KIT))


def feel(voices: Sequence[Voice], truth: Ids, written: Ids) -> dict[str, Any]:
    """How far off velocity and timing are where a drum is struck both truly and as written.

    Means of absolute differences, of velocities 1 to 127 and of shares of a step, of all strokes
    and of each drum; beside them those of who always plays the strokes' median velocity, on time.
    Nothing of voices without feel in their tokens.
    """
    strokes = [(at, voice) for at, voice in enumerate(voices) if isinstance(voice, Stroke)]
    if not strokes:
        return {}
    said = [_both(voice, truth[..., at], written[..., at]) for at, voice in strokes]
    whole = np.concatenate(said)
    plain = np.array([np.median(whole[:, 0, 0]) if len(whole) else 0.0, 0.0])
    return {
        "feel_strokes": len(whole),
        **_off(whole[..., 0] - whole[..., 1]),
        **_named("plain", _off(whole[..., 0] - plain)),
        "feel": [
            {"drum": voice.called, "strokes": len(own), **_off(own[..., 0] - own[..., 1])}
            for (_, voice), own in zip(strokes, said, strict=True)
        ],
    }


def _both(voice: Stroke, truth: Ids, written: Ids) -> NDArray[np.float64]:
    """(velocity and lateness, true and written) of what is struck in both (N, 2, 2)."""
    both = (truth > 0) & (written > 0)
    return np.stack([voice.played(tokens[both]) for tokens in (truth, written)], axis=2)


def _off(difference: NDArray[np.float64]) -> dict[str, Any]:
    """Mean absolute errors of velocity and timing (N, 2); None of nothing."""
    if not len(difference):
        return {"velocity_error": None, "timing_error_steps": None}
    velocity, timing = np.abs(difference).mean(axis=0).tolist()
    return {"velocity_error": velocity, "timing_error_steps": timing}


def _sums(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> Iterator[Ids]:
    return (each.sum(0) for each in (true, found, true & found))


# --- units ---------------------------------------------------------------------------------------


def in_bits(codec: Codec | None, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What music costs in bits too, as its literature has it; nothing of anything else."""
    if not isinstance(codec, MusicCodec):
        return {}
    there = {name: figures[name] for name in IN_BITS if figures.get(name) is not None}
    return {f"{name}_bits": bits(value) for name, value in there.items()}
