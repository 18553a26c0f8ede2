"""The lagging encoder runs ahead while mutual information climbs, and moves nothing else."""

import signal
from collections.abc import Iterator
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from small import SENTENCES, batch, exports, make, vae
from tiny import in_child, metrics, prepared, recipe, train, train_and_die, weights_sum
from torch import Tensor, nn

from seqvae import runs, training
from seqvae.data import InMemory, Order, drawn_anew
from seqvae.decoders import LSTMDecoder
from seqvae.errors import Diverged, Refused
from seqvae.fit import information_of
from seqvae.objectives import Elbo
from seqvae.recipe import Recipe, override
from seqvae.regularizers import KL
from seqvae.schedules import constant
from seqvae.training.lagging import EVERY, run_ahead
from seqvae.training.optimizers import Stepper
from seqvae.vae import VAE, Batch
from seqvae.watch import Watch

ITEMS = InMemory(SENTENCES * 20)
ORDER = Order(ITEMS.lengths, 4)


# --- how far it runs ----------------------------------------------------------------------------


def losses(values: list[float], every: int = 2) -> int:
    """How many steps are taken where they lose so much."""
    return run_ahead(lambda _, count: values[count - 1], repeat(batch(), len(values)), every=every)


def test_it_runs_until_the_mean_loss_of_a_window_no_longer_falls() -> None:
    assert losses([5, 5, 4, 4, 4, 4, 1, 1]) == 6, "equal is no fall"
    assert losses([5, 3, 3, 4, 4, 5, 1, 1]) == 6
    assert losses([5, 4, 3, 2, 1, 0]) == 6, "as far as there are batches"
    assert losses([1, 9, 9]) == 3, "no window to compare with"
    assert losses([]) == 0
    assert losses([4, 4, *[float("nan")] * 4]) == 4


def test_the_loss_of_a_window_is_that_of_a_token() -> None:
    """Longer sentences cost more and are no sign of a rise."""
    short, long = batch([[4, 3]]), batch([[4, 4, 4, 4, 4, 4, 3]])
    costs = {2: 2 * 1.0, 7: 7 * 0.9}
    taken = run_ahead(lambda b, _: costs[int(b.length.sum())], iter([short, long] * 1), every=1)
    assert taken == 2
    assert (
        run_ahead(lambda b, _: costs[int(b.length.sum())], [short, long, short, long], every=1)
        == 3
    )


def test_the_published_window_is_of_15_steps() -> None:
    assert EVERY == 15
    assert run_ahead(lambda *_: 1.0, repeat(batch(), 100)) == 30


# --- what it moves ------------------------------------------------------------------------------


def model(**decoder: Any) -> VAE:
    torch.manual_seed(0)
    return vae(decoder=make(LSTMDecoder, word_dropout=0.3, dropout=0.2, **decoder))


def three(step: int) -> Iterator[Batch]:
    return islice(drawn_anew(ITEMS, ORDER, step, 3), 3)


def stepper_of(trained: VAE, kind: Any) -> Stepper:
    wild = {"AdamW": {"rate": 0.05, "weight_decay": 0.5}, "SGD": {"rate": 0.5, "momentum": 0.9}}
    arguments = wild.get(kind.__name__, {})
    found: Stepper = kind(trained.parameters(), **arguments)
    return found


