"""How fast a run writes: greedy, drawn and by beam; all at once against one by one.

    python scripts/bench_generate.py RUN --sentences 256

Codes are drawn from the prior. What is written together and one by one is compared: the same
sentences, the same log-probabilities. Timings go by turns, so that noise falls on both alike; a
ratio is the median of those of each round. `--lengths` times a Transformer of that many positions
instead, to show that a token's work does not grow with what was written before it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqvae import Refused, load
from seqvae.decoders import TransformerDecoder
from seqvae.decoders.sequence import SequenceDecoder
from seqvae.generate import Form, beam, form_of, generate, sampler
from seqvae.tokens import PAD

WIDTH = 10  # of the beam
Written = tuple[Tensor, Tensor]  # tokens (B, T), and their log-probabilities (B,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", default="tatoeba", help="a run, or one that ships")
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3, help="timings of each way")
    parser.add_argument("--lengths", type=int, nargs="+", help="of an untrained Transformer")
    given = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"{threads} threads, torch {torch.__version__}")
    if given.lengths:
        by_length(given.lengths, given.rounds)
        return
    model = load(given.run)
    if not isinstance(model.vae.decoder, SequenceDecoder):
        raise Refused(f"{given.run} writes all pixels together, not one after the other.")
    torch.manual_seed(0)
    z = model.draw(given.sentences)
    form = form_of(model.codec, longest=100)
    for name, way in WAYS.items():
        compare(name, partial(way, model.vae.decoder, form), z, given.rounds)


def greedily(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    x = generate(decoder, z, **form._asdict())
    return x, scored(decoder, z, x)


def drawn(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    """By one noise for all rows, so that a row draws alone what it draws among others."""
    x = generate(decoder, z, **form._asdict(), choose=sampler(temperature=0.7, together=True))
    return x, scored(decoder, z, x)


def searched(decoder: SequenceDecoder, form: Form, z: Tensor) -> Written:
    return beam(decoder, z, width=WIDTH, **form._asdict())


WAYS: dict[str, Callable[..., Written]] = {
    "greedy": greedily,
    "drawn": drawn,
    f"beam {WIDTH}": searched,
}


@torch.no_grad()
def scored(decoder: SequenceDecoder, z: Tensor, x: Tensor) -> Tensor:
    return decoder(z).log_prob(x)


def compare(name: str, write: Callable[[Tensor], Written], z: Tensor, rounds: int) -> None:
    """Time all codes at once and one by one, and hold what is written side by side."""
    write(z[:2])
    ratios, speeds = [], []
    for _ in range(rounds):
        took, (together, log_p) = timed(partial(write, z))
        longer, alone = timed(partial(one_by_one, write, z))
        ratios.append(longer / took)
        speeds.append(len(z) / took)
    same = sum(
        trimmed(a) == trimmed(b) for a, (b, _) in zip(together.tolist(), alone, strict=True)
    )
    apart = max(abs(a - b) for a, (_, b) in zip(log_p.tolist(), alone, strict=True))
    print(
        f"{name:8s} {statistics.median(speeds):8,.0f} sentences/s at once, "
        f"{statistics.median(ratios):.2f} times as fast as one by one "
        f"({min(ratios):.2f} to {max(ratios):.2f}); the same {same} of {len(z)}, "
        f"log p apart by {apart:.1e} at most"
    )


def one_by_one(write: Callable[[Tensor], Written], z: Tensor) -> list[tuple[list[int], float]]:
    found = [write(row.unsqueeze(0)) for row in z]
    return [(x[0].tolist(), float(log_p[0])) for x, log_p in found]


def trimmed(tokens: Sequence[int]) -> list[int]:
    return [token for token in tokens if token != PAD]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def by_length(lengths: Sequence[int], rounds: int) -> None:
    """Milliseconds a token of a Transformer that writes so many."""
    decoder = TransformerDecoder(vocab=1000, latent=32)
    z = torch.randn(16, 32)
    for length in lengths:
        took = [
            timed(partial(generate, decoder, z, length=length, end=None))[0] for _ in range(rounds)
        ]
        print(f"{length:6d} tokens: {1000 * statistics.median(took) / length:.2f} ms each")


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
