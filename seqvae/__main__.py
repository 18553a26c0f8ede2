"""`python -m seqvae`, and the console command `seqvae`."""

import errno
import os
import sys
from collections.abc import Sequence

from .errors import Collapsed, Diverged, Lost, Refused, Stopped

INTACT = "What was saved before is intact."
CURES = {
    errno.ENOSPC: f"Free some space and go on (a run: with --resume). {INTACT}",
    errno.EDQUOT: f"Free some of your quota and go on (a run: with --resume). {INTACT}",
    errno.EFBIG: f"Files may not grow so large here: raise the limit. {INTACT}",
    errno.EACCES: "Name a place that you may read or write, or change its permissions.",
    errno.EROFS: "Name a place that can be written.",
    errno.ENOTDIR: "A file stands where a folder is needed: name another place.",
    errno.EEXIST: "Name another place.",
}
NO_ROOM = "DefaultCPUAllocator: can't allocate"  # of torch, in a RuntimeError
OUT_OF_MEMORY = "out of memory. Try a smaller training.batch, or training.accumulate=4."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; what goes wrong with the input is one line and a status, no traceback.

    Status 0 done, 1 could not finish, 2 refused, 3 stopped as its code collapsed (--on-collapse),
    128 + N ended by signal N.
    """
    try:
        from .cli import app

        return app(args=arguments, standalone_mode=False) or 0
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        status, text = _explain(error)
        line = " ".join(text.split())
        if line:
            print(f"seqvae: {line}", file=sys.stderr)
        return status


def _explain(error: BaseException) -> tuple[int, str]:
    """The status and the one line for an error that is the input's; a bug is raised again."""
    import typer

    if isinstance(error, Refused):
        return 2, str(error)
    if isinstance(error, Stopped):
        return 128 + error.number, str(error)
    if isinstance(error, Diverged | Lost):
        return 1, str(error)
    if isinstance(error, Collapsed):
        return 3, str(error)
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return 1, f"{error.strerror or error}{where}. {CURES.get(error.errno or 0, INTACT)}"
    # torch's is no MemoryError, and is not worth importing torch for.
    torchs = type(error).__name__ == "OutOfMemoryError" or NO_ROOM in str(error)
    if isinstance(error, MemoryError) or torchs:
        return 1, OUT_OF_MEMORY
    if hasattr(error, "format_message"):  # a usage error of click, or of the copy inside typer
        told = error.format_message().rstrip(" .")
        return 2, f"{told}. See: seqvae --help" if told else ""
    raise error


def console() -> None:
    """The entry point of the installed command."""
    # oneDNN keeps 1,024 compiled kernels, over a gigabyte for sentences of all lengths; a quarter
    # of them is as fast. Read once, when torch is loaded: so here, and only if nobody chose.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    sys.exit(main())


if __name__ == "__main__":
    console()
