"""Every file imports only from lower layers, and inside its folder only from the base file."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [  # from the bottom; the names of one line do not see each other
    "errors",
    "tokens claims latent metrics schedules plots sheets progress processes randomness verdict",
    "midi rows binarized",
    "distributions codecs recipe files ngram frontier",
    "matched pixels layers attributes clock",
    "vae corpus posteriors attention likelihoods",
    "data densities infer keepsakes encoders noises decoders priors regularizers",
    "density vectors objectives",
    "training",
    "generate build",
    "runs log measures",
    "shelf plan evaluate",
    "explore estimate cautions card watch resume",
    "fit music",
    "reports study images",
    "steering",
    "gallery",
    "data_prep",
    "cli scripts",
    "__main__",
]
MUSIC = [  # the layers of the folder of that name
    "pieces feel rolls audio likeness",
    "taste drummer",
    "walk told",
    "beside even",
    "morph form tour course",
    "album",
    "pairing crossing",
    "journey",
    "scrapbook logbook studio",
]
PROCESSES = ["group", "messages shares", "draws", "sharing"]
STEERING = ["learning", "picking", "applying leaks"]


def numbered(layers: Sequence[str]) -> dict[str, int]:
    return {name: number for number, line in enumerate(layers) for name in line.split()}


LAYER = numbered(LAYERS)
INNER = {
    "music": numbered(MUSIC),
    "processes": numbered(PROCESSES),
    "steering": numbered(STEERING),
}
SEES = {  # what sees less than all lower layers
    "data_prep": {"errors", "tokens", "codecs", "corpus", "files", "midi", "binarized"}
    | {"claims"},
    "measures": set(LAYER) - {"runs", "shelf", "build", "recipe"},
    "evaluate": set(LAYER) - {"runs", "shelf", "build", "recipe"},
    "images": {"errors", "randomness", "metrics", "latent", "plots", "distributions", "vae"}
    | {"data", "explore", "measures", "pixels"},
}
# The one file of a folder that the others may import.
BASES = {
    "aggregate",
    "attribute",
    "codec",
    "codes",
    "decoding",
    "design",
    "elbo",
    "density",
    "lines",
    "folder",
    "how",
    "lagging",
    "listed",
    "objective",
    "optimizers",
    "posterior",
    "records",
    "regularizer",
}
BASES |= {"sequence", "sources", "plan", "scan", "blocks", "conductors", "docstrings", "grammar"}
BASES |= {"songs", "windows", "workers", "songblocks", "gather", "composer", "music", "voices"}
BASES |= {"chorales", "onsets", "report", "planned"}
BASES |= {"pictures", "picture", "likelihood", "drawing"}
BASES |= {"notes", "song", "raw", "writing", "pretty", "scores", "harmony", "grooves"}
BASES |= {"options", "sentences", "corpora", "given"}  # of the commands; and their own music

Module = tuple[str, ...]  # ("seqvae", "decoders", "lstm")


def name_of(path: Path) -> Module:
    return path.relative_to(ROOT).with_suffix("").parts


def part_of(module: Module) -> str:
    return module[1] if module[0] == "seqvae" and len(module) > 1 else module[0]


def imports(path: Path) -> Iterator[Module]:
    """The modules of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = name_of(path)[: -node.level] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            # `from . import vae` names a module, `from .vae import VAE` something inside one.
            inside = len(module) == 1
            found = [(*module, alias.name) for alias in node.names] if inside else [module]
        else:
            continue
        yield from (m for m in found if m[0] in ("seqvae", "data_prep", "scripts"))


FILES = sorted(
    path for folder in ("seqvae", "data_prep", "scripts") for path in (ROOT / folder).rglob("*.py")
)
PARTS = [path for path in FILES if part_of(name_of(path)) != "__init__"]


@pytest.mark.parametrize("path", PARTS, ids=lambda path: "/".join(name_of(path)))
def test_a_file_imports_only_from_lower_layers(path: Path) -> None:
    own = part_of(name_of(path))
    for module in imports(path):
        part = part_of(module)
        if part != own:
            assert LAYER.get(part, -1) < LAYER[own], f"{own} imports {part}"
            assert part not in LAYER or part in SEES.get(own, LAYER), f"{own} imports {part}"
        elif own in INNER and path.name != "__init__.py":
            above, below = INNER[own][path.stem], INNER[own][module[-1]]
            assert below < above, f"{path.name} imports {module[-1]}"
        elif path.name != "__init__.py":
            assert module[-1] in BASES, f"{path.name} imports {module[-1]}: not its base file"
