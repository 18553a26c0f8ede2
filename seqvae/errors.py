"""The one error people are meant to read: what was seen, why it is refused, what to do."""


class Refused(ValueError):
    """Input that cannot be used; the message names the value, the reason and the cure.

    Commands print it as one line and exit with a status; it is never a bug of ours.

    >>> raise Refused("latent = -1: a code has at least 0 dimensions. Set latent = 32.")
    Traceback (most recent call last):
    ...
    seqvae.errors.Refused: latent = -1: a code has at least 0 dimensions. Set latent = 32.
    """
