"""Densities fitted on codes: near where the codes are, kept with the run, never a likelihood."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Command
from small import SENTENCES, same, vae
from tiny import prepared, recipe, train, windows
from torch import Tensor

import seqvae as package
from seqvae import density as kept
from seqvae import runs, shelf
from seqvae.codecs import MelodyCodec
from seqvae.data import InMemory, in_order
from seqvae.densities import Density, Mixture, RectifiedFlow, kinds
from seqvae.densities.density import radius_of, scaled
from seqvae.distributions import has_density
from seqvae.errors import Refused
from seqvae.explore import Explorer
from seqvae.keepsakes import weights_sum
from seqvae.reports.holes import Filled, _Samples, draw_codes, told_apart
from seqvae.vae import VAE

FEW = ("--items", 60, "--written", 0, "--device", "cpu")
KINDS = sorted(kinds())


def blobs(count: int, seed: int = 0) -> Tensor:
    """Codes (N, 2) about (-2, 0) and, a third of them, about (3, 1), where the prior has few."""
    generator = torch.Generator().manual_seed(seed)
    right = torch.rand(count, 1, generator=generator) < 1 / 3
    centre = torch.where(right, torch.tensor([3.0, 1.0]), torch.tensor([-2.0, 0.0]))
    return centre + 0.4 * torch.randn(count, 2, generator=generator)


def on_sphere(count: int) -> Tensor:
    return 2 * torch.nn.functional.normalize(torch.randn(count, 3) + 1, dim=1)


def drawn(density: Density, count: int = 1500, seed: int = 0) -> Tensor:
    return density.sample(count, torch.Generator().manual_seed(seed))


def fit(kind: str, codes: Tensor, *, steps: int = 300, seed: int = 0) -> Density:
    """A mixture, or a flow that is trained for a moment."""
    if kind == "flow":
        return RectifiedFlow.fit(codes, width=64, training_steps=steps, seed=seed)
    return kinds()[kind].fit(codes, seed=seed)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Density]:
    torch.manual_seed(0)
    return {kind: fit(kind, blobs(1500)) for kind in KINDS}


# --- where they lie ------------------------------------------------------------------------------


def test_the_classifier_tells_the_prior_from_two_blobs_and_not_two_blobs() -> None:
    assert told_apart(blobs(1500), torch.randn(1500, 2)) > 0.85
    assert abs(told_apart(blobs(1500), blobs(1500, seed=1)) - 0.5) < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_lies_where_codes_do(kind: str, fitted: dict[str, Density]) -> None:
    codes, new = blobs(1500, seed=1), drawn(fitted[kind])
    assert told_apart(codes, new) < {"mixture": 0.54, "flow": 0.58}[kind]
    same(new.mean(0), codes.mean(0), 0.3)
    same(torch.cov(new.T), torch.cov(codes.T), 0.5)
    assert float((new[:, 0] > 0.5).float().mean()) == pytest.approx(1 / 3, abs=0.06)


def test_a_mixture_has_as_many_gaussians_as_there_are_blobs() -> None:
    found = Mixture.fit(blobs(1500))
    assert found.about == "mixture of 2 Gaussians"
    order = found.shares.argsort()
    same(found.shares[order], torch.tensor([1 / 3, 2 / 3]), 0.05)
    same(found.means[order], torch.tensor([[3.0, 1.0], [-2.0, 0.0]]), 0.05)
    covariances = found.factors @ found.factors.mT
    same(covariances, 0.16 * torch.eye(2).expand(2, 2, 2), 0.03)
    assert Mixture.fit(blobs(100), components=3).sizes == {"latent": 2, "components": 3}


def test_one_gaussian_has_the_moments_of_the_codes() -> None:
    codes = torch.randn(500, 3) @ torch.randn(3, 3) * 100 + 7
    found = Mixture.fit(codes, components=1)
    same(found.means[0], codes.mean(0), 1e-3)
    same(found.factors[0] @ found.factors[0].T, torch.cov(codes.T, correction=0), 1e-2)


def test_the_exact_velocity_of_a_gaussian_flows_to_it() -> None:
    """Of codes N(0, s^2), v(z, t) = z (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2)."""

    class Exact(RectifiedFlow):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:
            s = torch.tensor([0.5, 2.0])
            return z * (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2)

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(9, 2, generator=generator)
    same(drawn(Exact(2, steps=64), 9), noise * torch.tensor([0.5, 2.0]), 2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_the_codes_do_not_matter(kind: str) -> None:
    """A dimension that stands still keeps its value; others are moved and stretched."""
    codes = blobs(200)
    moved = torch.cat([1e3 * codes + 5, torch.full((200, 1), 4.0)], dim=1)
    z = drawn(fit(kind, moved, steps=150))
    assert bool((z[:, 2] == 4).all())
    assert told_apart(moved[:, :2], z[:200, :2]) < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_a_sphere_stay_on_it(kind: str) -> None:
    z = drawn(fit(kind, on_sphere(200), steps=5), 50)
    same(z.norm(dim=1), torch.full((50,), 2.0))
    assert radius_of(blobs(50)) == 0


def test_scaled_codes_have_width_one() -> None:
    codes, mean, width = scaled(blobs(300))
    same(codes.mean(0), torch.zeros(2))
    same(codes.std(0), torch.ones(2))
    same(codes * width + mean, blobs(300))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_the_callers_randomness_stays(kind: str) -> None:
    def codes(seed: int) -> Tensor:
        return drawn(fit(kind, blobs(60), steps=10, seed=seed), 5)

    before = torch.random.get_rng_state()
    assert torch.equal(codes(1), codes(1))
    assert not torch.equal(codes(1), codes(2**63 - 1))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_no_likelihood_can_be_had_of_one(kind: str, fitted: dict[str, Density]) -> None:
    assert not hasattr(fitted[kind], "log_prob")
    assert not has_density(_Samples(fitted[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_nothing_can_be_fitted_on_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match="3 codes: fit a density on 20"):
        fit(kind, blobs(3))
    with pytest.raises(Refused, match="language model"):
        fit(kind, torch.zeros(100, 0))
    with pytest.raises(Refused, match="not finite"):
        fit(kind, torch.full((100, 2), torch.nan))


def test_more_gaussians_than_codes_are_refused() -> None:
    with pytest.raises(Refused, match="components = 90, of 60"):
        Mixture.fit(blobs(60), components=90)


def test_codes_are_drawn_from_posteriors_and_are_not_their_means() -> None:
    model, items = vae(), InMemory(SENTENCES * 10)
    means = torch.cat([model.encoder(batch).mean for batch in in_order(items, 64)])
    codes = draw_codes(model, items, 100)
    assert codes.shape == means.shape
    assert bool((codes.std(0) > 1.2 * means.std(0)).all())
    assert torch.equal(codes, draw_codes(model, items, 100))
    assert len(draw_codes(model, items, 7)) == 7


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_kept_draws_the_same_bits(
    kind: str, fitted: dict[str, Density], tmp_path: Path
) -> None:
    model = vae()
    kept.save(tmp_path, fitted[kind], model, codes=1500, split="train", seed=0)
    again = kept.load(tmp_path, model)
    assert torch.equal(drawn(again.density), drawn(fitted[kind]))
    assert again.header["kind"] == kind and again.header["version"] == package.__version__
    assert again.about.endswith("fitted on 1,500 codes of train, seed 0")
    first = (tmp_path / kept.FILE).read_bytes()
    kept.save(tmp_path, again.density, model, codes=1500, split="train", seed=0)
    assert (tmp_path / kept.FILE).read_bytes() == first


def test_a_density_of_other_weights_is_refused(fitted: dict[str, Density], tmp_path: Path) -> None:
    model = vae()
    kept.save(tmp_path, fitted["mixture"], model, codes=9, split="train", seed=0)
    with torch.no_grad():
        next(iter(model.decoder.parameters())).add_(0.1)
    with pytest.raises(Refused, match=r"fitted to other weights.*Fit one: seqvae density"):
        kept.load(tmp_path, model)


def test_rounding_to_half_precision_leaves_the_checksum() -> None:
    def rounded(model: VAE) -> VAE:
        model.load_state_dict({n: t.half() for n, t in model.state_dict().items()})
        return model

    model = vae()
    assert weights_sum(model) == weights_sum(rounded(model))
    assert weights_sum(model) != weights_sum(vae())


def test_a_file_that_is_none_or_damaged_is_refused(
    fitted: dict[str, Density], tmp_path: Path
) -> None:
    model, path = vae(), tmp_path / kept.FILE
    with pytest.raises(Refused, match="has no density of its codes"):
        kept.load(tmp_path, model)
    kept.save(tmp_path, fitted["mixture"], model, codes=9, split="train", seed=0)
    whole = path.read_bytes()
    damages = {
        "is damaged": whole[:-9],
        "not what was saved": whole[:-4] + b"\0\0\0\1",
        "reads up to 1": whole.replace(b'\\"format\\": 1', b'\\"format\\": 2'),
        "'mixturf'.*Upgrade": whole.replace(b'"mixture\\"', b'"mixturf\\"'),
    }
    for says, data in damages.items():
        assert data != whole
        path.write_bytes(data)
        with pytest.raises(Refused, match=says):
            kept.load(tmp_path, model)


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sentences, one without widths, a language model, and one of music."""
    folder = tmp_path_factory.mktemp("home")
    words = prepared(folder).folder
    train(recipe(training_steps=20), words, folder / "run")
    delta: dict[str, Any] = {
        "posterior_kind": "DeltaPosterior",
        "objective_terms.kl.kind": "MMD",
        "training_select": "reconstruction",
    }
    train(recipe(training_steps=2, **delta), words, folder / "delta")
    train(recipe(training_steps=1, latent=0), words, folder / "lm")
    songs = windows(folder / "songs", MelodyCodec(bars=1)).folder
    train(recipe(name="melody", training_steps=2), songs, folder / "music")
    return folder


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    """A copy of the run, to write to."""
    shutil.copytree(home / "run", tmp_path / "run")
    note = json.loads((home / "run" / "corpus.json").read_bytes())
    note["path"] = str(home / "corpus")
    (tmp_path / "run" / "corpus.json").write_text(json.dumps(note))
    return tmp_path / "run"


