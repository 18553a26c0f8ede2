"""Attribute vectors: directions of a run's codes along which one attribute rises, others held.

One file in the run's folder, which belongs to its weights, as a density does.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import Refused
from .keepsakes import Keepsake
from .recipe import unknown
from .vae import VAE

FILE = "attributes.safetensors"
LABEL = "label="  # before the name of a label: an attribute that is 1 or 0
RIDGE = 0.01  # of the mean variance of a code's numbers
HOLD = 0.1  # of an attribute's variance
COMMAND = "seqvae attribute learn"
ORIGIN = ("corpus", "checksum", "split", "items", "held_out")  # in a header: what was learnt from
KEEPSAKE = Keepsake(
    FILE, 1, "attribute vectors", "learnt with", f"Learn them: {COMMAND} {{run}} DATA"
)


class Fit(NamedTuple):
    """A linear reading of K standardised attributes from codes, and the shifts that move it.

    `vectors` (K, D) are shifts of a code at strength 1, `length` (K,) how far they go, in standard
    deviations of codes in their directions: long ones lead where no items are.
    """

    vectors: Tensor
    length: Tensor
    weights: Tensor  # (D, K), of the reading
    code: Tensor  # mean (D,)
    mean: Tensor  # of the attributes (K,)
    std: Tensor  # (K,)

    def read(self, codes: Tensor) -> Tensor:
        """The attributes of codes (N, D), as far as a straight line can tell: (N, K)."""
        told = (codes.double() - self.code) @ self.weights
        return self.mean + told * self.std

    def r2(self, codes: Tensor, values: Tensor) -> Tensor:
        """1 - sum (a - reading)^2 / sum (a - mean)^2 of other items' attributes (N, K): (K,).

        The mean is that of the items it was fitted to, so 0 is what a guess reaches.
        """
        values = values.double()
        missed = (values - self.read(codes)).square().sum(0)
        return 1 - missed / (values - self.mean).square().sum(0)


def fit(codes: Tensor, values: Tensor, ridge: float = RIDGE, hold: float = HOLD) -> Fit:
    """Codes (N, D) and attributes (N, K) -> vectors, each with the other attributes held.

    With Z the codes and A the attributes, centred and A in standard deviations,

        S = Z'Z / N + ridge I      C = Z'A / N      W = S^-1 C      M = C'W
        V = diag(c) (M + hold I)^-1 C'              c such that     diag(V W) = 1

    W is the ridge regression of the attributes on codes, jointly; row k of V the shift that adds
    one standard deviation to the reading of attribute k. At hold = 0 it adds nothing to that of
    any other; of all such shifts it is the shortest, v' S^-1 v, the likeliest under the spread
    that codes have, so that it leads where items are. At hold = infinity it is the covariance of
    code and attribute, the direction from items that have little of it to those that have much,
    as the difference of their mean codes is (Roberts et al., 2018, of quartiles), and moves all
    that goes along with it. Between the two, other attributes are held as far as codes tell
    them: one that a line hardly reads would cost a long way, for nothing.

    Arguments:
        ridge: added to the variance of every number of a code, as a share of their mean.
        hold: variance of a reading under which an attribute is not held.

    An attribute that no line reads has an infinite `length`.

    >>> z = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> found = fit(z, z, ridge=0.0)  # the attributes are the code itself, each as it spreads
    >>> torch.allclose(found.vectors, torch.diag(z.var(0, correction=0).sqrt()).double())
    True
    """
    z, a = codes.double(), values.double()
    code, mean, std = z.mean(0), a.mean(0), a.std(0, correction=0)
    z, a = z - code, (a - mean) / std
    spread = z.T @ z / len(z)
    spread += ridge * spread.diagonal().mean() * torch.eye(len(spread)).double()
    shared = z.T @ a / len(z)
    weights = _solved(spread, shared)
    moved = shared.T @ weights
    vectors = _solved(moved + hold * torch.eye(len(moved)).double(), shared.T)
    own = (vectors @ weights).diagonal().unsqueeze(1)
    vectors = torch.where(own > 1e-12, vectors / own, 0.0)
    length = (vectors * _solved(spread, vectors.T).T).sum(1).sqrt()
    return Fit(vectors, torch.where(length > 0, length, math.inf), weights, code, mean, std)


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right of a symmetric matrix, the least solution where it has no inverse."""
    return torch.linalg.pinv(matrix, rtol=1e-9, hermitian=True) @ right


