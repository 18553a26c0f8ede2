"""The table of a model: every row has its figures, and no figure that it names has gone."""

import math
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small import VOCAB, make

from seqvae.codecs import GrooveCodec, PixelCodec, PolyphonyCodec, TrioCodec, WordCodec
from seqvae.data import InMemory, Order, batches
from seqvae.decoders import DenseDecoder, LSTMDecoder
from seqvae.encoders import EmptyEncoder, LSTMEncoder
from seqvae.evaluate import measure
from seqvae.likelihoods import Gaussian
from seqvae.measures.codes import Back
from seqvae.measures.events import events
from seqvae.measures.music import feel
from seqvae.midi import notes_of
from seqvae.midi.clips import Clip
from seqvae.objectives import Elbo
from seqvae.posteriors import GaussianPosterior
from seqvae.posteriors.label import LabelPosterior
from seqvae.priors import StandardNormal
from seqvae.rows import TABLE, Row, nats, remark, rows, side_by_side, value, written
from seqvae.tokens import EOS
from seqvae.training import AdamW, train
from seqvae.vae import VAE

ROWS = [row for part in TABLE.values() for row in part]
NO_REMARK = Row("", lambda figures: None).remark


def corpus(count: int, seed: int) -> InMemory:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(4, 7, count)
    ids = [[*draw.integers(4, VOCAB, int(n)).tolist(), EOS] for n in lengths]
    return InMemory(ids, labels=[row[0] for row in ids])


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """All that can be measured of models that use their code: text, music, pictures."""
    others = figures_of_pictures() | figures_of_grooves() | figures_of_polyphony()
    return others | figures_of_music() | figures_of_text()


def figures_of_grooves() -> dict[str, Any]:
    """Of drums whose feel is in their tokens, what those of other music have not."""
    voices = GrooveCodec(bars=1).voices
    truth, written = np.random.default_rng(0).integers(0, voices[0].size, (2, 3, 16, 9))
    return feel(voices, truth, written)


def figures_of_polyphony() -> dict[str, Any]:
    """Of chords that come back shortened, what music of one token a step has not."""
    codec = PolyphonyCodec(bars=1)
    chords = [
        Clip({"piano": notes_of([(0, end, 60, 80), (480, 960, pitch, 80)])}, 1920)
        for end, pitch in ((480, 64), (960, 64), (960, 67))
    ]
    ids = [codec.encode(chord).ids for chord in chords]
    rows = np.arange(2)
    codes: Any = SimpleNamespace(item=torch.arange(2), rate=torch.ones(2))
    return events(codec, codes, Back(rows, ids[:2], ids[1:], 99, torch.zeros(2, 1)))


def figures_of_pictures() -> dict[str, Any]:
    """Of a model that was never trained, with a code of two numbers and a label head."""
    torch.manual_seed(0)
    codec = PixelCodec(2, 2, levels=VOCAB - 4)
    draw = np.random.default_rng(0)
    pixels = InMemory(draw.integers(4, VOCAB, (40, 4)).tolist(), draw.integers(0, 3, 40).tolist())
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(2))
    head = make(LSTMEncoder, posterior=LabelPosterior(3))
    likelihood = Gaussian(VOCAB, sigma=0.5)
    decoder = DenseDecoder(VOCAB, 2 + 3, length=4, likelihood=likelihood, hidden=(8,))
    model = VAE(encoder, StandardNormal(2), decoder, head)
    return measure(model, pixels, samples=5, written=20, codec=codec, train=pixels).figures


def figures_of_music() -> dict[str, Any]:
    """Of a model that was never trained: every figure that text has not."""
    torch.manual_seed(0)
    codec = TrioCodec(bars=2)
    draw = np.random.default_rng(0)
    first, end = np.tile(codec.allowed, (32, 1)).T
    windows = InMemory(draw.integers(first, end, (60, codec.length)).tolist())
    sizes: dict[str, Any] = {"vocab": codec.vocab, "hidden": 8}
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(4, sigma=0.9), **sizes)
    model = VAE(encoder, StandardNormal(4), make(LSTMDecoder, latent=4, **sizes))
    without = VAE(EmptyEncoder(), StandardNormal(0), make(LSTMDecoder, latent=0, **sizes))
    return measure(
        model,
        windows,
        samples=20,
        sample_items=30,
        fitted_items=0,
        written=5,
        codec=codec,
        train=windows,
        baseline=without,
    ).figures


