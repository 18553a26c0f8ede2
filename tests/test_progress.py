import io

from rich.console import Console

from seqvae import progress
from seqvae.progress import Progress, table


def test_without_a_terminal_a_line_comes_now_and_then_with_rate_and_time_left() -> None:
    out = io.StringIO()
    shown = Progress(Console(file=out, width=200))
    shown.spoken -= progress.LINE_EVERY
    with shown:
        shown.train(1, 100, {"reconstruction": 30.0, "kl": 2.5, "other": 1.0})
        shown.train(2, 100, {"reconstruction": 30.0, "kl": 2.5})
    (line,) = out.getvalue().splitlines()
    assert line.startswith("step 1/100") and "reconstruction 30.00" in line and "kl 2.50" in line


def test_how_things_stand_is_told_beside_the_rate() -> None:
    out = io.StringIO()
    shown = Progress(Console(file=out, width=200))
    shown.spoken -= progress.LINE_EVERY
    with shown:
        shown.train(1, 100, {"kl": 2.5, "standing": "healthy η 0.87"})
    assert "kl 2.50  healthy η 0.87  " in out.getvalue()


def test_what_is_said_is_printed_as_it_is() -> None:
    out = io.StringIO()
    with Progress(Console(file=out, width=40)) as shown:
        shown.say("[bold] is no markup here, and a long sentence is not broken into lines")
    assert out.getvalue().count("\n") == 1 and "[bold]" in out.getvalue()


def test_a_table_holds_every_cell() -> None:
    assert table([("KL", "3.5"), ("active units", "")]) == "KL            3.5\nactive units"
