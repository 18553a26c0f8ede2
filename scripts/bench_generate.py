"""How fast a decoder writes: greedy, drawn and by beam; all at once against one by one.

    python scripts/bench_generate.py tatoeba --json docs/results/speed/generate.json
    python scripts/bench_generate.py --lengths 64 128 256 512 1024

Two decoders: the run's own, and a Transformer for the same ids whose weights are as drawn, which
writes a fixed number of tokens. Codes are drawn from the prior. Timings go by turns, so that noise
falls on both alike; one by one only every so many of the codes are written, and their time counts
so many times. What is written both ways is held side by side: the same sentences, the same
log-probabilities. `--lengths` writes longer and longer in place of that: a token's work does not
grow with what was written before it, but for attention.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timing import Spread, by_turns, here, keep, memory, ratio, spread
from torch import Tensor

from seqvae import Refused, load
from seqvae.decoders import LSTMDecoder, TransformerDecoder
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.generate import Form, beam, form_of, generate, sampler
from seqvae.tokens import PAD

WIDTH = 10  # of the beam
LONGEST = 100  # tokens of a sentence, at most
ROWS = 16  # written at once, for lengths
Written = tuple[Tensor, Tensor]  # tokens (B, T), and their log-probabilities (B,)
Write = Callable[[Tensor], Written]


class Net(NamedTuple):
    """A decoder and the form of what it writes."""

    name: str
    decoder: SequenceDecoder
    form: Form


class Raced(NamedTuple):
    """What was measured of one way to write."""

    net: str
    way: str
    batch: int
    sentences: Spread  # a second
    tokens: Spread  # a second
    gain: Spread | None  # how many times as fast as one by one
    same: float  # share of equal sentences
    apart: float  # nats, at most, of those


def main() -> None:
    given = parsed()
    print(f"{here()}; {given.run}")
    if given.lengths:
        keep(given.json, lengths=by_length(given.lengths, given.rounds, given.size))
        return
    model = load(given.run)
    if not isinstance(model.vae.decoder, SequenceDecoder):
        raise Refused(f"{given.run} writes all pixels together, not one after the other.")
    torch.manual_seed(0)
    z = model.draw(given.sentences)
    form = form_of(model.codec, longest=LONGEST)
    transformer = TransformerDecoder(model.codec.vocab, z.shape[1], width=given.size)
    nets = [
        Net("LSTM, trained", model.vae.decoder, form),
        Net("Transformer, as drawn", transformer, Form(given.tokens, None)),
    ]
    print(f"| decoder | way | at once | sentences/s | tokens/s | × one by one | the same |\n{BAR}")
    found = []
    for net, (way, write) in product(nets, WAYS.items()):
        for batch in sorted({1, len(z)}):
            found.append(raced(net, way, write, z[:batch], given.rounds, given.alone))
            print(row(found[-1]))
    print(f"memory at most {memory():,.0f} MiB; beams of {WIDTH}; {' '.join(about(nets))}")
    keep(given.json, raced=[one._asdict() for one in found], memory=memory(), nets=about(nets))


BAR = "|---|---|---|---|---|---|---|"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", default="tatoeba", help="a run, or one that ships")
    parser.add_argument("--sentences", type=int, default=256, help="written at once")
    parser.add_argument("--alone", type=int, default=32, help="of them, one by one")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each way")
    parser.add_argument("--tokens", type=int, default=16, help="that the Transformer writes")
    parser.add_argument("--size", type=int, default=256, help="width of what is as drawn")
    parser.add_argument("--lengths", type=int, nargs="+", help="tokens, rising")
    parser.add_argument("--json", type=Path, help="where to keep all figures")
    return parser.parse_args()


def about(nets: Sequence[Net]) -> list[str]:
    """Each decoder with its weights, in words."""
    weights = [sum(w.numel() for w in net.decoder.parameters()) for net in nets]
    return [f"{net.name}: {n / 1e6:.2f} M weights." for net, n in zip(nets, weights, strict=True)]


def greedily(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    x = generate(decoder, z, **form._asdict())
    return x, scored(decoder, z, x)


def drawn(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    """By one noise for all rows, so that a row draws alone what it draws among others."""
    x = generate(decoder, z, **form._asdict(), choose=sampler(temperature=0.7, together=True))
    return x, scored(decoder, z, x)


def searched(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    return beam(decoder, z, width=WIDTH, **form._asdict())


WAYS: dict[str, Callable[[SequenceDecoder, Form, Tensor], Written]] = {
    "greedy": greedily,
    "drawn": drawn,
    f"beam {WIDTH}": searched,
}


@torch.no_grad()
def scored(decoder: SequenceDecoder, z: Tensor, x: Tensor) -> Tensor:
    return decoder(z).log_prob(x)


def raced(
    net: Net,
    way: str,
    writes: Callable[[SequenceDecoder, Form, Tensor], Written],
    z: Tensor,
    rounds: int,
    alone: int,
) -> Raced:
    """Time all codes at once and, of several, some one by one; compare what is written."""
    write: Write = partial(writes, net.decoder, net.form)
    step = max(len(z) // alone, 1)
    together, log_p = write(z)  # also what is only done once
    ways: dict[str, Callable[[], Any]] = {"at once": partial(write, z)}
    if len(z) > 1:
        ways["one by one"] = partial(one_by_one, write, z[::step])
    took = by_turns(ways, rounds)
    separate = one_by_one(write, z[::step])
    pairs = list(zip(together[::step].tolist(), log_p[::step].tolist(), separate, strict=True))
    equal = [abs(a - b) for x, a, (y, b) in pairs if trimmed(x) == trimmed(y)]
    tokens = int((together != PAD).sum())
    scale = len(z) / len(z[::step])
    gain = None
    if len(z) > 1:
        gain = ratio([seconds * scale for seconds in took["one by one"]], took["at once"])
    return Raced(
        *(net.name, way, len(z)),
        spread([len(z) / seconds for seconds in took["at once"]]),
        spread([tokens / seconds for seconds in took["at once"]]),
        *(gain, len(equal) / len(pairs), max(equal, default=float("nan"))),
    )


def one_by_one(write: Write, z: Tensor) -> list[tuple[list[int], float]]:
    found = [write(code.unsqueeze(0)) for code in z]
    return [(x[0].tolist(), float(log_p[0])) for x, log_p in found]


def trimmed(tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token != PAD]


def row(raced: Raced) -> str:
    gain = "" if raced.gain is None else str(raced.gain)
    same = f"{raced.same:.1%}, log p to {raced.apart:.0e}"
    speeds = f"{raced.sentences.median:,.1f} | {raced.tokens.median:,.0f}"
    return f"| {raced.net} | {raced.way} | {raced.batch} | {speeds} | {gain} | {same} |"


def by_length(lengths: Sequence[int], rounds: int, size: int) -> dict[str, dict[int, Spread]]:
    """Milliseconds a token of decoders as drawn that write so many; and how they grow."""
    torch.manual_seed(0)
    decoders: dict[str, SequenceDecoder] = {
        "LSTM": LSTMDecoder(vocab=1000, latent=32, hidden=2 * size),
        "Transformer": TransformerDecoder(vocab=1000, latent=32, width=size),
    }
    z = torch.randn(ROWS, 32)
    found: dict[str, dict[int, Spread]] = {}
    print(f"| ms a token | {' | '.join(map(str, lengths))} | last / first |")
    print(f"|---|{'---|' * (len(lengths) + 1)}")
    for (net, decoder), width in product(decoders.items(), (0, WIDTH)):
        name = f"{net}, beam {width} of {ROWS // width}" if width else f"{net}, greedy, {ROWS}"
        ways = {str(n): partial(fixed, decoder, z, n, width) for n in lengths}
        fixed(decoder, z, min(lengths), width)
        took = by_turns(ways, rounds)
        each = {n: [1000 * seconds / n for seconds in took[str(n)]] for n in lengths}
        found[name] = {n: spread(times) for n, times in each.items()}
        cells = [f"{one.median:.2f}" for one in found[name].values()]
        print(f"| {name} | {' | '.join(cells)} | {ratio(each[lengths[-1]], each[lengths[0]])} |")
    return found


def fixed(decoder: SequenceDecoder, z: Tensor, length: int, width: int) -> object:
    """Write exactly so many tokens: for every code, or by beam for as many as fill a batch."""
    if width == 0:
        return generate(decoder, z, length=length, end=None)
    return beam(decoder, z[: max(len(z) // width, 1)], length=length, width=width, end=None)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