def figures_of_text() -> dict[str, Any]:
    torch.manual_seed(0)
    encoder = make(LSTMEncoder, posterior=GaussianPosterior(4, sigma=0.3), hidden=16)
    model = VAE(encoder, StandardNormal(4), make(LSTMDecoder, latent=4, hidden=16))
    items = corpus(40, seed=0)
    stream = batches(items, Order(items.lengths, 20))
    for _ in islice(train(model, Elbo({}), AdamW(model.parameters(), rate=0.02), stream), 160):
        pass
    return measure(
        model,
        items,
        samples=20,
        sample_items=30,
        fitted_items=4,
        written=20,
        codec=WordCodec(["a", "b", "c", "d", "e"]),
        train=corpus(60, seed=1),
        baseline=VAE(EmptyEncoder(), StandardNormal(0), make(LSTMDecoder, latent=0)),
        noise=True,
    ).figures


def title_of(**figures: float) -> str:
    """Of the row that these figures make."""
    [title] = [row.title for row in ROWS if row.cell(figures)]
    return title


class Asked(dict[str, Any]):
    """Figures that note which of them were asked for."""

    def __init__(self, figures: dict[str, Any]) -> None:
        super().__init__(figures)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


@pytest.mark.parametrize("row", ROWS, ids=[row.title for row in ROWS])
def test_a_full_measurement_has_every_figure_that_a_row_names(
    row: Row, figures: dict[str, Any]
) -> None:
    """A figure that is renamed where it is measured would drop out of the table in silence."""
    asked = Asked(figures)
    assert row.cell(asked) is not None
    assert row.remark is NO_REMARK or row.remark(asked) != ""
    without_interval = {"_low", "_high"}
    assert asked.asked - without_interval <= set(figures)


def needed(row: Row, figures: dict[str, Any]) -> Iterator[str]:
    """The figures without any one of which a row is not there."""
    for key in figures:
        if row.cell({name: kept for name, kept in figures.items() if name != key}) is None:
            yield key


@pytest.mark.parametrize("row", ROWS, ids=[row.title for row in ROWS])
def test_a_row_stands_in_the_table_where_its_figures_do_and_nowhere_else(
    row: Row, figures: dict[str, Any]
) -> None:
    keys = list(needed(row, figures))
    alone = {key: figures[key] for key in keys}
    others = {key: kept for key, kept in figures.items() if key not in alone}
    assert keys and row.cell(alone) is not None
    assert row.remark(alone) is not None, "what a remark lacks is left out of it"
    assert (f"  {row.title}", row.cell(alone), row.remark(alone)) in rows(alone)
    for key in keys:
        assert row.cell({**others, **{k: v for k, v in alone.items() if k != key}}) is None


def test_a_table_has_every_part_and_leaves_out_those_with_nothing_in_them(
    figures: dict[str, Any],
) -> None:
    assert [name for name, cell, _ in rows(figures) if not cell] == list(TABLE)
    assert [name.strip() for name, cell, _ in rows(figures) if cell] == [r.title for r in ROWS]
    assert rows({}) == []
    assert rows({"kl": 1.5}) == [
        ("what it costs", "", ""),
        (f"  {ROWS[1].title}", "1.500", "nats a sentence"),
    ]


def test_a_value_has_its_digits_its_error_and_its_interval_where_there_are_any() -> None:
    cell = value("a", 2, error="e", interval="i")
    assert cell({}) is None
    assert cell({"a": None, "e": 1.0}) == "n/a"
    assert cell({"a": 1234.567}) == "1,234.57"
    assert cell({"a": 1.0, "e": 0.125}) == "1.00 ± 0.12"
    assert cell({"a": 1.0, "e": None, "i_low": None, "i_high": None}) == "1.00"
    assert cell({"a": 1.0, "i_low": 0.5, "i_high": 1.5}) == "1.00 [0.50, 1.50]"
    assert value("a")({"a": 1.0, "e": 0.1, "i_low": 0.5, "i_high": 1.5}) == "1.000"


