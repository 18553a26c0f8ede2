"""Train on a text corpus in one command.

    python scripts/train_text.py corpus.txt runs/mine --set training.epochs=5

The corpus has one sentence a line. What is left in the run's folder opens with
`seqvae.load("runs/mine")` and every `seqvae` command.
"""

import argparse
import sys
from pathlib import Path

from data_prep.text import prepare_text
from seqvae import Refused, load, recipe
from seqvae.corpus import open_corpus
from seqvae.fit import fit
from seqvae.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a text file, one sentence a line")
    parser.add_argument("run", type=Path, help="the folder to make")
    parser.add_argument("--recipe", default=recipe.SENTENCES, help="a recipe's name or file")
    parser.add_argument("--set", action="append", default=[], help="as training.epochs=5")
    arguments = parser.parse_args()

    experiment = recipe.override(recipe.read(arguments.recipe), arguments.set)
    options = {key: experiment["data"][key] for key in recipe.OF_TEXT if key in experiment["data"]}
    print(prepare_text([arguments.corpus], arguments.run / "corpus", **options))
    with Progress() as progress:
        fit(
            experiment,
            open_corpus(arguments.run / "corpus"),
            arguments.run,
            say=progress.say,
            tick=progress.train,
        )
    for sentence in load(arguments.run).sample(5):
        print(sentence)


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        sys.exit(str(refusal))
