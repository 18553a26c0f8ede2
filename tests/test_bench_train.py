import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import prepared, windows

from data_prep.images import prepare_images
from seqvae.build import Built, build
from seqvae.codecs import MelodyCodec
from seqvae.recipe import override, read
from seqvae.tokens import EOS, PAD, SPECIAL
from seqvae.vae import Batch

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = ("latent=2", "encoder.embed=8", "encoder.hidden=8", "decoder.hidden=8", "training.batch=8")
BRIEF = ("--steps", "2", "--rounds", "2")


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts import what stands beside them, and multiply small matrices here."""
    monkeypatch.syspath_prepend(SCRIPTS)
    import timing

    monkeypatch.setattr(timing.matrix_peak, "__defaults__", (torch.float32, 64, 1, "cpu"))


def changed(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def table(said: str) -> list[str]:
    """What stands in the first column."""
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows]


def test_both_precisions_are_timed_by_turns_and_say_what_they_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, kept = prepared(tmp_path).folder, tmp_path / "figures" / "lstm.json"
    where = ("--json", kept, "--profile", tmp_path / "profile.txt", "--epochs", 0.5)
    run(monkeypatch, "bench_train.py", corpus, *changed(*TINY), *BRIEF, *where)
    said = capsys.readouterr().out
    assert table(said) == ["", "text, float32", "text, bfloat16"]
    assert re.search(r"text: [\d,]+ weights, 0\.0\d+ MFLOP a token", said)
    assert "bfloat16 against float32" in said and "memory at most" in said
    assert len(re.findall(r"after [\d,]+ tokens validation reconstruction", said)) == 2
    found = json.loads(kept.read_bytes())
    assert found["about"]["threads"] == 1 and set(found["quality"]) == set(found["ways"])
    way = found["ways"]["text, float32"]
    assert len(way["seconds"]) == 2 and way["items"][0] < way["units"][0]
    worked = found["networks"]["text"]["operations"] * way["units"][0]
    assert way["share"][1] <= 1.01 * worked / way["peak"] <= 1.03 * way["share"][2]
    profile = (tmp_path / "profile.txt").read_text("utf-8")
    assert re.search(r"text, bfloat16, 2 steps\n +\d+\.\d% .* calls  ", profile)


def test_a_hierarchy_is_timed_beside_a_flat_decoder_of_as_many_weights_and_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = windows(tmp_path / "long", MelodyCodec(bars=16), 16).folder
    small = changed(*TINY, "encoder.share=8")
    run(monkeypatch, "bench_train.py", corpus, "--net", "melody", *small, *BRIEF)
    said = capsys.readouterr().out
    ways = [f"{r}, {p}" for r in ("melody-16", "melody-16-flat") for p in ("float32", "bfloat16")]
    assert table(said) == ["", *ways]
    assert re.search(r"melody-16 against melody-16-flat, float32: \d", said)
    assert "padding 0.0% of positions" in said
    short = windows(tmp_path / "short", MelodyCodec(bars=1), 4).folder
    with pytest.raises(SystemExit, match="windows of 1 bars and melody-16 is for 16: prepare"):
        run(monkeypatch, "bench_train.py", short, "--net", "melody", *BRIEF)
    with pytest.raises(SystemExit, match="items of a fixed length"):
        run(monkeypatch, "bench_train.py", "--net", "melody", "--words", 50)


def test_pictures_are_counted_as_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = prepare_images(["digits"], tmp_path / "digits", binarize="dynamic", limit=300).folder
    run(monkeypatch, "bench_train.py", corpus, "--net", "pictures", *BRIEF)
    said = capsys.readouterr().out
    assert "| pictures a second" in said
    assert re.search(r"image-convolutional: .* MFLOP a picture", said)


def test_made_words_need_no_corpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = changed(*TINY, "decoder.embed=8")
    run(monkeypatch, "bench_train.py", "--net", "yahoo", "--words", 50, *small, *BRIEF)
    assert "4,000 made sentences, 50 ids" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--words 4: the first 4 ids are no words"):
        run(monkeypatch, "bench_train.py", "--net", "yahoo", "--words", 4)


@pytest.fixture
def bench() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / "bench_train.py"))


def test_made_words_fall_as_zipf_says(bench: dict[str, Any]) -> None:
    source = bench["made"](20, items=300)
    ids = torch.cat([torch.as_tensor(row) for row in source.train.ids])
    counts = torch.bincount(ids, minlength=20)[SPECIAL:].double()
    assert all(row[-1] == EOS for row in source.train.ids)
    assert source.train.lengths.min() >= 20 and source.train.lengths.max() <= 140
    share = 1 / torch.arange(1, 17)
    assert torch.allclose(counts / counts.sum(), share.double() / share.sum(), atol=0.01)


def test_the_network_of_yahoo_has_54_million_weights(bench: dict[str, Any]) -> None:
    built = build(override(read("text"), bench["YAHOO"]), vocab=104)
    weights = sum(weight.numel() for weight in built.vae.parameters())
    each = 512 + 512 + 1024 + 1  # two embeddings, the scores and their bias
    assert 53.5e6 < weights + (20_001 - 104) * each < 54.5e6


def a_batch(items: int, length: int, vocab: int) -> Batch:
    x = torch.randint(SPECIAL, vocab, (items, length))
    return Batch(x, torch.full((items,), length), None, torch.arange(items))


def test_six_operations_are_counted_for_every_weight_of_a_matrix_product(
    bench: dict[str, Any],
) -> None:
    """Two forward, four on the way back; of an LSTM too, into which torch does not see."""
    built = build(override(read("text"), bench["NET"]), vocab=7279)
    encoder, decoder = 2 * 4 * 512 * (256 + 512), 4 * 512 * (256 + 64 + 512)
    a_token = encoder + decoder + 512 * 7279
    an_item = 1024 * 128 + 64 * 512  # of the posterior, and the first state
    found = bench["operations"](built, a_batch(16, 8, 7279))
    assert found == 6 * 16 * (8 * a_token + an_item)


@pytest.mark.parametrize("recurrent", [True, False])
def test_a_conductor_is_counted_once_a_bar(bench: dict[str, Any], recurrent: bool) -> None:
    small = [size for size in TINY if "batch" not in size]
    sizes = (*small, "encoder.share=8", "decoder.embed=8", "decoder.conductor=8")
    sizes += ("decoder.recurrent=true", "decoder.plan=0") if recurrent else ()
    with_bars: list[Built] = [
        build(override(read("melody-16"), (*sizes, f"decoder.bars={bars}")), vocab=94, length=256)
        for bars in (16, 32)
    ]
    few, many = (bench["operations"](built, a_batch(2, 256, 94)) for built in with_bars)
    wider = 16 * 4 * 8 * 16  # a recurrent conductor reads which of so many bars it is
    made = 4 * 8 * (16 + 2 + 8) if recurrent else 2 * 8
    conducted = 16 * (made + 8 * 8)  # and opens each
    assert many - few == 6 * 2 * (conducted + 2 * wider * recurrent)


def test_a_transformer_is_counted_with_its_attention(bench: dict[str, Any]) -> None:
    sizes = [
        f"{part}.{size}" for part in ("encoder", "decoder") for size in ("width=8", "heads=2")
    ]
    sizes += ["latent=2", "encoder.layers=1", "decoder.layers=1"]
    built = build(override(read("text-transformer"), sizes), vocab=40)
    items, length = 16, 8
    a_token = 2 * (12 * 8 * 8 + 2 * length * 8) + 8 * 40  # two blocks, and the scores
    an_item = 8 * 4 + 2 * 2 * 8
    found = bench["operations"](built, a_batch(items, length, 40))
    assert found == 6 * items * (length * a_token + an_item)


def test_what_is_counted_on_has_no_padding(bench: dict[str, Any]) -> None:
    x = torch.tensor([[7, 8, 9, EOS], [7, EOS, PAD, PAD], [5, 6, EOS, PAD]])
    batch = Batch(x, torch.tensor([4, 2, 3]), torch.tensor([0, 1, 1]), torch.arange(3))
    found = bench["unpadded"](batch)
    assert found.x.tolist() == [[5, 6, EOS]] * 128 and found.x.numel() % 128 == 0
    assert found.length.sum() == found.x.numel() and found.label.tolist() == [1] * 128


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_scores_in_slices_take_less_memory_and_give_the_same_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Where the allocator keeps what is freed, as it does of blocks under 32 MiB, all look alike.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**20))
    sizes = {"words": 20_000, "sentences": 8, "tokens": 50, "hidden": 8, "embed": 8, "latent": 2}
    small = [f"--{name}={size}" for name, size in sizes.items()]
    line = (*small, "--at-once", 2**20, "--rounds", 1, "--json", tmp_path / "memory.json")
    run(monkeypatch, "bench_memory.py", *line)
    assert table(capsys.readouterr().out) == ["scores", "in slices", "all at once"]
    found = json.loads((tmp_path / "memory.json").read_bytes())
    assert max(found["apart"].values()) < 1e-4
    assert found["shares"]["mib"][0] < 0.5


def test_steps_that_differ_are_told_apart() -> None:
    bench = runpy.run_path(str(SCRIPTS / "bench_memory.py"))
    loss = {"loss": torch.tensor(2.0), "mib": torch.tensor(1.0), "seconds": torch.tensor(1.0)}
    ours = loss | {"a": torch.tensor([1.0, 4.0]), "b": torch.zeros(2)}
    found = bench["differences"](ours, ours | {"loss": torch.tensor(2.5), "b": torch.ones(2)})
    assert found == pytest.approx({"loss": 0.2, "gradients": 0.25})
