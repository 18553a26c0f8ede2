"""seqvae: variational autoencoders of sequences, measured honestly.

Three networks that each return a distribution: `seqvae.vae` holds that idea, everything else is
a value one can swap. Nothing heavy is imported here; `seqvae.load` opens a trained run.
"""

from typing import TYPE_CHECKING, Any

from .errors import Refused as Refused

if TYPE_CHECKING:
    from .explore import load as load

__version__ = "0.1.0"
__all__ = ["Refused", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # `import seqvae` must not pay for torch: the explorer is imported when first asked for.
    if name == "load":
        from .explore import load

        return load
    raise AttributeError(f"module 'seqvae' has no attribute {name!r}")
