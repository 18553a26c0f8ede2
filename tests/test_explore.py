"""The verbs of an opened model, from Python."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import prepared, recipe, sentences, train

import seqvae
from seqvae.errors import Refused
from seqvae.explore import Decoding, Explorer, show
from seqvae.explore.decoding import AT_ONCE, LONGEST

TEXTS = sentences(20)
DRAW = Decoding(temperature=1.0, length=12)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("corpus")).folder


@pytest.fixture(scope="module")
def m(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Explorer:
    """A model whose code has two dimensions."""
    folder = tmp_path_factory.mktemp("vae") / "run"
    train(recipe(training_steps=60), corpus, folder)
    return seqvae.load(folder)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Explorer:
    folder = tmp_path_factory.mktemp("lm") / "run"
    train(recipe(latent=0), corpus, folder)
    return seqvae.load(folder)


def test_a_sentence_has_the_same_code_in_any_company(m: Explorer) -> None:
    together = m.encode(TEXTS)
    assert together.shape == (20, 2)
    alone = torch.cat([m.encode([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_the_callers_own_randomness_is_left_as_it_was(m: Explorer) -> None:
    before = torch.random.get_rng_state()
    assert torch.equal(m.encode(TEXTS), m.encode(TEXTS))
    m.encode(TEXTS, sample=True, seed=3)
    m.sample(3, DRAW)
    m.reconstruct(TEXTS, DRAW)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_drawn_codes_lie_about_the_mean_as_widely_as_said(m: Explorer) -> None:
    draws = torch.stack([m.encode(TEXTS[:1], sample=True, seed=seed) for seed in range(400)])
    mean, stddev = m.encode(TEXTS[:1]), m.stddev(TEXTS[:1])
    assert (draws.mean(0) - mean).abs().max() < 4 * stddev.max() / 20
    torch.testing.assert_close(draws.std(0), stddev, rtol=0.15, atol=0)


def test_nothing_encodes_to_nothing(m: Explorer) -> None:
    assert m.encode([]).shape == m.stddev([]).shape == (0, 2)
    assert m.reconstruct([]) == []
    assert m.neighbours(TEXTS[0], []) == []


def test_reconstructing_is_decoding_the_code(m: Explorer) -> None:
    assert m.reconstruct(TEXTS) == m.decode(m.encode(TEXTS))


def test_reconstructions_come_a_part_at_a_time_and_are_the_same(m: Explorer) -> None:
    read = []

    def items() -> Iterator[str]:
        for text in TEXTS * (2 * AT_ONCE // len(TEXTS) + 1):
            read.append(text)
            yield text

    written = m.reconstructions(items(), DRAW)
    first = next(written)
    assert len(read) <= AT_ONCE + 1, "the first part is written before the next one is read"
    pairs = [first, *written]
    assert [item for item, _ in pairs] == read
    assert [again for _, again in pairs] == m.reconstruct(read, DRAW)


def test_unless_told_it_writes_as_long_as_it_was_trained(m: Explorer) -> None:
    assert m.form.length == LONGEST
    brief = Explorer(m.vae, m.codec, {**m.recipe, "data": {"max_tokens": 3}}, m.facts)
    assert brief.form.length == 3
    for decoding in (Decoding(), Decoding(beam=2), Decoding(temperature=5.0)):
        lengths = [len(text.split()) for text in brief.sample(9, decoding)]
        assert max(lengths) <= 3
    longer = Decoding(temperature=5.0, length=40)
    assert max(len(text.split()) for text in brief.sample(30, longer)) > 3


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
def test_a_path_begins_and_ends_at_the_reconstructions(kind: str, m: Explorer) -> None:
    a, b = TEXTS[:2]
    walked = m.interpolate(a, b, steps=4, kind=kind)
    assert [walked[0], walked[-1]] == m.reconstruct([a, b])
    assert len(walked) == 4


def test_the_nearest_is_found_however_many_there_are(m: Explorer) -> None:
    many = (text for _ in range(AT_ONCE // 10) for text in TEXTS)  # more than are encoded at once
    found = m.neighbours(TEXTS[3], many, 3)
    assert [neighbour.item for neighbour in found] == [TEXTS[3]] * 3
    assert all(neighbour.distance < 1e-5 for neighbour in found)
    far = m.neighbours(TEXTS[3], TEXTS, len(TEXTS))
    distances = [neighbour.distance for neighbour in far]
    assert distances == sorted(distances)
    wanted = torch.cdist(m.encode(TEXTS), m.encode([TEXTS[3]])).flatten().sort().values
    torch.testing.assert_close(torch.tensor(distances), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "decoding", [Decoding(), DRAW, Decoding(beam=2), Decoding(top_k=3), Decoding(top_p=0.5)]
)
def test_the_same_seed_writes_the_same(decoding: Decoding, m: Explorer) -> None:
    assert m.sample(5, decoding) == m.sample(5, decoding)


def test_a_long_list_of_samples_does_not_repeat_itself(language_model: Explorer) -> None:
    """Without a code only the draws differ: one stream of them must run through all parts."""
    drawn = language_model.sample(2 * AT_ONCE, DRAW)
    assert len(drawn) == 2 * AT_ONCE
    assert drawn[:AT_ONCE] != drawn[AT_ONCE:]


def test_a_language_model_samples_and_has_no_way_to_walk(language_model: Explorer) -> None:
    assert len(set(language_model.sample(8, DRAW))) > 1
    assert len(set(language_model.sample(8, Decoding(length=12)))) > 1
    for verb in (language_model.encode, language_model.reconstruct):
        with pytest.raises(Refused, match="is a language model"):
            verb(TEXTS)
    with pytest.raises(Refused, match="is a language model"):
        language_model.neighbours(TEXTS[0], TEXTS)
    assert language_model.info()["latent"] == 0
    with pytest.raises(Refused, match="is a language model"):
        language_model.interpolate(*TEXTS[:2])


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1, 2)])
def test_codes_of_another_shape_are_refused(shape: tuple[int, ...], m: Explorer) -> None:
    with pytest.raises(Refused, match=r"this model takes \(N, 2\)"):
        m.decode(torch.zeros(shape))


def test_what_cannot_be_done_is_refused(m: Explorer) -> None:
    a, b = TEXTS[:2]
    with pytest.raises(Refused, match="at least its 2 ends"):
        m.interpolate(a, b, steps=1)
    with pytest.raises(Refused, match='did you mean "lerp"'):
        m.interpolate(a, b, kind="lrep")
    with pytest.raises(Refused, match="ask for 1 or more"):
        m.sample(0)
    with pytest.raises(Refused, match="ask for 1 or more"):
        m.neighbours(a, TEXTS, 0)
    with pytest.raises(Refused, match="one or the other"):
        Decoding(beam=3, temperature=1.0)
    with pytest.raises(Refused, match="at least 1 token"):
        Decoding(length=0)
    with pytest.raises(Refused, match="blank"):
        m.encode([a, " "])


def test_an_unknown_run_is_refused_at_once_and_never_looked_up() -> None:
    with pytest.raises(Refused, match="no run at 'owner/name'"):
        seqvae.load("owner/name")


def test_import_seqvae_loads_nothing_heavy_until_it_is_asked() -> None:
    script = "import sys, seqvae; assert not {'torch', 'numpy'} & set(sys.modules); seqvae.load"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = seqvae.nosuch


def test_a_page_shows_items_with_reconstructions_and_as_many_samples(
    m: Explorer, language_model: Explorer
) -> None:
    lines = show(m, TEXTS[:3]).splitlines()
    assert lines[0::2][:3] == TEXTS[:3] and lines[6] == ""
    assert [line.removeprefix("  -> ") for line in lines[1:6:2]] == m.reconstruct(
        TEXTS[:3], Decoding(length=2 * max(len(text.split()) + 1 for text in TEXTS[:3]))
    )
    assert len(lines) == 6 + 1 + 3
    assert len(show(language_model, TEXTS[:3]).splitlines()) == 3