def test_what_is_written_of_several_figures_needs_all_of_them() -> None:
    form = "{a:.1f} of {b}"
    assert written(form)({"a": 1.0, "b": 2}) == remark(form)({"a": 1.0, "b": 2}) == "1.0 of 2"
    for figures in ({"a": 1.0}, {"a": None, "b": 2}, {}):
        assert written(form)(figures) is None
        assert remark(form)(figures) == ""


@pytest.mark.parametrize(
    ("low", "cell", "remark_ends"),
    [(1.0, "1.00 to 3.50", "= 4.00"), (3.25, "≥ 3.25, ≤ 3.50", "and is near it")],
)
def test_a_bound_of_information_near_its_cap_is_said_to_be_one(
    low: float, cell: str, remark_ends: str
) -> None:
    name = "mutual_information"
    found = {f"{name}_low": low, f"{name}_high": 3.5, f"{name}_cap": 4.0}
    [(_, _, _), (_, told, said)] = rows(found)
    assert told == cell
    assert said.endswith(remark_ends)


def test_undefined_figures_of_a_report_make_a_table_too(figures: dict[str, Any]) -> None:
    """What is not finite is null in a report, and a report is made a table of again."""
    undefined = {k: None if isinstance(v, float) else v for k, v in figures.items()}
    told = {name.strip(): cell for name, cell, _ in rows(undefined)}
    assert told[title_of(reconstruction=1)] == told[title_of(iw_nll=1)] == "n/a"
    assert title_of(mutual_information_low=1, mutual_information_high=1) not in told
    infinite = {k: math.inf if isinstance(v, float) else v for k, v in figures.items()}
    assert len(rows(infinite)) == len(rows(figures))


def test_side_by_side_has_a_column_a_model_and_a_dash_where_it_has_no_figure(
    figures: dict[str, Any],
) -> None:
    table = side_by_side({"a": {"kl": 1.0, "bleu": 2.0}, "b": {"kl": None, "nll": 3.0}})
    kl, nll, bleu = title_of(kl=1), title_of(nll=1), title_of(bleu=1)
    parts = iter(TABLE)
    costs, evidence = next(parts), next(parts)
    assert table == [
        ("", "a", "b"),
        (costs, "", ""),
        (f"  {kl}", "1.000", "n/a"),
        (evidence, "", ""),
        (f"  {nll}", "-", "3.000"),
        ("what comes back", "", ""),
        (f"  {bleu}", "2.0", "-"),
    ]
    alone = [(name, cell) for name, cell, _ in rows(figures)]
    assert side_by_side({"a": figures}) == [("", "a"), *alone]


def test_a_table_speaks_of_items_as_their_codec_does() -> None:
    assert (nats("window"), nats("item")) == ("nats a window", "nats an item")
    found = {"kl": 1.0, "copied": 0.5, "copied_real": 0.1, "noun": "window"}
    said = {name.strip(): remark for name, _, remark in rows(found)}
    assert said[title_of(kl=1)] == "nats a window"
    assert said[title_of(copied=1)] == "of held-out windows 10.0%"


def test_an_end_token_has_a_share_only_where_there_is_one() -> None:
    shares = {f"gain_{what}_{part}": 0.5 for what in ("share", "tokens") for part in "ab"}
    assert rows(shares) == []
    found = {
        f"gain_{what}_{part}": 0.5 for what in ("share", "tokens") for part in ("first", "rest")
    }
    [_, (title, cell, said)] = rows(found)
    assert (title, cell) == ("  where z helps", "50% / 50%")
    assert said == "first 3 tokens / rest, which are 50% / 50% of the tokens"
    ended = found | {"gain_share_end": 0.0, "gain_tokens_end": 0.1}
    [_, (_, cell, said)] = rows(ended)
    assert cell == "50% / 0% / 50%"
    assert said.startswith("first 3 tokens / end token / rest, which are 50% / 10% / 50% of")
