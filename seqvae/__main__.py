"""`python -m seqvae`, and the console command `seqvae`."""

import os
import sys
from collections.abc import Sequence

from .errors import Diverged, Refused, Stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; what goes wrong with the input is one line and a status, no traceback.

    Status 0 done, 1 could not finish, 2 refused, 128 + N ended by signal N.
    """
    from .cli import app

    try:
        return app(args=arguments, standalone_mode=False) or 0
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        status, line = _explain(error)
        print(f"seqvae: {line}", file=sys.stderr)
        return status


def _explain(error: Exception) -> tuple[int, str]:
    """The status and the one line for an error that is the input's; a bug is raised again."""
    from click import ClickException
    from click.exceptions import Abort, Exit

    if isinstance(error, Exit):
        return error.exit_code, ""
    if isinstance(error, ClickException):
        return error.exit_code, f"{error.format_message()} See: seqvae --help"
    if isinstance(error, Refused):
        return 2, str(error)
    if isinstance(error, Stopped):
        return 128 + error.number, str(error)
    if isinstance(error, Diverged):
        return 1, str(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return 1, f"{error.strerror or error}{where}. What was saved before is intact."
    if isinstance(error, Abort | KeyboardInterrupt):
        return 130, "interrupted"
    raise error


def console() -> None:
    """The entry point of the installed command."""
    sys.exit(main())


if __name__ == "__main__":
    console()
