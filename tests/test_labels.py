"""The label head: what the decoder reads of it, what teaches it, and what people do with it."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from console import Command
from small import LATENT, VOCAB, batch, loud, make, same, vae
from tiny import prepared, recipe, train, weights_sum
from torch import Tensor

import seqvae as package
from data_prep.text import prepare_text
from seqvae import decoders, encoders, runs
from seqvae import recipe as recipes
from seqvae.build import build, complete
from seqvae.cautions import cautions
from seqvae.codecs import MelodyCodec
from seqvae.corpus import Corpus, find_corpus, open_corpus
from seqvae.data import InMemory
from seqvae.distributions import gaussian
from seqvae.errors import Refused
from seqvae.evaluate import measure
from seqvae.explore import Decoding, Explorer
from seqvae.infer import infer, settle
from seqvae.measures.codes import encode_all, score_with
from seqvae.metrics import evidence
from seqvae.objectives import IWAE, Elbo, SemiAmortized
from seqvae.objectives.objective import Objective
from seqvae.plan import make_plan
from seqvae.posteriors.label import LabelPosterior
from seqvae.regularizers import KL, CrossEntropy
from seqvae.regularizers.cross_entropy import cross_entropy
from seqvae.reports.holes import fit_density
from seqvae.reports.report import evaluate_run
from seqvae.resume import set_up
from seqvae.schedules import FAR, constant
from seqvae.tokens import SPECIAL
from seqvae.vae import VAE, Decoder, Pass

K = 2
LABEL = torch.tensor([0, 1, 1, 0])
ITEMS = batch()._replace(label=LABEL)


def labelled(latent: int = LATENT, **other: Any) -> VAE:
    """A model with a label head whose probabilities are far from even."""
    head = loud(make(encoders.LSTMEncoder, posterior=LabelPosterior(K)))
    decoder = loud(make(decoders.LSTMDecoder, latent=latent + K))
    return vae(**{"decoder": decoder, "labeller": head, **other}).eval()


def probabilities(model: VAE) -> Tensor:
    y = model.label(ITEMS)
    assert y is not None
    return y.mean


def felt(module: Any) -> bool:
    """Whether every weight has a gradient."""
    slopes = [parameter.grad for parameter in module.parameters()]
    return all(slope is not None and bool(slope.abs().sum() > 0) for slope in slopes)


# --- what the decoder reads ---------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [(), (5,), (2, 5)])
def test_the_probabilities_stand_behind_every_sample_of_z(ahead: tuple[int, ...]) -> None:
    model = labelled()
    z = torch.randn(*ahead, 4, LATENT)
    read = model.condition(z, ITEMS)
    assert read.shape == (*ahead, 4, LATENT + K) and torch.equal(read[..., :LATENT], z)
    y = read[..., LATENT:]
    same(y, probabilities(model).expand_as(y))
    same(y.sum(-1), torch.ones(*ahead, 4))


def test_without_a_head_the_model_is_bit_for_bit_what_it_was() -> None:
    model, z = vae(), torch.randn(3, 4, LATENT)
    assert model.condition(z, ITEMS) is z
    torch.manual_seed(1)
    q = model.encoder(ITEMS)
    by_hand = model.decoder(q.rsample()).log_prob(ITEMS.x)
    torch.manual_seed(1)
    out = model(ITEMS)
    assert torch.equal(out.log_px, by_hand) and out.y is None
    assert not [name for name in model.state_dict() if "labeller" in name]


def test_a_pass_is_scored_given_its_own_label_and_coded_without() -> None:
    model = labelled()
    out = model(ITEMS)
    y = probabilities(model)
    same(out.y.mean, y)
    same(out.log_px, model.decoder(torch.cat([out.z, y], -1)).log_prob(ITEMS.x))
    same(KL()(out), KL()(Pass(ITEMS, out.q, out.p, out.z, out.px, out.log_px)))
    assert out.z.shape == (4, LATENT)


def test_log_weights_are_those_of_each_sample_beside_the_label() -> None:
    model = labelled()
    torch.manual_seed(1)
    q = model.encoder(ITEMS)
    z = q.rsample((5,))
    read = [torch.cat([sample, probabilities(model)], -1) for sample in z]
    log_px = torch.stack([model.decoder(one).log_prob(ITEMS.x) for one in read])
    torch.manual_seed(1)
    same(model.log_weights(ITEMS, 5), log_px + model.prior().log_prob(z) - q.log_prob(z))


# --- what teaches the head ----------------------------------------------------------------------


def test_the_head_is_taught_through_the_decoder_and_by_labels() -> None:
    model = labelled()
    model(ITEMS).log_px.sum().backward()
    assert felt(model.labeller) and felt(model.encoder) and felt(model.decoder)
    model.zero_grad()
    CrossEntropy()(model(ITEMS)).sum().backward()
    assert felt(model.labeller)
    others = [*model.encoder.parameters(), *model.decoder.parameters()]
    assert all(parameter.grad is None for parameter in others)


def test_cross_entropy_is_that_of_the_scores_and_ln_k_where_nothing_is_known() -> None:
    scores = 3 * torch.randn(4, 7)
    label = torch.tensor([0, 6, 3, 3])
    expected = torch.nn.functional.cross_entropy(scores, label, reduction="none")
    same(cross_entropy(LabelPosterior(7)(scores), label), expected)
    none = cross_entropy(LabelPosterior(7)(0 * scores), label)
    same(none, torch.full((4,), math.log(7)))


def test_a_sure_head_that_is_wrong_costs_a_finite_price_with_a_gradient() -> None:
    scores = torch.tensor([[200.0, 0.0]], requires_grad=True)
    cost = cross_entropy(LabelPosterior(2)(scores), torch.tensor([1]))
    (slope,) = torch.autograd.grad(cost.sum(), scores)
    same(cost, torch.tensor([200.0]))
    same(slope, torch.tensor([[1.0, -1.0]]))


def test_items_without_labels_and_models_without_a_head_are_refused() -> None:
    with pytest.raises(Refused, match="--label COLUMN"):
        CrossEntropy()(labelled()(batch()))
    with pytest.raises(Refused, match=r"--set label=\{\}"):
        CrossEntropy()(vae()(ITEMS))


TERMS: Any = {"kl": (KL(), constant), "label": (CrossEntropy(), constant)}
OBJECTIVES: list[Objective] = [
    Elbo(TERMS),
    IWAE(samples=3),
    IWAE(samples=3, doubly_reparameterized=True),
    SemiAmortized(TERMS, refinements=2, end_to_end=True),
    SemiAmortized(TERMS, refinements=2, end_to_end=False),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: type(one).__name__)
def test_every_objective_teaches_all_networks(objective: Objective) -> None:
    model = labelled().train()
    loss, report = objective.train()(model, ITEMS)
    loss.backward()
    assert bool(loss.isfinite()) and report["kl"] > 0
    assert felt(model.encoder) and felt(model.decoder) and felt(model.labeller)


def test_the_weighted_bound_is_that_of_the_weights_given_the_label() -> None:
    model, objective = labelled(), IWAE(samples=4).eval()
    torch.manual_seed(2)
    _, report = objective(model, ITEMS)
    torch.manual_seed(2)
    same(report["loss"], -evidence(model.log_weights(ITEMS, 4)).mean())


def test_the_loss_adds_the_weighted_cross_entropy_of_an_item() -> None:
    model = labelled()
    objective = Elbo({**TERMS, "label": (CrossEntropy(), lambda step: 10.0)}).eval()
    _, report = objective(model, ITEMS)
    label = cross_entropy(model(ITEMS).y, LABEL).mean()
    same(report["penalty/label"], label)
    same(report["loss"], report["reconstruction"] + report["kl"] + 10 * label)


# --- inference, listening, settling -------------------------------------------------------------


class Told(Decoder):
    """A decoder that is always told the same labels."""

    def __init__(self, decoder: Decoder, y: Tensor) -> None:
        super().__init__()
        self.decoder, self.y = decoder, y

    def forward(self, z: Tensor, step: int = FAR) -> Any:
        return self.decoder(torch.cat([z, self.y.expand(*z.shape[:-1], -1)], -1), step)


def test_a_posterior_is_fitted_given_the_label() -> None:
    model = labelled()
    told = VAE(model.encoder, model.prior, Told(model.decoder, probabilities(model).detach()))
    found = []
    for one in (model, told):
        torch.manual_seed(0)
        found.append(infer(one, ITEMS, one.encoder(ITEMS), steps=5))
    same(found[0].mean, found[1].mean)
    same(found[0].stddev, found[1].stddev)


def test_settling_moves_z_and_leaves_the_label() -> None:
    model = labelled()
    read = model.condition(model.encoder(ITEMS).mean, ITEMS).detach()
    moved = settle(model, ITEMS, read)
    assert torch.equal(moved[:, LATENT:], read[:, LATENT:])
    assert not torch.equal(moved[:, :LATENT], read[:, :LATENT])


def test_anothers_code_is_heard_beside_the_items_own_label() -> None:
    model = labelled()
    items = InMemory([row[row > 0].tolist() for row in ITEMS.x], LABEL.tolist())
    z = torch.randn(4, LATENT)
    nll, tokens = score_with(model, items, torch.arange(4), z)
    read = torch.cat([z, probabilities(model)], -1)
    same(nll, -model.decoder(read).log_prob(ITEMS.x))
    assert tokens is not None
    same(tokens.sum(), nll.sum())


def test_every_item_is_encoded_with_its_label_and_what_that_costs() -> None:
    model = labelled()
    found = encode_all(model, [ITEMS.part(0, 3), ITEMS.part(3, 4)])
    y = probabilities(model)
    assert found.y is not None and found.label_nll is not None
    same(found.y, y)
    same(found.label_nll, -y.gather(1, LABEL.unsqueeze(1)).squeeze(1).log(), 1e-4)
    same(found.read, torch.cat([found.z, y], -1))
    assert encode_all(model, [batch()]).label_nll is None


def test_music_is_measured_given_its_labels() -> None:
    codec = MelodyCodec(bars=1)
    ids = torch.randint(SPECIAL, codec.vocab, (12, codec.length)).tolist()
    items = InMemory(ids, [0, 1, 1] * 4)
    head = make(encoders.LSTMEncoder, vocab=codec.vocab, posterior=LabelPosterior(K))
    parts = {
        "encoder": make(encoders.LSTMEncoder, vocab=codec.vocab),
        "decoder": make(decoders.LSTMDecoder, vocab=codec.vocab, latent=LATENT + K),
    }
    found = measure(vae(**parts, labeller=head), items, codec=codec, train=items, samples=3)
    assert 0 <= found.figures["teacher_forced_accuracy"] <= 1
    assert found.figures["label_floor"] == 2 / 3 and found.figures["samples"] == 12
    assert "as the head tells them" in found.figures["samples_decoding"]


# --- recipes ------------------------------------------------------------------------------------

TAUGHT = {"kind": "CrossEntropy", "weight": 10.0}


def headed(**other: Any) -> recipes.Recipe:
    """A small recipe with a label head that is taught."""
    changes = ["label={}", 'objective.terms.label={kind = "CrossEntropy", weight = 10.0}']
    return recipes.override(recipe(**other), changes)


def test_a_head_is_by_default_of_the_encoders_kind_and_a_decoder_takes_as_many_more() -> None:
    made = headed()
    whole = complete(made)
    assert whole["label"] == whole["encoder"] and complete(whole) == whole
    made["label"] = {"names": ["a", "b", "c"]}
    built = build(made, VOCAB).vae
    assert built.decoder.latent == made["latent"] + 3
    y = built.label(ITEMS)
    assert y is not None and y.mean.shape == (4, 3)
    made["label"] |= {"kind": "TransformerEncoder", "width": 8, "heads": 2, "layers": 1}
    assert isinstance(build(made, VOCAB).vae.labeller, encoders.TransformerEncoder)


def test_one_word_of_a_default_head_can_be_changed() -> None:
    made = recipes.override(headed(), ["label.hidden=5", "encoder.noise.kind=Words"])
    whole = complete(made)
    assert whole["label"]["hidden"] == 5 and whole["label"]["kind"] == "LSTMEncoder"
    assert whole["label"]["noise"] == whole["encoder"]["noise"] != {"kind": "Words"}
    build(whole, VOCAB)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "LSTMEncode"}, r"\[label\].*did you mean"),
        ({"hiden": 3}, r"\[label\].*hiden"),
        ({"kind": "EmptyEncoder"}, r"\[label\] reads nothing"),
        ({"names": "ab"}, r"label\.names"),
        ({"names": ["a", "a"]}, r"label\.names"),
        ({"names": []}, r"label\.names"),
    ],
)
def test_a_head_that_cannot_be_is_refused(head: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        build({**headed(), "label": head}, VOCAB)


def test_a_term_without_a_head_is_refused_when_it_is_built() -> None:
    with pytest.raises(Refused, match="this model has none"):
        build(recipes.override(headed(), ["label=none"]), VOCAB)


# --- a model of statements and questions --------------------------------------------------------

NOUNS = ["cat", "dog", "bird", "fish", "child", "teacher"]
WHATS = ["red", "old", "small", "happy", "here", "late"]
NAMES = ["question", "statement"]
ORDERS = {"question": "is the {} {}", "statement": "the {} is {}"}
STATEMENTS = [ORDERS["statement"].format(n, w) for n in NOUNS for w in WHATS]
QUESTIONS = [ORDERS["question"].format(n, w) for n in NOUNS for w in WHATS]


def corpus_of(folder: Path) -> Corpus:
    """Each of 36 things said as a statement and asked as a question, labelled."""
    rows = [f"{text},statement\n" for text in STATEMENTS] + [
        f"{text},question\n" for text in QUESTIONS
    ]
    for name in ("train", "valid"):
        (folder / f"{name}.csv").write_text("text,label\n" + "".join(rows), "utf-8")
    made = prepare_text(
        [folder / "train.csv"],
        folder / "corpus",
        valid=folder / "valid.csv",
        codec="word",
        column="text",
        label="label",
        keep_duplicates=True,
    )
    return open_corpus(made.folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("labelled"))


LEARNING = {
    "latent": 4,
    "encoder_hidden": 32,
    "decoder_hidden": 48,
    "decoder_embed": 16,
    "decoder_word_dropout": 0.5,
    "training_steps": 240,
    "training_batch": 36,
    "training_validate_every": 240,
    "training_save_every": 240,
    "optimizer_rate": 0.01,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus: Corpus) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made = recipes.override(headed(**LEARNING), ["objective.terms.kl.nats=2.0"])
    train(made, corpus.folder, folder)
    return folder


@pytest.fixture(scope="module")
def m(run: Path) -> Explorer:
    return package.load(run)


def asked(texts: list[str]) -> int:
    """How many of them are questions."""
    return sum(text.startswith("is the") for text in texts)


def test_it_learns_the_labels_and_says_so(m: Explorer, run: Path) -> None:
    told = m.label([*STATEMENTS, *QUESTIONS])
    assert [found.name for found in told] == ["statement"] * 36 + ["question"] * 36
    assert all(found.probability == found.probabilities[found.name] > 0.5 for found in told)
    report, _ = evaluate_run(run, samples=0, written=20)
    figures = report.figures()
    assert figures["label_accuracy"] == 1.0 and figures["label_floor"] == 0.5
    costs = [-math.log(found.probability) for found in told]
    assert figures["label_cross_entropy"] == pytest.approx(sum(costs) / 72, abs=1e-4)
    assert any("no KL counts" in note and "0.69" in note for note in report.notes)
    assert "label accuracy" in {name.strip() for name, *_ in report.rows()}
    assert "100.0%" in {cell for name, cell, _ in report.rows() if "label accuracy" in name}


def test_another_label_makes_of_a_statement_a_question(m: Explorer) -> None:
    assert all(text.startswith("is the") for text in m.relabel(STATEMENTS, "question"))
    assert not any(text.startswith("is the") for text in m.relabel(QUESTIONS, "statement"))
    own = m.relabel(STATEMENTS, "statement")
    agreed = sum(a == b for a, b in zip(own, m.reconstruct(STATEMENTS), strict=True))
    assert agreed >= 34  # the head is nearly as sure as a label that is set


def test_samples_have_the_label_asked_for_or_every_one_as_often(m: Explorer) -> None:
    assert asked(m.sample(40, label="question")) > 30 > 10 > asked(m.sample(40, label="statement"))
    assert 10 < asked(m.sample(40)) < 30
    assert m.sample(20) == m.sample(20) != m.sample(20, Decoding(seed=1))


def test_codes_carry_the_label_and_are_all_that_decoding_takes(m: Explorer) -> None:
    codes = m.encode(STATEMENTS)
    assert codes.shape == (36, 4 + K) and m.latent == 4 and m.width == 6
    assert m.decode(codes) == m.reconstruct(STATEMENTS)
    assert m.encode([]).shape == (0, 6) and m.stddev(STATEMENTS).shape == (36, 4)
    drawn = m.encode(STATEMENTS[:2], sample=True)
    assert torch.equal(drawn[:, 4:], m.encode(STATEMENTS[:2])[:, 4:])
    with pytest.raises(Refused, match=r"\(N, 6\): 6 numbers for each item, 2 of them its label's"):
        m.decode(codes[:, :4])


def test_a_set_label_is_certain_and_the_code_as_it_was(m: Explorer) -> None:
    codes = m.encode(STATEMENTS)
    told = m.labelled(codes, "question")
    assert torch.equal(told[:, :4], codes[:, :4]) and told[:, 4:].tolist() == [[1.0, 0.0]] * 36
    assert torch.equal(m.labelled(codes[:, :4], "question"), told)
    turns = m.labelled(codes[:7])[:, 4:]
    assert turns.sum(1).tolist() == [1.0] * 7 and turns.sum(0).sort().values.tolist() == [3, 4]


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
def test_on_a_path_probabilities_stay_probabilities(m: Explorer, kind: str) -> None:
    a, b = m.encode([STATEMENTS[0], QUESTIONS[-1]])
    way = m.path(a, b, 5, kind=kind)
    assert torch.equal(way[0], a) and torch.equal(way[-1], b)
    same(way[:, 4:].sum(1), torch.ones(5))
    same(way[2, 4:], (a + b)[4:] / 2)
    ends = m.interpolate(STATEMENTS[0], QUESTIONS[-1], steps=3, kind=kind)[::2]
    assert ends == m.reconstruct([STATEMENTS[0], QUESTIONS[-1]])


def test_neighbours_are_near_in_code_whatever_their_label(m: Explorer) -> None:
    near = m.neighbours(STATEMENTS[0], QUESTIONS, 1)[0]
    codes = m.encode([STATEMENTS[0], near.item])[:, :4]
    assert near.distance == pytest.approx(float(torch.dist(codes[0], codes[1])), abs=1e-5)


def test_a_label_that_is_not_known_is_refused_with_the_nearest(m: Explorer) -> None:
    with pytest.raises(Refused, match='did you mean "statement"'):
        m.sample(2, label="statment")
    with pytest.raises(Refused, match='did you mean "statement"'):
        m.relabel(STATEMENTS, "statment")


def test_a_run_says_its_labels(m: Explorer, run: Path) -> None:
    facts = m.info()
    assert facts["labels"] == "question, statement" and facts["label"] == "LSTMEncoder"
    assert "a label of 2: question, statement" in (run / "card.md").read_text("utf-8")
    assert runs.read_recipe(run)["label"]["names"] == NAMES == list(m.labels)


def test_an_export_opens_without_its_corpus_and_tells_the_same(
    m: Explorer, run: Path, tmp_path: Path
) -> None:
    runs.export(run, tmp_path / "small")
    there = package.load(tmp_path / "small")
    assert there.labels == m.labels
    assert [f.name for f in there.label(STATEMENTS)] == [f.name for f in m.label(STATEMENTS)]


def test_a_density_is_of_codes_alone_and_is_drawn_from_with_any_label(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    there = find_corpus(run).folder
    filled = fit_density(tmp_path / "run", there, components=1, written=10)
    assert filled.kept.density.latent == 4 and filled.figures["written"] == 10
    drawn = package.load(tmp_path / "run").sample(20, source="density", label="question")
    assert asked(drawn) > 15


# --- training -----------------------------------------------------------------------------------


def test_a_corpus_without_labels_is_refused_with_the_cure(tmp_path: Path) -> None:
    plain = prepared(tmp_path)
    with pytest.raises(Refused, match=r"--label COLUMN.*--set label=none"):
        make_plan(complete(headed()), plain, tmp_path / "run", "cpu")


def test_names_are_the_corpuss_and_no_others(corpus: Corpus, tmp_path: Path) -> None:
    plan = make_plan(complete(headed()), corpus, tmp_path, "cpu")
    assert plan.recipe["label"]["names"] == plan.stages[0].recipe["label"]["names"] == NAMES
    other = complete(recipes.override(headed(), ['label.names=["statement", "question"]']))
    with pytest.raises(Refused, match="leave the names out"):
        make_plan(other, corpus, tmp_path, "cpu")


def stop_at_seven(step: int, steps: int, numbers: Any) -> None:
    if step == 7:
        raise KeyError(step)  # a bug, say: nothing is saved


def test_an_interrupted_run_goes_on_bit_for_bit_and_keeps_its_head(
    corpus: Corpus, tmp_path: Path
) -> None:
    train(headed(), corpus.folder, tmp_path / "whole")
    with pytest.raises(KeyError):
        train(headed(), corpus.folder, tmp_path / "parts", tick=stop_at_seven)
    began = runs.read_recipe(tmp_path / "parts")
    train(headed(), corpus.folder, tmp_path / "parts", resume=True)
    assert weights_sum(tmp_path / "parts") == weights_sum(tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole")
    changed = recipes.override(began, ["label.hidden=5", "training.steps=20"])
    with pytest.raises(Refused, match="--set changed label"):
        train(changed, corpus.folder, tmp_path / "parts", resume=True)


STAGES: list[dict[str, Any]] = [{"steps": 2}, {"freeze": ["labeller", "encoder"]}]


def test_a_frozen_head_learns_nothing(corpus: Corpus, tmp_path: Path) -> None:
    made = complete({**headed(), "stage": STAGES})
    plan = make_plan(made, corpus, tmp_path, "cpu")
    built, _ = set_up(plan, 1, 2)
    assert built.vae.labeller is not None
    assert not any(weight.requires_grad for weight in built.vae.labeller.parameters())
    with pytest.raises(Refused, match=r"\[\[stage\]\] 2 names the labeller"):
        bare = recipes.override(made, ["label=none", "objective.terms.label=none"])
        make_plan(bare, corpus, tmp_path, "cpu")


def test_a_stage_hands_the_head_on_or_draws_it_anew(corpus: Corpus, tmp_path: Path) -> None:
    heads = {}
    for name, last in (("kept", STAGES[1]), ("anew", {**STAGES[1], "reset": ["labeller"]})):
        made = {**headed(training_steps=4), "stage": [STAGES[0], last]}
        train(made, corpus.folder, tmp_path / name)
        place = runs.newest(tmp_path / name / "checkpoints")
        weights = runs.load_checkpoint(place).weights
        heads[name] = weights["vae.labeller.embedding.weight"]
    train(headed(training_steps=2), corpus.folder, tmp_path / "first")
    place = runs.newest(tmp_path / "first" / "checkpoints")
    first = runs.load_checkpoint(place).weights["vae.labeller.embedding.weight"]
    assert torch.equal(heads["kept"], first) and not torch.equal(heads["anew"], first)


def test_a_head_that_nothing_teaches_is_warned_of(corpus: Corpus, tmp_path: Path) -> None:
    for made, warned in (
        (recipes.override(headed(), ["objective.terms.label=none"]), True),
        (headed(), False),
    ):
        plan = make_plan(complete(made), corpus, tmp_path, "cpu")
        built, _ = set_up(plan, 0, 0)
        said = cautions(plan, built)
        assert any("CrossEntropy" in caution for caution in said) is warned


def test_a_language_model_with_a_head_writes_by_label(corpus: Corpus, tmp_path: Path) -> None:
    sizes = {key: value for key, value in LEARNING.items() if key != "latent"}
    made = headed(latent=0, **{**sizes, "training_steps": 100, "decoder_word_dropout": 0.0})
    train(made, corpus.folder, tmp_path / "run")
    model = package.load(tmp_path / "run")
    assert model.labels == ("question", "statement") and model.width == K
    assert asked(model.sample(40, label="question")) > 30
    assert asked(model.sample(40, label="statement")) < 10
    assert [found.name for found in model.label(STATEMENTS[:3])] == ["statement"] * 3
    with pytest.raises(Refused, match="language model"):
        model.relabel(STATEMENTS, "question")
    report, _ = evaluate_run(tmp_path / "run", written=10)
    assert report.figures()["kl"] == 0 and report.figures()["label_accuracy"] == 1.0
    assert "exact" not in str(report.figures()["perplexity_from"])


def test_a_corpus_with_other_labels_is_not_measured_by(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(find_corpus(run).folder, folder)
    manifest = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(manifest.replace('"question"', '"verse"'), "utf-8")
    with pytest.raises(Refused, match="has the labels verse, statement"):
        evaluate_run(run, folder, samples=0, out=tmp_path / "out")


# --- commands -----------------------------------------------------------------------------------


def test_commands_tell_and_take_labels(seqvae: Command, run: Path) -> None:
    found = seqvae("label", run, STATEMENTS[0], QUESTIONS[0], "--json").rows
    assert [row["label"] for row in found] == ["statement", "question"]
    assert set(found[0]["probabilities"]) == set(NAMES) and found[0]["text"] == STATEMENTS[0]
    assert "statement  the cat is red" in seqvae("label", run, STATEMENTS[0]).out
    drawn = seqvae("sample", run, "-n", 5, "--label", "question", "--json").rows
    assert [row["text"] for row in drawn] == package.load(run).sample(5, label="question")
    again = seqvae("reconstruct", run, *STATEMENTS[:3], "--label", "question", "--json").rows
    assert all(row["reconstruction"].startswith("is the") for row in again)


def test_commands_refuse_what_is_no_label(seqvae: Command, run: Path) -> None:
    wrong = [seqvae(*command, "--label", "questions") for command in taking(run)]
    assert [each.status for each in wrong] == [2, 2]
    assert all('did you mean "question"' in each.line for each in wrong)
    bare = [seqvae(*command, "--label", "question") for command in taking("tatoeba")]
    bare.append(seqvae("label", "tatoeba", "I am tired."))
    assert [each.status for each in bare] == [2, 2, 2]
    assert all("no label head" in each.line for each in bare)


def taking(run: Any) -> list[list[Any]]:
    """The commands that take a label."""
    return [["sample", run], ["reconstruct", run, STATEMENTS[0]]]


def test_a_head_of_a_batch_of_one_is_what_it_is_in_company() -> None:
    model = labelled()
    alone = torch.cat([model.condition(torch.zeros(1, 0), ITEMS.part(i, i + 1)) for i in range(4)])
    same(alone, probabilities(model))
    nothing = gaussian(torch.zeros(4, 0), torch.zeros(4, 0))
    same(model.condition(nothing.mean, ITEMS), alone)
