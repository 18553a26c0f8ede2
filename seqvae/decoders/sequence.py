"""A sequence decoder *is* its next-token scores; everything else follows from them."""

from abc import abstractmethod
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..distributions import TokenSequence, draw_tokens
from ..errors import Refused, check_shares, check_sizes
from ..schedules import FAR, Schedule, constant
from ..tokens import BOS, PAD, UNK
from ..vae import Decoder


class State(dict[str, Tensor]):
    """What a decoder remembers between two tokens: named tensors, batch first."""

    def select(self, index: Tensor) -> "State":
        """The state of items `index`, in that order: beams are reordered so."""
        return State({name: tensor[index] for name, tensor in self.items()})


class SequenceDecoder(Decoder):
    """Next-token scores from a code, in two ways that agree.

    `features` and `head` score all positions of a known sequence at once, for training; `start`
    and `step` score one token after another, for generation. The scores of position t depend on
    z and on tokens before t, never on later ones.

    Arguments:
        vocab: V, the number of token ids.
        latent: D, the size of a code; 0 makes the decoder a plain language model.
        embed: size of a token's embedding.
        width: size of a feature vector.
        at_start: whether z sets the state before the first token.
        at_every_step: whether z is given again with every token.
        word_dropout: share of input tokens replaced by UNK, in training only, so that the code
            is needed to know what came before   (Bowman et al., 2016, section 3.2). A schedule
            makes it a function of the step.
        scheduled_sampling: share of input tokens replaced by what the decoder itself would write
            there, in training only, so that it learns to go on from its own mistakes: see `told`.
            A schedule as above.
        context: how many of the tokens before it a position sees, beside the code and its own
            place; None: all of them. A decoder that sees less needs its code more.
        skip: whether z also has a path of its own to the scores, past the network (Dieng et al.,
            2019).
        dropout: dropout of what is read, and inside the network.
        tied: whether the scores use the embedding matrix   (Press and Wolf, 2017).
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        embed: int,
        width: int,
        at_start: bool = True,
        at_every_step: bool = True,
        skip: bool = False,
        context: int | None = None,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        if latent > 0 and not (at_start or at_every_step or skip):
            raise Refused(
                "at_start, at_every_step and skip are all off, so the code never reaches the "
                "decoder. Switch one on, or set latent = 0 for a language model."
            )
        if context is not None and context < 0:
            raise Refused(
                f"context = {context}: a position sees 0 of the tokens before it, or more; leave "
                "it out for all of them."
            )
        check_sizes(embed=embed, width=width)
        check_shares(dropout=dropout)
        self.vocab = vocab
        self.latent = latent
        self.at_start = at_start and latent > 0
        self.at_every_step = at_every_step and latent > 0
        self.skip = nn.Linear(latent, width, bias=False) if skip and latent > 0 else None
        self.context = context
        self.word_dropout = _share("word_dropout", word_dropout)
        self.scheduled_sampling = _share("scheduled_sampling", scheduled_sampling)
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Embedding(vocab, embed)
        nn.init.normal_(self.embedding.weight, std=embed**-0.5)
        self.narrow = nn.Linear(width, embed, bias=False) if tied and width != embed else None
        self.output = None if tied else nn.Linear(width, vocab)

    @abstractmethod
    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        """Tokens x (B, T), codes z (B, D) -> (B, T, H); position t has seen x_<t.

        `step` is that of training.
        """

    def head(self, features: Tensor) -> Tensor:
        """Features (*, H) -> scores (*, V), unnormalised log-probabilities."""
        if self.output is not None:
            return self.output(features)
        narrow = features if self.narrow is None else self.narrow(features)
        return F.linear(narrow, self.embedding.weight)

    @abstractmethod
    def start(self, z: Tensor) -> State:
        """Codes z (B, D) -> the state before the first token; feed BOS to `step` first."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Tokens (B,) just written -> scores (B, V) of the next, and the state after them."""

    def add_skip(self, features: Tensor, z: Tensor) -> Tensor:
        """Features (B, T, H), or (B, H) of one position, and what z (B, D) adds to them itself."""
        if self.skip is None:
            return features
        added = self.skip(z)
        return features + (added if features.dim() == 2 else added.unsqueeze(1))

    def forward(self, z: Tensor, step: int = FAR) -> TokenSequence:
        return TokenSequence(self, z, step, self.told)

    def told(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        """What `features` is told while x (B, T) is scored: x, in training with tokens drawn.

        Scheduled sampling (Bengio et al., 2015) in two passes (Mihaylova and Martins, 2019): a
        first one scores all positions of x teacher-forced, without gradient; each token of x is
        replaced, with the probability `scheduled_sampling`, by one drawn from the scores of its
        position. What is trained is the second pass, which is told these and scores x. So all
        positions still go at once; what is drawn has seen true tokens, not earlier draws. PAD
        stays PAD, and no draw is PAD, UNK, BOS or EOS, which nothing reads that goes on writing.

        The first pass drops what the second drops, by draws of its own. Where the share is 0, and
        in evaluation, x itself comes back and no random number is drawn.
        """
        share = self.scheduled_sampling(step) if self.training else 0.0
        if share == 0:
            return x
        replaced = (torch.rand(x.shape, device=x.device) < share) & (x != PAD)
        device, bf16 = x.device.type, torch.is_autocast_enabled(x.device.type)
        # Older torch keeps weights that were cast without gradient, for the second pass too.
        with torch.no_grad(), torch.autocast(device, enabled=bf16, cache_enabled=False):
            features = self.features(x, z, step)
            return x.masked_scatter(replaced, draw_tokens(self, features[replaced]))

    def inputs(self, x: Tensor, step: int = FAR) -> Tensor:
        """What is read while x (B, T) is written: BOS, x_1 .. x_T-1, corrupted in training."""
        read = torch.cat([torch.full_like(x[:, :1], BOS), x[:, :-1]], dim=1)
        share = self.word_dropout(step) if self.training else 0.0
        if share == 0:
            return read
        lost = torch.rand(read.shape, device=read.device) < share
        lost[:, 0] = False
        return read.masked_fill(lost, UNK)


def _share(name: str, value: float | Schedule) -> Schedule:
    """A share as a function of the step; refused where it begins or ends outside 0 to 1."""
    schedule = value if callable(value) else partial(constant, value=value)
    for step in (0, FAR):
        check_shares(**{name: schedule(step)})
    return schedule
