"""Pictures walk the line: written, measured and shown by decoders of either kind."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from tiny import recipe, train
from torch import Tensor

import seqvae
from seqvae.codecs import PixelCodec, WordCodec
from seqvae.corpus import Corpus, Packed, open_corpus, write_block, write_manifest
from seqvae.data import InMemory
from seqvae.decoders import DenseDecoder, LSTMDecoder, PixelCNNDecoder
from seqvae.encoders import DenseEncoder, EmptyEncoder
from seqvae.errors import Refused
from seqvae.evaluate import measure
from seqvae.explore import Decoding, Explorer, show_pictures
from seqvae.likelihoods import Bernoulli, Gaussian
from seqvae.measures.pictures import expected, looked_at, pictures, seen, sharpness
from seqvae.measures.writing import write_back
from seqvae.posteriors import DeltaPosterior, GaussianPosterior
from seqvae.priors import StandardNormal
from seqvae.reports.report import evaluate_run
from seqvae.rows import rows
from seqvae.vae import VAE, Decoder

SIDE, LATENT = 4, 2
CODEC = PixelCodec(SIDE, SIDE, binarize="static")
DENSE = {"kind": "DenseDecoder", "hidden": [16], "likelihood": {"kind": "Bernoulli"}}
DRAW = Decoding(temperature=1.0)


def bars(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with a white row or column (its number and way the label), and a pixel of noise."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 2 * SIDE, count)
    pixels = np.zeros((count, SIDE, SIDE), np.int64)
    for picture, number in zip(pixels, label, strict=True):
        (picture if number < SIDE else picture.T)[number % SIDE] = 1
    pixels.reshape(count, -1)[np.arange(count), draw.integers(0, SIDE**2, count)] ^= 1
    return pixels.reshape(count, -1) + 4, label


def items(count: int, seed: int = 0) -> InMemory:
    ids, label = bars(count, seed)
    return InMemory(ids.tolist(), label.tolist())


ITEMS, TRAIN = items(60), items(90, seed=1)


def decoder_of(kind: str, latent: int = LATENT) -> Decoder:
    torch.manual_seed(0)
    if kind == "dense":
        likelihood = Bernoulli(CODEC.vocab)
        return DenseDecoder(6, latent, length=SIDE**2, likelihood=likelihood, hidden=(32,))
    if kind == "gaussian":
        noisy = Gaussian(6, sigma=0.5)
        return DenseDecoder(6, latent, length=SIDE**2, likelihood=noisy, hidden=(32,))
    if kind == "pixel_cnn":
        return PixelCNNDecoder(6, latent, shape=(SIDE, SIDE, 1), channels=8, layers=2)
    return LSTMDecoder(6, latent, embed=8, hidden=16)


def model(kind: str, latent: int = LATENT, posterior: Any = GaussianPosterior) -> VAE:
    decoder = decoder_of(kind, latent)
    if latent == 0:
        return VAE(EmptyEncoder(), StandardNormal(0), decoder)
    encoder = DenseEncoder(6, posterior(latent), length=SIDE**2, hidden=(32,))
    with torch.no_grad():
        for weight in encoder.parameters():  # so that codes differ, and what is written of them
            weight.mul_(3)
        for weight in decoder.parameters():
            weight.mul_(2)
    return VAE(encoder, StandardNormal(latent), decoder)


def explorer(kind: str, latent: int = LATENT) -> Explorer:
    return Explorer(model(kind, latent).requires_grad_(False), CODEC, recipe(latent=latent), {})


KINDS = pytest.mark.parametrize("kind", ["dense", "gaussian", "pixel_cnn", "lstm"])
AT_ONCE = pytest.mark.parametrize("kind", ["dense", "gaussian"])


def given(count: int) -> list[Any]:
    return [CODEC.decode(ITEMS[row].tolist()) for row in range(count)]


# --- written -------------------------------------------------------------------------------------


@KINDS
def test_every_verb_takes_and_gives_pictures(kind: str) -> None:
    m = explorer(kind)
    z = m.encode(given(5))
    again = m.decode(z)
    assert [picture.shape for picture in again] == [(SIDE, SIDE, 1)] * 5
    assert all(map(np.array_equal, m.reconstruct(given(5)), again))
    walked = m.interpolate(*given(2), steps=3)
    assert np.array_equal(walked[0], again[0]) and np.array_equal(walked[2], again[1])
    assert len(m.sample(3, DRAW)) == 3
    assert m.neighbours(given(1)[0], given(9), 1)[0].distance < 1e-5


@AT_ONCE
def test_greed_writes_the_mode_and_a_temperature_draws(kind: str) -> None:
    m = explorer(kind)
    z = torch.randn(1, LATENT).expand(400, -1)
    px: Any = m.vae.decoder(z)
    assert m.write(z) == px.mode.tolist()
    drawn = torch.tensor(m.write(z, DRAW))  # more than one part, each with draws of its own
    assert len({tuple(row) for row in drawn.tolist()}) > 100
    assert m.write(z, DRAW) == drawn.tolist() != m.write(z, Decoding(temperature=1.0, seed=1))
    mean = (drawn - 4).double().mean(0)
    likely = px.mean[0] if kind == "dense" else 1 - torch.special.ndtr((0.5 - px.mean[0]) / 0.5)
    assert (mean - likely).abs().max() < 5 * 0.5 / 400**0.5
    together = m.write(z, Decoding(temperature=1.0, together=True))
    assert len(set(map(tuple, together))) == 1


@AT_ONCE
@pytest.mark.parametrize(
    ("decoding", "cure"),
    [
        (Decoding(beam=3), "beam = 3.*Leave it out"),
        (Decoding(temperature=0.5), "temperature = 1"),
        (Decoding(top_k=3), "temperature = 1"),
        (Decoding(temperature=1.0, top_p=0.9), "temperature = 1"),
    ],
)
def test_what_walks_from_token_to_token_is_refused(
    kind: str, decoding: Decoding, cure: str
) -> None:
    with pytest.raises(Refused, match=cure):
        explorer(kind).sample(2, decoding)


@KINDS
def test_the_means_of_codes_are_what_people_look_at(kind: str) -> None:
    m = explorer(kind)
    z = torch.randn(300, LATENT)
    means = m.means(z)
    assert means.shape == (300, SIDE, SIDE, 1) and 0 <= means.min() <= means.max() <= 1
    if kind in ("dense", "gaussian"):
        px: Any = m.vae.decoder(z)
        assert torch.equal(means.view(300, -1), px.mean)
    else:
        decoded = np.stack(m.decode(z)) / 255
        np.testing.assert_array_equal(means.numpy(), decoded)
    with pytest.raises(Refused, match=r"takes \(N, 2\)"):
        m.means(torch.zeros(1, 3))


def test_no_code_is_settled_where_no_token_follows_another() -> None:
    m = explorer("dense")
    with pytest.raises(Refused, match="no next token"):
        m.settle(given(2), m.encode(given(2)))


def test_sentences_have_no_brightness() -> None:
    text = Explorer(model("lstm"), WordCodec(["a", "b"]), recipe(), {})
    with pytest.raises(Refused, match="sentences are no pictures"):
        text.means(torch.zeros(1, LATENT))


# --- measured ------------------------------------------------------------------------------------


def measured(kind: str, latent: int = LATENT, **options: Any) -> Any:
    built = model(kind, latent, options.pop("posterior", GaussianPosterior))
    small = {"samples": 5, "fitted_items": 0, "written": 40, **options}
    return measure(built, ITEMS, codec=CODEC, train=TRAIN, **small)


@KINDS
def test_a_model_of_pictures_is_measured_as_any_other(kind: str) -> None:
    found = measured(kind, baseline=model(kind, 0))
    figures = found.figures
    assert figures["noun"] == "image" and figures["verdict"]
    assert figures["pixel_error"] > 0 and figures["sharpness_samples"] >= 0
    assert len(found.vectors["gain_by_position"]) == SIDE**2
    assert figures["retrieval_items"] == len(ITEMS) and math.isfinite(figures["baseline_nll"])
    assert figures["samples"] == 40 and 0 <= figures["copied"] <= 1
    assert not {"bleu", "samples_nll", "distinct_1"} & set(figures)
    if kind == "gaussian":
        assert figures["bits_per_pixel"] is None and "density" in figures["why_no_bits_per_pixel"]
    else:
        nll = figures.get("nll", figures["negative_elbo"])
        assert figures["bits_per_pixel"] == pytest.approx(nll / math.log(2) / SIDE**2, rel=0.05)
    table = {title.strip() for title, *_ in rows(figures)}
    assert {"bits a pixel", "squared error a pixel", "sharpness of samples"} <= table


@pytest.mark.parametrize("kind", ["dense", "lstm"])
def test_an_autoencoder_and_a_model_without_a_code_are_measured_too(kind: str) -> None:
    plain = measured(kind, posterior=DeltaPosterior).figures
    assert "kl" not in plain and plain["pixel_error"] > 0 and "aggregate_tv" in plain
    alone = measured(kind, 0).figures
    exact = alone["negative_elbo"] / math.log(2) / SIDE**2
    assert alone["bits_per_pixel"] == pytest.approx(exact)
    assert "pixel_error" not in alone and "sharpness_samples" in alone


@AT_ONCE
def test_the_error_of_a_pixel_is_that_of_the_expected_picture(kind: str) -> None:
    built = model(kind)
    back = write_back(built, CODEC, ITEMS, np.arange(len(ITEMS)), size=7)
    found = pictures(built.decoder, CODEC, back)
    x = seen(back.originals, CODEC)
    with torch.no_grad():
        px: Any = built.decoder(back.codes)
    squared = (px.mean.view_as(x) - x).double().square()
    assert found["pixel_error"] == pytest.approx(float(squared.mean()))
    variance = x.double().var(0, correction=0).mean()
    assert found["pixel_error_average"] == pytest.approx(float(variance))


def test_what_is_written_token_by_token_is_looked_at_as_it_is() -> None:
    written = [ITEMS[row].tolist() for row in range(3)]
    shown = looked_at(decoder_of("lstm"), CODEC, torch.zeros(3, LATENT), written)
    assert torch.equal(shown, seen(written, CODEC))
    assert torch.equal(shown, torch.tensor(np.stack(given(3)) / 255).float())


def test_no_pictures_are_seen_of_none() -> None:
    assert seen([], CODEC).shape == (0, SIDE, SIDE, 1)


def test_expected_pictures_come_in_parts_and_are_the_same() -> None:
    decoder: Any = decoder_of("dense").requires_grad_(False)
    z = torch.randn(601, LATENT)
    whole = decoder(z).mean.view(-1, SIDE, SIDE, 1)
    torch.testing.assert_close(expected(decoder, z, CODEC), whole)


def blurred(pixels: Tensor) -> Tensor:
    return (pixels + pixels.roll(1, 1) + pixels.roll(1, 2) + pixels.roll((1, 1), (1, 2))) / 4


def test_blur_is_no_sharpness_and_noise_has_a_known_one() -> None:
    noise = torch.randint(2, (200, 9, 7, 3)).float()
    assert sharpness(noise) == pytest.approx(0.5, abs=0.01)
    assert sharpness(blurred(noise)) < sharpness(noise) / 3
    assert sharpness(torch.full((2, 3, 3, 1), 0.7)) == 0 == sharpness(torch.ones(1, 1, 1, 1))


# --- shown ---------------------------------------------------------------------------------------


@KINDS
def test_a_page_shows_items_above_their_reconstructions_above_samples(kind: str) -> None:
    m = explorer(kind)
    page, without = show_pictures(m, given(4)), show_pictures(explorer(kind, 0), given(4))
    assert page.shape[1] == without.shape[1]
    assert page.shape[0] - without.shape[0] == 2 * (without.shape[0] - 4)
    alone = page[4:60, 4:60].reshape(4, 14, 4, 14, 3)[:, 0, :, 0, :1]
    np.testing.assert_array_equal(alone, given(1)[0])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus") / "bars"
    splits = {}
    for seed, name in enumerate(("train", "valid", "test")):
        ids, label = bars(60, seed)
        (folder / name).mkdir(parents=True)
        packed = Packed(ids.ravel().astype(np.int32), np.full(60, SIDE**2), label.astype(np.int32))
        splits[name] = [write_block(folder / name / "00000.arrow", [packed])]
    CODEC.save(folder / "codec")
    header = json.loads((folder / "codec" / "codec.json").read_bytes())
    about = {"vocab": CODEC.vocab, **{key: header[key] for key in ("kind", "sha256")}}
    write_manifest(folder, splits, about, [f"bar {n}" for n in range(8)], {"sources": []})
    return open_corpus(folder)


@pytest.mark.parametrize("kind", ["dense", "lstm"])
def test_a_run_of_pictures_trains_is_opened_measured_and_shown(
    kind: str, corpus: Corpus, tmp_path: Path
) -> None:
    base = {**recipe(), "encoder": {"kind": "DenseEncoder", "hidden": [16]}}
    made = base if kind == "lstm" else {**base, "decoder": DENSE}
    train(made, corpus.folder, tmp_path / "run")
    pages = sorted((tmp_path / "run" / "samples").iterdir())
    assert [page.suffix for page in pages] == [".png", ".png"]
    assert imread(pages[0]).shape[:2] == (3 * 60 + 4, 8 * 60 + 4)
    m = seqvae.load(tmp_path / "run")
    assert m.means(m.encode(given(2))).shape == (2, SIDE, SIDE, 1)
    report, written = evaluate_run(tmp_path / "run", samples=2, fitted_items=0, written=30)
    assert report.measured.figures["bits_per_pixel"] > 0
    sheet = next(path for path in written if path.name == "samples.png")
    assert imread(sheet).shape[:2] == (3 * 60 + 4, 10 * 60 + 4)
    json.dumps(report.as_json(), allow_nan=False)