def test_a_density_is_fitted_kept_and_drawn_from(seqvae: Command, run: Path) -> None:
    [row] = seqvae("density", run, "--written", 20, "--device", "cpu", "--json").rows
    assert row["density"]["kind"] == "mixture"
    assert row["density"]["codes"] == 180
    assert row["written"] <= 20 and row["nll_density"] > 0
    prior, other = (seqvae("sample", run, "--json", "--from", w) for w in ("prior", "density"))
    assert {r["from"] for r in prior.rows} == {"prior"} and prior.err == ""
    assert {r["from"] for r in other.rows} == {"density"}
    assert "codes are drawn from the density: " in other.err
    m = package.load(run)
    assert [r["text"] for r in other.rows] == m.sample(5, source="density")
    assert [r["text"] for r in prior.rows] == m.sample(5)


def test_the_table_holds_each_beside_the_codes_themselves(seqvae: Command, run: Path) -> None:
    made = seqvae("density", run, "--components", 2, "--written", 5, "--device", "cpu")
    wanted = ["told from held-out codes", "  codes of train itself", "  codes of the prior"]
    wanted += ["  codes of the density", "what is written, under 3-grams", "  held-out sentences"]
    wanted += ["  from the prior", "  from the density"]
    assert [s for s, line in zip(wanted, made.lines, strict=False) if line.startswith(s)] == wanted
    assert made.lines[-1] == f"written: {run / kept.FILE}"