class Vector(NamedTuple):
    """An attribute's shift of codes at strength 1 (D,), and what is known of it.

    `mean`, `std` and the range `low` to `high` (all but 1 % at each end) are the attribute's over
    the items learnt from; `r2` of the linear reading on held-out items; `length` how far strength
    1 goes, in standard deviations of codes in its direction; `stretch` how many times as far that
    is as the line says, for what is written to follow; None where it was not tried, and 0 where
    no length sufficed, so that the line's was kept.
    """

    name: str
    unit: str
    shift: Tensor
    mean: float
    std: float
    low: float
    high: float
    r2: float
    length: float
    stretch: float | None = None

    def row(self) -> dict[str, Any]:
        """As plain data, without the shift."""
        return {name: value for name, value in self._asdict().items() if name != "shift"}

    def leaves(self, value: float, strength: float) -> str:
        """What to say where so much of it leads out of the range of the data; else nothing."""
        asked = value + strength * self.std
        beyond = asked - (self.high if strength > 0 else self.low)
        if math.isnan(asked) or strength * beyond <= 0:
            return ""
        return (
            f"strength {strength:g} asks for {asked:.3g} {self.unit} of {self.name}; the data lie "
            f"between {self.low:.3g} and {self.high:.3g}: do not expect all of it"
        )


def forms(name: str) -> tuple[str, ...]:
    """The names that an attribute may mean, in turn.

    >>> forms("note-density")
    ('note-density', 'note_density', 'label=note-density')
    """
    return name, name.replace("-", "_"), LABEL + name


class Vectors(NamedTuple):
    """The vectors of a run by name, and where they come from: the header of their file."""

    vectors: dict[str, Vector]
    header: dict[str, Any]

    @property
    def omitted(self) -> dict[str, dict[str, str]]:
        """Of each attribute that could not be learnt: `why`, and from which `corpus`."""
        return self.header.get("omitted", {})

    def named(self, name: str) -> Vector:
        """The vector of an attribute, "note-density" being note_density, a label alone its own.

        Raises `Refused` for one that there is not, with the reason if it was left out.
        """
        for form in forms(name):
            if form in self.vectors:
                return self.vectors[form]
        for form in forms(name):
            if form in self.omitted:
                raise Refused(self._left_out(form))
        raise Refused(
            f"{unknown(name, self.vectors, 'this run', 'vector of')} More are learnt on data that "
            f"have them: {COMMAND} RUN DATA"
        )

    def _left_out(self, name: str) -> str:
        told = self.omitted[name]
        return (
            f"there is no vector of {name!r}: it was left out when vectors were learnt from "
            f"{told['corpus']}, for {told['why']}. Learn on other data: {COMMAND} RUN DATA "
            f"--attribute {name}"
        )

    def origin(self, name: str) -> dict[str, Any]:
        """What a vector was learnt from: of one kept from an earlier file what that file said."""
        own = {key: self.header[key] for key in ORIGIN if key in self.header}
        return self.header.get("kept", {}).get(name, own)

    def but(self, vectors: Sequence[Vector]) -> list[Vector]:
        """Those of attributes that none of these vectors is of."""
        names = {vector.name for vector in vectors}
        return [vector for name, vector in self.vectors.items() if name not in names]


NONE = Vectors({}, {})


def save(
    folder: Path,
    vectors: Sequence[Vector],
    vae: VAE,
    about: Mapping[str, Any],
    before: Vectors = NONE,
) -> Vectors:
    """Write vectors into the run's folder, whole or not at all, in the place of those there.

    A vector is used alone: its shift, mean and range are its own, whatever else is in the file.
    So those of several corpora may lie in one, each with its origin.

    Arguments:
        about: what they were learnt from: corpus, its checksum, split, items; and `omitted`.
        before: of the same weights: what is not learnt again stays, and is named as `kept`.
    """
    kept = before.but(vectors)
    every = {vector.name: vector for vector in (*vectors, *kept)}
    omitted = {**before.omitted, **about.get("omitted", {})}
    told = {
        **about,
        "omitted": {name: why for name, why in omitted.items() if name not in every},
        "kept": {vector.name: before.origin(vector.name) for vector in kept},
        "attributes": [vector.row() for vector in every.values()],
    }
    shifts = torch.stack([vector.shift for vector in every.values()]).float()
    return Vectors(every, KEEPSAKE.write(folder, {"shifts": shifts}, vae, told))


def load(folder: Path, vae: VAE) -> Vectors:
    """Read the vectors of a run whose weights are the model's.

    Raises `Refused` where there are none, for those learnt with other weights, and for a file
    that is damaged or of a later version.
    """
    return KEEPSAKE.read(folder, vae, _made)


def _made(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Vectors:
    rows = zip(header["attributes"], tensors["shifts"], strict=True)
    return Vectors({row["name"]: Vector(**row, shift=shift) for row, shift in rows}, header)
