"""The gallery: every model that has a code is drawn, pictures with what comes back of them."""

from pathlib import Path

import pytest
from console import Command
from tiny import hush, prepared, train
from tiny import recipe as tiny

from data_prep.images import prepare_images
from seqvae import load
from seqvae.corpus import Corpus, open_corpus
from seqvae.errors import Refused
from seqvae.explore import Explorer
from seqvae.fit import fit
from seqvae.gallery import gallery
from seqvae.recipe import override, read

ALWAYS = {"codes", "histogram"}
OF_PICTURES = {*ALWAYS, "reconstructions", "samples", "walk", "several_codes"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("digits") / "corpus"
    prepare_images(["digits"], folder, binarize="dynamic", limit=300)
    return open_corpus(folder)


def trained(digits: Corpus, folder: Path, *settings: str) -> Explorer:
    short = ("training.steps=4", "training.validate_every=4", "encoder.hidden=[16]")
    recipe = override(read("digits"), (*short, "decoder.hidden=[16]", *settings))
    fit(recipe, digits, folder, say=hush)
    return load(folder)


def given(corpus: Corpus, split: str = "valid") -> tuple[list[object], list[str]]:
    items = corpus.split(split)
    labels = [corpus.labels[items.label(row) or 0] for row in range(len(items))]  # type: ignore[index]
    return [corpus.codec.decode(items[row].tolist()) for row in range(len(items))], labels


def test_of_pictures_is_drawn_what_comes_back(digits: Corpus, tmp_path: Path) -> None:
    found = gallery(trained(digits, tmp_path / "run"), *given(digits))
    assert set(found) == OF_PICTURES
    assert len(found["histogram"].numbers["mean"]) == 8
    assert found["reconstructions"].numbers["count"] == 20, "ten pictures and what comes back"
    walked = found["walk"].numbers["codes"]
    assert len(walked) == 9 and walked[0] != walked[-1]


def test_a_plane_is_drawn_as_it_is_with_smudges_and_a_grid(digits: Corpus, tmp_path: Path) -> None:
    model, (items, labels) = trained(digits, tmp_path / "run", "latent=2"), given(digits)
    found = gallery(model, items, labels)
    assert set(found) == {*OF_PICTURES, "smudges", "grid"}
    assert found["codes"].numbers["points"] == pytest.approx(model.encode(items).numpy(), abs=1e-6)
    one = gallery(trained(digits, tmp_path / "one", "latent=1"), items)
    assert {y for _, y in one["codes"].numbers["points"]} == {0.0}


@pytest.mark.parametrize(
    ("family", "parameters", "ends"),
    [
        ("Normal", {"loc": 0.0, "scale": 1.0}, (-1.645, 1.645)),
        ("Normal", {"loc": 0.0, "scale": 5.0}, (-8.22, 8.22)),
        ("Uniform", {"low": 2.0, "high": 12.0}, (2.5, 11.5)),
    ],
)
def test_the_plane_is_drawn_where_the_prior_lies(
    digits: Corpus,
    tmp_path: Path,
    family: str,
    parameters: dict[str, float],
    ends: tuple[float, float],
) -> None:
    said = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    prior = (f"prior={{kind = 'Product', family = '{family}', parameters = {{{said}}}}}",)
    plain = ("latent=2", "posterior.kind=DeltaPosterior", "objective.terms={}")
    model = trained(digits, tmp_path / "run", *plain, *prior)
    values = gallery(model, *given(digits))["grid"].numbers["values"]
    width = ends[1] - ends[0]
    assert (values[0], values[-1]) == pytest.approx(ends, abs=0.03 * width)
    assert len(values) == 12 and sorted(values) == values


def test_a_label_head_is_asked_for_every_label(digits: Corpus, tmp_path: Path) -> None:
    head = ("label={hidden=[8]}", "objective.terms.label={kind='CrossEntropy'}")
    found = gallery(trained(digits, tmp_path / "run", *head), *given(digits))
    assert set(found) == {*OF_PICTURES, "styles"}
    assert len(found["styles"].numbers["digits"]) == 10


def test_a_command_draws_sentences_too_and_refuses_a_language_model(
    tmp_path: Path, seqvae: Command
) -> None:
    corpus = prepared(tmp_path)
    train(tiny(training_steps=3), corpus.folder, tmp_path / "run")
    lines = seqvae("draw", tmp_path / "run", "--out", tmp_path / "figures").lines
    assert {Path(line.removeprefix("drawn: ")).stem for line in lines} == {*ALWAYS, "smudges"}
    assert (tmp_path / "figures" / "codes.json").is_file()
    train(tiny(training_steps=3, latent=0), corpus.folder, tmp_path / "lm")
    assert "language model" in seqvae("draw", tmp_path / "lm").line
    with pytest.raises(Refused, match="language model"):
        gallery(load(tmp_path / "lm"), ["the cat"])