@pytest.mark.parametrize(
    "told, says",
    [
        ((0.50, 0.52, 0.51), "Draw from it"),
        ((0.50, 0.90, 0.89), "try another --kind"),
        ((0.50, 0.90, 0.60), "--from density"),
        ((None, None, None), "not known"),
    ],
)
def test_what_to_do_follows_from_the_figures(
    told: tuple[float | None, ...], says: str, fitted: dict[str, Density]
) -> None:
    figures = dict(zip(("told_codes", "told_prior", "told_density"), told, strict=True))
    about = kept.Kept(fitted["mixture"], {})
    assert says in Filled(about, Path("runs/x"), {**figures, "told_error": 0.01}).reading()


def test_a_flow_is_fitted_by_name(
    seqvae: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = partial(RectifiedFlow.fit, training_steps=3)
    monkeypatch.setattr(RectifiedFlow, "fit", brief)
    made = seqvae("density", run, "--kind", "flow", *FEW)
    assert made.status == 0 and "rectified flow, 3 layers of 256" in made.out
    assert "rectified flow" in seqvae("sample", run, "--from", "density").err


def test_autoencoders_and_music_have_densities_too(seqvae: Command, home: Path) -> None:
    for name in ("delta", "music"):
        [row] = seqvae("density", home / name, "--json", *FEW).rows
        assert row["density"]["codes"] == 60
    assert len(seqvae("sample", home / "delta", "--from", "density").lines) == 5
    out = ("--out", home / "fresh", "--json")
    rows = seqvae("sample", home / "music", "-n", 2, "--from", "density", *out).rows
    assert [row["from"] for row in rows] == ["density"] * 2
    assert all(Path(row["file"]).is_file() for row in rows)


def test_an_export_carries_its_density_unless_it_is_of_other_weights(
    seqvae: Command, run: Path, tmp_path: Path
) -> None:
    seqvae("density", run, *FEW)
    assert seqvae("export", run, tmp_path / "small").status == 0
    drawn_from = ("--from", "density", "-n", 3)
    wanted = seqvae("sample", run, *drawn_from).lines
    assert seqvae("sample", tmp_path / "small", *drawn_from).lines == wanted
    move_weights(run)
    done = seqvae("sample", run, *drawn_from)
    assert done.status == 2 and "fitted to other weights" in done.line
    assert f"seqvae density {run}" in done.line
    left = seqvae("export", run, tmp_path / "other")
    assert left.status == 0 and "left behind" in left.err
    assert not (tmp_path / "other" / kept.FILE).exists()


def move_weights(run: Path) -> None:
    """As if it had been trained on."""
    opened = runs.open_run(run)
    weights = {name: tensor + 0.1 for name, tensor in runs.state(opened.built).items()}
    checkpoint = runs.Checkpoint(weights, opened.trainer)
    runs.save_checkpoint(opened.place.parent, opened.place.name, checkpoint)


def test_what_cannot_be_done_is_refused(
    seqvae: Command, home: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {
        ("density", home / "lm"): "is a language model",
        ("sample", home / "lm", "--from", "density"): "is a language model",
        ("sample", run, "--from", "density"): "has no density of its codes .*seqvae density",
        ("sample", run, "--from", "densty"): 'did you mean "density"',
        ("density", run, "--kind", "mixtur"): 'did you mean "mixture"',
        ("density", run, "--kind", "flow", "--components", 2): "only a mixture",
        ("density", run, "--split", "test"): "nothing is chosen by the test split",
        ("density", run, "--items", 3): "3 codes: fit a density on 20",
        ("density", home / "music", "--corpus", home / "corpus"): "another codec",
    }
    for command, says in wrong.items():
        done = seqvae(*command)
        assert done.status == 2
        assert re.search(says, done.line), done.line
    monkeypatch.setattr("seqvae.shelf.shipped_folder", lambda: home)
    done = seqvae("density", "run")
    assert done.status == 2 and "never written to" in done.line
    done = seqvae("sample", "run", "--from", "density")
    assert done.status == 2 and "seqvae export run runs/run; seqvae density runs/run" in done.line
    assert not (home / "run" / kept.FILE).exists()


def test_an_opened_model_without_a_folder_has_no_density() -> None:
    m = package.load(shelf.DEFAULT)
    with pytest.raises(Refused, match="not opened from a run's folder"):
        Explorer(m.vae, m.codec, m.recipe, {}).sample(source="density")
