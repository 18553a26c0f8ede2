"""Measure a run's active units: how many dimensions of its code move with the data.

    python scripts/active_units.py runs/mine

A unit is active where the variance of its posterior mean over the data is at least 0.01 (Burda et
al., 2016). It says that the *encoder* uses a unit, not that the decoder reads it. So the z-shuffle
ΔNLL, what another sentence's code costs the decoder, is printed beside it.
"""

import argparse
import sys
from pathlib import Path

from seqvae import Refused
from seqvae.corpus import find_corpus, open_corpus
from seqvae.data import in_order
from seqvae.measures import encode_all, shuffled
from seqvae.metrics import active_units, spectrum, standard_error
from seqvae.plots import bars_of_dimensions, save
from seqvae.runs import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("--corpus", type=Path, help="a prepared corpus; else the run's own")
    parser.add_argument("--split", default="valid", help="of the corpus it was trained on")
    parser.add_argument("--threshold", type=float, default=0.01, help="variance of the means")
    arguments = parser.parse_args()

    vae = open_run(arguments.run).built.vae
    corpus = open_corpus(arguments.corpus) if arguments.corpus else find_corpus(arguments.run)
    items = corpus.split(arguments.split)
    codes = encode_all(vae, in_order(items, 64))
    variances = spectrum(codes.mu)
    if len(variances) == 0:
        raise Refused(f"{arguments.run} is a language model: it has no units.")
    cost = shuffled(vae, items, codes).worse

    active = active_units(codes.mu, arguments.threshold)
    print(f"{active} of {len(variances)} units active at {arguments.threshold:g}")
    print("variances:", " ".join(f"{variance:.3f}" for variance in variances))
    error = standard_error(cost)
    print(f"z-shuffle ΔNLL {cost.mean():.2f} ± {error:.2f} nats: what another's code costs")
    figure = bars_of_dimensions(
        variances.tolist(),
        title="Variance of posterior means",
        unit="variance",
        threshold=arguments.threshold,
    )
    print("drawn:", save(figure, arguments.run / "figures" / "active_units.png"))


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
