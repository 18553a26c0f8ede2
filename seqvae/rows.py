"""A model's figures as rows that people read: what each is called, how it is written, its unit."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

Figures = Mapping[str, Any]

NOUN = "sentence"  # what an item is called where the figures do not say


class Row(NamedTuple):
    """A line of the table: `cell` writes the figure, None where it was not measured."""

    title: str
    cell: Callable[[Figures], str | None]
    remark: Callable[[Figures], str] = lambda figures: ""


def value(key: str, digits: int = 3, *, error: str | None = None, interval: str = "") -> Any:
    """A cell of one figure, with its standard error or its 95 % interval where there is one.

    >>> value("kl", 1)({"kl": 3.14}), value("kl")({}), value("iw_nll")({"iw_nll": None})
    ('3.1', None, 'n/a')
    """

    def cell(figures: Figures) -> str | None:
        if key not in figures:
            return None
        if figures[key] is None:
            return "n/a"
        text = f"{figures[key]:,.{digits}f}"
        if error is not None and _is_number(figures.get(error)):
            text += f" ± {figures[error]:.{digits}f}"
        low, high = figures.get(f"{interval}_low"), figures.get(f"{interval}_high")
        if not (_is_number(low) and _is_number(high)):
            return text
        return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"

    return cell


def _is_number(value: Any) -> TypeGuard[float]:
    """Not so for the error of a single item, which is none."""
    return isinstance(value, int | float) and math.isfinite(value)


def noun(figures: Figures) -> str:
    """What an item is called, as the codec has it."""
    return str(figures.get("noun", NOUN))


def nats(noun: str = NOUN) -> str:
    """The unit of what an item costs.

    >>> nats(), nats("item")
    ('nats a sentence', 'nats an item')
    """
    return f"nats {'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def written(form: str) -> Callable[[Figures], str | None]:
    """A cell or remark made by `str.format`; nothing where a figure of it was not measured.

    >>> written("{active_units} of {latent}")({"active_units": 3, "latent": 8})
    '3 of 8'
    """

    def cell(figures: Figures) -> str | None:
        try:
            return form.format(**{"noun": NOUN, **figures})
        except (KeyError, TypeError):  # absent, or measured and undefined
            return None

    return cell


def remark(form: str) -> Callable[[Figures], str]:
    """The same as a remark, which is empty where a figure is missing."""
    cell = written(form)
    return lambda figures: cell(figures) or ""


def near_cap(figures: Figures) -> bool:
    """Whether the lower bound of I(x; z) is within a nat of the most that so many items can show.

    >>> near_cap({"mutual_information_low": 7.3, "mutual_information_cap": 7.33})
    True
    """
    low, cap = figures.get("mutual_information_low"), figures.get("mutual_information_cap")
    return low is not None and cap is not None and low > cap - 1


def _information(figures: Figures) -> str | None:
    form = "≥ {low}, ≤ {high}" if near_cap(figures) else "{low} to {high}"
    low, high = "{mutual_information_low:.2f}", "{mutual_information_high:.2f}"
    return written(form.format(low=low, high=high))(figures)


def _information_remark(figures: Figures) -> str:
    near = ", and is near it" if near_cap(figures) else ""
    return remark(f"the lower bound cannot pass log N = {{mutual_information_cap:.2f}}{near}")(
        figures
    )


def _nats(figures: Figures) -> str:
    return nats(noun(figures))


PARTS = {"first": "first 3 tokens", "end": "end token", "rest": "rest"}  # of an item


def _where(name: str, title: str) -> Row:
    def parts(figures: Figures) -> list[str]:
        """All, or those of windows of music, which have no end token."""
        return [part for part in PARTS if part != "end" or f"{name}_share_end" in figures]

    def cell(figures: Figures) -> str | None:
        return written(_each(f"{name}_share", parts(figures)))(figures)

    def said(figures: Figures) -> str:
        where = " / ".join(PARTS[part] for part in parts(figures))
        tokens = _each(f"{name}_tokens", parts(figures))
        return remark(f"{where}, which are {tokens} of the tokens")(figures)

    return Row(title, cell, said)


def _each(name: str, parts: Iterable[str]) -> str:
    """The form of one share a part."""
    return " / ".join(f"{{{name}_{part}:.0%}}" for part in parts)


def _share(key: str) -> Callable[[Figures], str | None]:
    """A cell of a share of 1; n/a where there was nothing to have a share of."""
    return lambda figures: (
        "n/a" if key in figures and figures[key] is None else written(f"{{{key}:.1%}}")(figures)
    )


def _with_bits(form: str) -> Callable[[Figures], str]:
    """A remark, and of music the bits of the code: no accuracy is read without them."""
    at = remark("{accuracy_at}")
    return lambda figures: "; ".join(filter(None, (at(figures), remark(form)(figures))))


def _way(title: str, way: str) -> tuple[Row, Row]:
    """An accuracy with how it was made, and the same of what is no hold."""
    return (
        Row(title, _share(f"{way}_accuracy"), _with_bits(f"{{{way}_switches}}")),
        Row(
            f"{title}, non-hold",
            _share(f"{way}_non_hold"),
            _with_bits("of the {non_hold_share:.0%} of tokens at which something happens"),
        ),
    )


STYLE = {  # what of music has an overlapped area
    "pitch_class": "pitch classes",
    "interval": "intervals",
    "duration": "lengths of notes",
    "inter_onset": "onset to onset",
    "drum": "drums",
}


def _overlap(name: str) -> Row:
    """The overlapped area of a feature, with that of other real music beside it."""
    form = (
        "overlapped area; KL {style_NAME_kl:.2f}; of training {noun}s "
        "{style_NAME_overlap_real:.2f}, {style_NAME_kl_real:.2f}"
    )
    said = remark(form.replace("NAME", name))
    return Row(f"{STYLE[name]}, overlap", value(f"style_{name}_overlap", 2), said)


TABLE: Mapping[str, tuple[Row, ...]] = {
    "what it costs": (
        Row("reconstruction D (z ~ q)", value("reconstruction"), _nats),
        Row("rate R, the KL from the prior", value("kl"), _nats),
        Row("-ELBO (weight 1, no free bits)", value("negative_elbo"), _nats),
        Row("language model, no code", value("baseline_nll"), _nats),
        Row(
            "D + R = -ELBO, in bits",
            written("{reconstruction_bits:.1f} + {kl_bits:.1f} = {negative_elbo_bits:.1f}"),
            remark("bits a {noun}"),
        ),
        Row("language model, in bits", value("baseline_nll_bits", 1), remark("bits a {noun}")),
        Row(
            "repayment (LM - D) / R",
            value("repayment", interval="repayment"),
            remark("95 % interval, paired over {noun}s"),
        ),
        Row(
            "what the code costs, -ELBO - LM",
            value("price", interval="price"),
            remark("nats a {noun}, likewise; what is not repaid"),
        ),
    ),
    "the evidence, -log p(x)": (
        Row(
            "-ELBO of the weighed items",
            value("iw_negative_elbo"),
            remark("nats, of {iw_items:,} items, {iw_samples} samples each"),
        ),
        Row(
            "importance-weighted NLL",
            value("iw_nll", error="iw_standard_error"),
            remark("{iw_effective_samples:.1f} of {iw_samples} samples count; ± over {noun}s"),
        ),
        Row("importance-weighted, in bits", value("iw_nll_bits", 1), remark("bits a {noun}")),
        Row(
            "-ELBO, some of them",
            value("amortised_negative_elbo"),
            remark("nats, of {fitted_items:,} items"),
        ),
        Row(
            "importance-weighted NLL, them",
            value("amortised_nll"),
            remark("{amortised_effective_samples:.1f} of {iw_samples} samples count"),
        ),
        Row(
            "-ELBO, posteriors fitted",
            value("fitted_negative_elbo"),
            lambda figures: (
                written("{fitted_items:,} items; amortisation gap {amortisation_gap:.2f}")(figures)
                or written("nats, of {fitted_items:,} items")(figures)
                or ""
            ),
        ),
        Row(
            "importance-weighted, fitted",
            value("fitted_nll", error="fitted_standard_error"),
            lambda figures: "; ".join(
                said
                for said in (
                    written("gap of the family {family_gap:.2f}")(figures),
                    written("{fitted_effective_samples:.1f} of {fitted_samples} samples count")(
                        figures
                    ),
                )
                if said
            ),
        ),
        Row(
            "NLL of all items",
            value("nll", error="nll_standard_error"),
            remark("{nll_from}, carried over by their gap to -ELBO; ± of the gap"),
        ),
        Row("NLL of all items, in bits", value("nll_bits", 1), remark("bits a {noun}")),
        Row("perplexity a token", value("perplexity_per_token", 2), remark("{perplexity_from}")),
        Row("perplexity a word", value("perplexity_per_word", 2), remark("{perplexity_from}")),
        Row(
            "bits a byte",
            value("bits_per_byte"),
            lambda figures: str(
                figures.get("why_no_bits_per_byte") or figures.get("perplexity_from", "")
            ),
        ),
        Row(
            "bits a pixel",
            value("bits_per_pixel"),
            lambda figures: str(
                figures.get("why_no_bits_per_pixel") or figures.get("perplexity_from", "")
            ),
        ),
    ),
    "what the codes hold": (
        Row(
            "active units",
            written("{active_units} of {latent}"),
            remark(
                "at 0.01 of the prior's variance; {active_units_at_5_percent} at 0.05, "
                "{active_units_at_20_percent} at 0.2"
            ),
        ),
        Row("effective dimension", value("effective_dimension", 1), lambda figures: "of Cov mu"),
        Row("mutual information I(x; z)", _information, _information_remark),
        Row(
            "KL(q(z), p)",
            written("{aggregate_kl_low:.2f} to {aggregate_kl_high:.2f}"),
            lambda figures: "nats between aggregate posterior and prior",
        ),
        Row(
            "farthest from the prior",
            written("dimension {worst_dimension}"),
            remark("mean {worst_mean:.2f}, width {worst_sd:.2f} (prior: 0, 1)"),
        ),
        Row(
            "MMD² of codes and prior",
            value("aggregate_mmd", 4),
            remark(
                "{match_items:,} codes; those of the prior itself: 0 ± {aggregate_mmd_noise:.4f}"
            ),
        ),
        Row(
            "total variation to the prior",
            value("aggregate_tv"),
            remark("in 20 x 20 squares; as many draws of the prior: {aggregate_tv_floor:.3f}"),
        ),
    ),
    "whether they are read": (
        Row(
            "z-shuffle ΔNLL",
            value("shuffle_delta_nll", interval="shuffle"),
            lambda figures: "nats: what another's code of equal length costs",
        ),
        Row(
            "fed noise ΔNLL",
            value("noise_delta_nll", interval="noise"),
            lambda figures: "nats: what a code drawn from the prior costs",
        ),
        _where("gain", "where z helps"),
        _where("saved", "… over the language model"),
    ),
    "what the label head tells": (
        Row(
            "label accuracy",
            _share("label_accuracy"),
            remark("of {label_items:,} items; always the commonest: {label_floor:.1%}"),
        ),
        Row(
            "label cross-entropy",
            value("label_cross_entropy"),
            lambda figures: _nats(figures) + remark("; a label of {labels}")(figures),
        ),
    ),
    "what comes back": (
        Row(
            "exact match",
            written("{exact_match:.1%}"),
            _with_bits("{reconstruction_items:,} items, greedy from the mean"),
        ),
        Row("token accuracy", written("{token_accuracy:.1%}"), remark("{accuracy_at}")),
        Row("BLEU", value("bleu", 1), remark("{bleu_signature}")),
        Row(
            "looked up, token accuracy",
            written("{nearest_token_accuracy:.1%}"),
            remark("of the training item with the nearest code, among {nearest_among:,}"),
        ),
        Row(
            "looked up, BLEU",
            value("nearest_bleu", 1),
            remark("a reconstruction should be well above"),
        ),
        Row(
            "same label nearest",
            written("{retrieval_at_1:.1%}"),
            remark(
                "by cosine of codes, {retrieval_items:,} items; chance {retrieval_chance_at_1:.2%}"
            ),
        ),
        Row(
            "same label in ten",
            written("{retrieval_at_10:.1%}"),
            remark("median rank {retrieval_rank:,.0f}; chance {retrieval_chance_at_10:.2%}"),
        ),
    ),
    "what comes back, as pictures": (
        Row(
            "squared error a pixel",
            value("pixel_error", 4),
            remark("from the mean code; the average {noun}: {pixel_error_average:.4f}"),
        ),
        Row(
            "sharpness",
            value("sharpness_reconstructions", 4),
            remark("mean squared step between neighbours; {noun}s {sharpness_data:.4f}"),
        ),
    ),
    "what comes back, as music": (
        Row(
            "rate of these items, in bits",
            value("accuracy_bits", 1),
            remark("bits a {noun}, of {accuracy_items:,} {noun}s, {accuracy_tokens:,} tokens"),
        ),
        Row(
            "commonest token",
            _share("accuracy_floor"),
            remark("the floor of every accuracy: always {accuracy_floor_token}"),
        ),
        *_way("teacher-forced", "teacher_forced"),
        *_way("free-running", "free_running"),
        *_way("MusicVAE's protocol", "musicvae"),
        Row(
            "rhythm",
            _share("free_running_rhythm"),
            _with_bits("free-running; {rhythm_kinds}"),
        ),
        Row(
            "pitch",
            _share("free_running_pitch"),
            _with_bits(
                "free-running; of {free_running_onsets_told:,} true onsets where an onset is "
                "written, of {onsets:,} in all"
            ),
        ),
        Row(
            "onset and pitch, F1",
            _share("note_f1"),
            _with_bits(
                "free-running; {note_both:,} right, of {note_true:,} true notes and "
                "{note_written:,} written"
            ),
        ),
        Row(
            "and end step, F1",
            _share("duration_f1"),
            _with_bits("free-running; equal onset, pitch and end step, of {duration_parts}"),
        ),
        Row(
            "onset and pitch, floor",
            _share("note_floor"),
            remark("F1 of each {noun} against another: what music of this kind has in common"),
        ),
        Row(
            "overlap, F1",
            _share("overlap_f1"),
            _with_bits("of equal onset and pitch, the steps that both last of all either lasts"),
        ),
        Row("drums, F1", _share("drums_f1"), _with_bits("free-running; {drums_each}")),
        Row(
            "velocity, off by",
            value("velocity_error", 1),
            remark(
                "of 127, over {feel_strokes:,} strokes truly there and written; "
                "{plain_velocity_error:.1f} if all had their median"
            ),
        ),
        Row(
            "timing, off by",
            value("timing_error_steps", 3),
            remark("of a step; {plain_timing_error_steps:.3f} if all were on time"),
        ),
    ),
    "what is written from the prior": (
        Row(
            "samples under the LM",
            value("samples_model_nll", 2),
            remark("nats a token; held-out {noun}s {samples_model_nll_held_out:.2f}"),
        ),
        Row(
            "samples under 3-grams",
            value("samples_nll", 2),
            remark("nats a token; held-out {noun}s {samples_nll_held_out:.2f}"),
        ),
        Row(
            "3-grams of the samples",
            value("samples_reverse_nll", 2),
            remark(
                "on held-out {noun}s; 3-grams of as many real ones {samples_reverse_nll_real:.2f}"
            ),
        ),
        Row(
            "distinct 1-, 2-, 3-grams",
            written("{distinct_1:.2f}, {distinct_2:.2f}, {distinct_3:.2f}"),
            remark(
                "of {samples:,} samples; real: {distinct_1_real:.2f}, {distinct_2_real:.2f}, "
                "{distinct_3_real:.2f}"
            ),
        ),
        Row(
            "sharpness of samples",
            value("sharpness_samples", 4),
            remark("mean squared step between neighbours; {noun}s {sharpness_data:.4f}"),
        ),
        Row(
            "copied from training",
            written("{copied:.1%}"),
            remark("of held-out {noun}s {copied_real:.1%}"),
        ),
        Row(
            "longest run copied",
            written("{copy_share:.1%}"),
            remark(
                "of a {noun}'s moves, {copy_moves:.1f} of them; of held-out {noun}s "
                "{copy_share_real:.1%}, {copy_moves_real:.1f}; among {copy_known:,}"
            ),
        ),
        *(_overlap(name) for name in STYLE),
        Row(
            "likeness of bars",
            value("bar_similarity", 2),
            remark("F1 of notes, wherever transposed; held-out {noun}s {bar_similarity_real:.2f}"),
        ),
    ),
}


def rows(figures: Figures) -> list[tuple[str, str, str]]:
    """The table of one model: name, figure, remark; parts with nothing in them are left out."""
    drawn: list[tuple[str, str, str]] = []
    for title, part in TABLE.items():
        cells = [(row, row.cell(figures)) for row in part]
        found = [(f"  {row.title}", cell, row.remark(figures)) for row, cell in cells if cell]
        drawn += [(title, "", ""), *found] if found else []
    return drawn


def side_by_side(columns: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """The table of several models: name, then a figure of each, "-" where one has none."""
    drawn: list[tuple[str, ...]] = [("", *columns)]
    for title, part in TABLE.items():
        cells = [(row, [row.cell(figures) for figures in columns.values()]) for row in part]
        found = [(f"  {row.title}", *(c or "-" for c in each)) for row, each in cells if any(each)]
        drawn += [(title, *("" for _ in columns)), *found] if found else []
    return drawn
