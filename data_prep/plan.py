"""The plan of a preparation: what pass 1 decides and pass 2 obeys, kept as `plan.json`."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seqvae.claims import claim
from seqvae.corpus import write_json
from seqvae.errors import Refused

from .sources import Source

Tell = Callable[[str, int, int | None], None]  # stage, lines done, lines in all if known

TOO_LONG = "too long"  # the reason both passes give
WAIT = 0.05  # seconds between two looks whether another has begun
FORMAT = 2  # 1 did not drop from valid what stands in test


@dataclass(frozen=True)
class Options:
    """Everything that decides the bytes of a corpus, besides its sources."""

    codec: str
    vocab: int | None
    column: str | None
    label: str | None
    max_tokens: int
    min_tokens: int
    valid_fraction: float | None
    test_fraction: float | None
    seed: int
    keep_duplicates: bool
    block: int


class Origin(NamedTuple):
    """A source and the split it was given for; lines of "train" may be moved by their hash."""

    split: str
    source: Source


@dataclass(frozen=True)
class Plan:
    """What pass 1 decided."""

    options: Options
    sources: list[dict[str, Any]]  # split, name, size, sha256 and number of items of each
    valid_below: int  # a train line goes to valid if its hash is below this,
    test_below: int  # else to test if it is below this
    labels: list[str] | None
    codec: dict[str, Any]

    @property
    def items(self) -> int:
        return sum(source["items"] for source in self.sources)

    @property
    def blocks(self) -> int:
        return -(-self.items // self.options.block)


@contextmanager
def turn(out: Path) -> Iterator[None]:
    """Within, no other process begins this folder: the shards of a job start at one moment."""
    while True:
        with claim(out.with_name(f".{out.name}.begun")) as number:
            if number:
                yield
                return
        time.sleep(WAIT)


def write_plan(out: Path, plan: Plan) -> None:
    """Write `plan.json`: from now on the folder is carried on, not begun anew."""
    write_json(out / "plan.json", {"format": FORMAT, **asdict(plan)})


def read_plan(out: Path) -> Plan:
    """Read what `write_plan` wrote. Raises `Refused` if it is damaged or of another version."""
    path = out / "plan.json"
    try:
        value = json.loads(path.read_bytes())
        number = value.pop("format")
        options = Options(**value.pop("options"))
        plan = Plan(options=options, **value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is damaged. Delete {out} and prepare it again.") from error
    if number != FORMAT:
        raise Refused(f"{path} has format {number!r}, not {FORMAT}. Delete {out}; start anew.")
    return plan


def check_same(out: Path, plan: Plan, origins: Sequence[Origin], options: Options) -> None:
    """Raise `Refused` if the folder was begun with other options or other sources."""
    cure = f"Choose another folder, or delete {out} and prepare it again."
    old, new = asdict(plan.options), asdict(options)
    for name in new:
        if old[name] != new[name]:
            raise Refused(
                f"{out} was begun with {name} = {old[name]!r}, now {new[name]!r}. {cure}"
            )
    before = [(source["split"], source["name"]) for source in plan.sources]
    if before != [(origin.split, origin.source.name) for origin in origins]:
        raise Refused(f"{out} was begun from other sources. {cure}")
    for origin, source in zip(origins, plan.sources, strict=True):
        if not unchanged(origin.source, source):
            raise Refused(f"{origin.source.name} has changed since {out} was begun. {cure}")


def unchanged(source: Source, before: dict[str, Any]) -> bool:
    """Same size and time; or, copied to another machine say, the same contents."""
    now = source.stamp()
    if all(before.get(name) == value for name, value in now.items()):
        return True
    same_size = "bytes" in now and before.get("bytes") == now["bytes"]
    return same_size and before["sha256"] == source.sha256()