def copied(stepper: Stepper, weights: list[nn.Parameter]) -> list[Tensor]:
    """Weights, and all that the optimiser holds of them."""
    state = [stepper.optimizer.state.get(weight, {}) for weight in weights]
    held = [value for found in state for value in found.values() if value is not None]
    return [tensor.detach().clone() for tensor in (*weights, *held)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", exports(training))
def test_steps_ahead_move_the_encoder_alone_and_the_step_after_them_all_else(
    kind: Any, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = model()
    stepper = stepper_of(trained, kind)
    objective = Elbo({"kl": (KL(), constant)})
    go = partial(training.train, trained, objective, stepper, accumulate=accumulate)
    next(go([batch()]))  # the optimiser has moments of every weight
    own = list(trained.encoder.parameters())
    others = list(trained.decoder.parameters())
    between: list[tuple[list[Tensor], list[Tensor]]] = []

    def noting(take: Any, batches: Any) -> int:
        between.append((copied(stepper, own), copied(stepper, others)))
        count = run_ahead(take, batches)
        between.append((copied(stepper, own), copied(stepper, others)))
        return count

    monkeypatch.setattr("seqvae.training.loop.run_ahead", noting)
    _, report = next(go([batch(step=1)], ahead=three))
    (encoder, decoder), (encoder_then, decoder_then) = between
    assert same(decoder, decoder_then) and not same(encoder, encoder_then)
    assert not any(map(torch.equal, encoder, encoder_then[: len(own)]))
    assert report["encoder_steps"] == 3
    assert same(encoder_then, copied(stepper, own))
    now = copied(stepper, others)
    assert not any(map(torch.equal, decoder_then[: len(others)], now[: len(others)]))


def test_where_it_does_not_lag_a_step_is_of_all_weights_and_has_the_same_bits() -> None:
    found = []
    for ahead in (None, lambda step: ()):
        trained = model()
        stepper = training.AdamW(trained.parameters(), rate=0.05)
        _, report = next(training.train(trained, Elbo({}), stepper, [batch()], ahead=ahead))
        found.append([weight.detach() for weight in trained.parameters()])
    assert same(*found)
    assert report["encoder_steps"] == 0


def test_every_step_ahead_has_noise_of_its_own_that_its_numbers_decide() -> None:
    def noises(seed: int) -> list[float]:
        drawn: list[float] = []

        class Noting(Elbo):
            def score(self, out: Any) -> Any:
                drawn.append(float((out.z - out.q.mean).detach().sum()))
                return super().score(out)

        trained = model()
        stepper = training.SGD(trained.parameters(), rate=1e-9)
        batches = [batch(step=4), batch(step=5)]

        def ahead(step: int) -> list[Batch]:
            return [batch(step=step)] * 3

        for _ in training.train(trained, Noting({}), stepper, batches, seed=seed, ahead=ahead):
            torch.rand(3)
        return drawn

    assert len(set(noises(0))) == 8 and noises(0) == noises(0)
    assert not set(noises(0)) & set(noises(1))


def test_a_step_ahead_that_is_not_finite_is_named() -> None:
    trained = model()
    with torch.no_grad():
        next(trained.encoder.parameters()).fill_(torch.nan)
    stepper = training.AdamW(trained.parameters())
    with pytest.raises(Diverged, match="step 41"):
        next(training.train(trained, Elbo({}), stepper, [batch(step=41)], ahead=three))


# --- what it reads ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["sentences", "tokens"])
def test_its_batches_are_a_function_of_seed_and_step_and_as_large_as_others(by: Any) -> None:
    def rows(step: int, seed: int = 0) -> list[list[int]]:
        order = Order(ITEMS.lengths, 8, by=by, seed=seed)
        found = list(drawn_anew(ITEMS, order, step, 30))
        assert all(b.step == step for b in found)
        if by == "sentences":
            assert [len(b.x) for b in found] == [8] * 30
        else:
            assert all(b.x.numel() <= 8 or len(b.x) == 1 for b in found)
        return [b.item.tolist() for b in found]

    assert rows(3) == rows(3)
    assert rows(3) != rows(4) and rows(3) != rows(3, seed=1)
    assert len({row for some in rows(3) for row in some}) > len(ITEMS) / 2


def test_however_many_may_be_asked_for_only_what_is_read_is_drawn() -> None:
    """Pools of 64 batches, each of other rows; the first is what it is of fewer."""
    many = list(islice(drawn_anew(ITEMS, ORDER, 3, 10**12), 150))
    few = list(drawn_anew(ITEMS, ORDER, 3, 64))
    rows = [b.item.tolist() for b in many]
    assert rows[:64] == [b.item.tolist() for b in few]
    assert rows[:64] != rows[64:128] and len(many) == 150
    assert [len(list(drawn_anew(ITEMS, ORDER, 3, count))) for count in (0, 1, 65)] == [0, 1, 65]


def test_its_batches_are_mixed_where_those_of_training_are() -> None:
    def padded(mixed: bool) -> int:
        order = Order(ITEMS.lengths, 8, mixed=mixed)
        return sum(int((b.length < b.x.shape[1]).sum()) for b in drawn_anew(ITEMS, order, 0, 64))

    assert padded(True) > 5 * padded(False)


def test_its_batches_are_rewritten_as_those_of_training_are() -> None:
    tables = torch.stack([torch.arange(9), torch.arange(9).flip(0)])
    found = list(
        drawn_anew(InMemory([[4, 5]] * 50), Order(ITEMS.lengths[:50], 8), 0, 9, tables=tables)
    )
    written = {tuple(row) for b in found for row in b.x.tolist()}
    assert written == {(4, 5), (4, 3)}


# --- a run --------------------------------------------------------------------------------------


def lagging(**other: Any) -> Recipe:
    made = {"training_lagging": 4, "training_validate_every": 3, "training_save_every": 2} | other
    return override(recipe(**made), ["objective.terms.kl={kind='KL'}"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("corpus")).folder


def climbing(monkeypatch: pytest.MonkeyPatch, *information: float) -> None:
    """Validation finds so much mutual information, look after look."""
    look = Watch.look
    values = iter(information)

    def found(self: Any, *arguments: Any) -> Any:
        measured = look(self, *arguments)
        measured.figures["mutual_information_low"] = next(values)
        return measured

    monkeypatch.setattr(Watch, "look", found)


def trainer_of(run: Path) -> dict[str, Any]:
    return runs.load_checkpoint(runs.newest(run / "checkpoints")).trainer


@pytest.mark.parametrize(
    ("information", "looks"), [((0.1, 0.2, 0.2, 0.9), 3), ((0.5, 0.4, 0.6, 0.7), 2)]
)
def test_it_is_over_where_mutual_information_climbs_no_longer(
    information: tuple[float, ...],
    looks: int,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    climbing(monkeypatch, *information)
    said: list[str] = []
    train(lagging(), corpus, tmp_path / "run", say=said.append)
    trainer = trainer_of(tmp_path / "run")
    assert trainer["caught_up"] and trainer["encoder_steps"] == 4 * 3 * looks
    assert trainer["information"] == max(information[: looks - 1])
    assert sum("has caught up" in sentence for sentence in said) == 1
    counted = [row["encoder_steps"] for row in metrics(tmp_path / "run") if row["kind"] == "train"]
    assert counted == [16, min(32, 12 * looks), 12 * looks]
    assert f"and {12 * looks} steps of the encoder alone" in (
        tmp_path / "run" / "card.md"
    ).read_text("utf-8")


def test_it_lasts_as_long_as_mutual_information_climbs(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    climbing(monkeypatch, 0.1, 0.2, 0.3, 0.4)
    train(lagging(), corpus, tmp_path / "run")
    trainer = trainer_of(tmp_path / "run")
    assert trainer["encoder_steps"] == 48 and not trainer["caught_up"]
    assert trainer["information"] == 0.4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(lagging(), corpus, folder)
    return folder


def test_a_run_killed_while_it_lags_ends_as_if_it_had_not_been(
    corpus: Path, whole: Path, tmp_path: Path
) -> None:
    for step in (3, 7):
        code = in_child(train_and_die, lagging(), corpus, tmp_path / "run", step, False)
        assert code == -signal.SIGKILL
    train(lagging(), corpus, tmp_path / "run", resume=True)
    assert weights_sum(tmp_path / "run") == weights_sum(whole)
    assert metrics(tmp_path / "run") == metrics(whole)
    assert trainer_of(whole)["encoder_steps"] > 0


def test_what_diverges_half_way_through_a_step_is_not_kept(
    corpus: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, met = Elbo.score, iter(range(10**6))

    def poisoned(self: Elbo, out: Any) -> Any:
        loss, report = score(self, out)
        sick = out.batch.step == 2 and out.z.requires_grad and next(met) == 2  # two steps ahead
        return (loss * float("nan") if sick else loss), report

    with monkeypatch.context() as patched:
        patched.setattr(Elbo, "score", poisoned)
        with pytest.raises(Diverged, match="step 2"):
            train(lagging(), corpus, tmp_path / "run")
    assert runs.newest(tmp_path / "run" / "checkpoints").name == runs.checkpoint_name(2)
    train(lagging(), corpus, tmp_path / "run", resume=True)
    assert weights_sum(tmp_path / "run") == weights_sum(whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["latent=0"], "no weights to move"),
        (['encoder={kind="NoiseEncoder"}'], "no weights to move"),
        (['posterior={kind="DeltaPosterior"}', "objective.terms={}"], "without a density"),
    ],
)
def test_what_cannot_lag_is_refused(
    settings: list[str], message: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=message):
        train(override(lagging(), settings), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_cannot_lag_behind_what_stands_still(corpus: Path, tmp_path: Path) -> None:
    only = {**lagging(), "stage": [{"freeze": ["decoder"]}]}
    with pytest.raises(Refused, match="all but the encoder is frozen"):
        train(only, corpus, tmp_path / "run")


def test_where_the_lower_bound_can_tell_no_more_the_upper_one_is_followed() -> None:
    cap = {"mutual_information_cap": 7.6, "mutual_information_high": 22.0}
    assert information_of({"mutual_information_low": 5.0, **cap}) == 5.0
    assert information_of({"mutual_information_low": 7.55, **cap}) == 22.0
    assert information_of({}) == 0.0
