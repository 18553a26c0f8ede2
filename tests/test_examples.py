"""Whatever the package exports shows what it computes, by an example that runs."""

import doctest
import inspect
import re
from types import ModuleType
from typing import Any

import pytest
from small import exports

from seqvae import (
    decoders,
    densities,
    encoders,
    likelihoods,
    noises,
    objectives,
    posteriors,
    priors,
    regularizers,
    schedules,
)

PACKAGES = (
    *(encoders, decoders, posteriors, priors, objectives, regularizers, noises, schedules),
    *(densities, likelihoods),
)


def exported(package: ModuleType) -> list[Any]:
    """Its classes and functions, less those from outside and those that only others build on."""
    found = exports(package, lambda thing: inspect.isclass(thing) or inspect.isfunction(thing))
    return [
        thing
        for thing in found
        if thing.__module__.startswith("seqvae.") and not inspect.isabstract(thing)
    ]


EXPORTED = [thing for package in PACKAGES for thing in exported(package)]


@pytest.mark.parametrize("thing", EXPORTED, ids=lambda thing: thing.__name__)
def test_whatever_is_exported_has_an_example_that_calls_it_and_shows_what_comes_out(
    thing: Any,
) -> None:
    examples = doctest.DocTestParser().get_examples(thing.__doc__ or "")
    calls = re.compile(rf"\b{thing.__name__}[.(]")
    assert any(calls.search(example.source) for example in examples), "no >>> of it"
    assert any(example.want for example in examples), "nothing is shown"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_list_of_exports_is_looked_at(package: ModuleType) -> None:
    assert exported(package)
