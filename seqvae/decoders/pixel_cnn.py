"""A gated PixelCNN that writes a picture from a code, pixel by pixel."""

import math
from copy import deepcopy
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..codecs.codec import Shape
from ..errors import Refused, check_sizes
from ..pixels import levels_of
from ..schedules import FAR, Schedule
from ..tokens import BOS, PAD, SPECIAL
from .sequence import SequenceDecoder, State

NEVER = -1e3  # the score of an id that is no level; e^-1000 is 0 in float32

# Pictures are (B, channels, H, W); `reach` is how far beyond its own pixel a kernel sees. Kernels
# are cropped to what may be seen, so that no weight stands behind a mask and gets no gradient.


class PixelCNNDecoder(SequenceDecoder):
    """Next-pixel scores by gated convolutions that see the pixels before, and no others.

    The pixels above come by a vertical stack, those to the left by a horizontal one, that reads
    the vertical at every layer, y = tanh(a) sigmoid(b) of the two halves a, b of each sum of
    convolutions (van den Oord et al., 2016, "Conditional image generation with PixelCNN
    decoders", sections 2.1 and 2.2). Both stacks are residual here, so that deep ones learn; in
    the paper only the horizontal one. No layer is normalised: statistics of a batch would tell a
    pixel of later ones.

    What is read of a pixel is the embedding of its level. The levels begin evenly spaced on a
    line between two random vectors, so that neighbouring greys start alike; what is unknown (UNK,
    by word dropout) has a vector of its own, and what is outside the picture, zero, is neither.

    Maps (H, W) say what is not in the pixels: a convolution of these, unmasked, is added to the
    first layer, as if they stood beside the picture. They begin as learned numbers, the same for
    all pictures, that tell a pixel where it lies: with no code too, or a code would seem to be
    worth what only its network's biases tell. z is added to them as W z (He et al., 2019, in
    their code); or W_l z is added at every pixel of every layer l (van den Oord et al., 2016,
    equation 4). Either way it enters what comes from above and reaches each pixel's own scores.

    How many earlier pixels one sees is set by `layers`, the kernels and `stack`, in place of a
    `context`: `receptive_field` draws it. A decoder that sees less needs its code more.

    Tokens x (B, T) are pixels in the order rows, columns: level v is id 4 + v, and ids 0 … 3 have
    probability 0. Pixels behind the last begin a new picture from the same code.

    Arguments: of `SequenceDecoder` `vocab`, `latent`, `embed`, `skip`, `word_dropout`,
        `scheduled_sampling`, `dropout`;
        shape: height, width and channels, of which there is one.
        channels: of every layer.
        layers: convolutions one behind another.
        kernel, first_kernel: sizes k of k x k pixels, of which those before the centre are used;
            odd, 3 or more.
        stack: "two", or "masked": one stack of masked convolutions (A, then B) as in van den Oord
            et al. (2016, "Pixel recurrent neural networks"), which never sees a wedge of pixels
            above and to the right. Gates and code are the same.
        z_as: "maps" or "bias".
        maps: how many there are.
        hidden: H, units between the last layer and the scores.

    Raises `Refused` for more channels than one, for kernels with no centre or no neighbours, and
    for ids that leave fewer than two levels.

    >>> decoder = PixelCNNDecoder(vocab=6, latent=8, shape=(4, 4, 1), channels=8, layers=2)
    >>> decoder(torch.zeros(5, 8)).log_prob(torch.full((5, 16), 5)).shape
    torch.Size([5])
    >>> decoder.receptive_field((2, 1)).int().tolist()
    [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    """

    def __init__(
        self,
        vocab: int,
        latent: int,
        *,
        shape: Shape,
        channels: int = 32,
        layers: int = 5,
        kernel: int = 5,
        first_kernel: int = 7,
        stack: Literal["two", "masked"] = "two",
        z_as: Literal["maps", "bias"] = "maps",
        maps: int = 4,
        embed: int = 8,
        hidden: int = 64,
        skip: bool = False,
        word_dropout: float | Schedule = 0.0,
        scheduled_sampling: float | Schedule = 0.0,
        dropout: float = 0.0,
    ) -> None:
        levels = levels_of(vocab)
        _check_one_channel(shape)
        _check_kernels(kernel=kernel, first_kernel=first_kernel)
        check_sizes(channels=channels, layers=layers, maps=maps, hidden=hidden)
        super().__init__(
            vocab,
            latent,
            embed=embed,
            width=hidden,
            at_start=False,
            skip=skip,
            word_dropout=word_dropout,
            scheduled_sampling=scheduled_sampling,
            dropout=dropout,
        )
        nn.init.normal_(self.embedding.weight)  # of size 1, as no score uses it
        _space_evenly(self.embedding.weight[SPECIAL:])
        self.height, self.columns, _ = shape
        self.stacks = Stacks(embed, channels, layers, first_kernel // 2, kernel // 2, stack)
        as_maps, as_bias = (latent > 0 and z_as == way for way in ("maps", "bias"))
        self.places = nn.Parameter(0.1 * torch.randn(maps, self.height, self.columns))
        self.layout = nn.Linear(latent, self.places.numel(), bias=False) if as_maps else None
        self.spread = nn.Conv2d(maps, 2 * channels, first_kernel, bias=False)
        self.every = nn.Linear(latent, layers * 2 * channels, bias=False) if as_bias else None
        self.finish = nn.Linear(channels, hidden)
        self.output = nn.Linear(hidden, levels)

    def features(self, x: Tensor, z: Tensor, step: int = FAR) -> Tensor:
        pictures = math.ceil(x.shape[1] / (self.height * self.columns))
        read = self._read(self._pictures(self.inputs(x, step)))
        told = self._told(z.repeat_interleave(pictures, dim=0), 0, self.height)
        seen = self.stacks(read, told).flatten(2).mT.unflatten(0, (len(x), pictures))
        return self._finished(seen.flatten(1, 2)[:, : x.shape[1]], z)

    def head(self, features: Tensor) -> Tensor:
        return F.pad(super().head(features), (SPECIAL, 0), value=NEVER)

    def start(self, z: Tensor) -> State:
        read = torch.zeros(len(z), 0, dtype=torch.long, device=z.device)
        return State(z=z, read=read, **self.stacks.start(z.new_zeros(len(z)), self.columns))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        if state["read"].shape[1] == self.height * self.columns:  # a new picture
            tokens, state = torch.full_like(tokens, BOS), self.start(state["z"])
        read = torch.cat([state["read"], tokens.unsqueeze(1)], dim=1)
        row, column = divmod(read.shape[1] - 1, self.columns)
        known = State({**state, "read": read})
        if column == 0:
            above = read[:, 1:].view(len(read), row, self.columns)
            told = self._told(state["z"], row, row + 1)
            known = self.stacks.begin_row(self._read(above), told, known)
        left = read[:, read.shape[1] - column :].unsqueeze(1)
        seen, after = self.stacks.step(self._read(left), column, known)
        return self.head(self._finished(seen.flatten(1), state["z"])), after

    def receptive_field(self, pixel: tuple[int, int] | None = None) -> Tensor:
        """Which pixels (H, W) the scores of one, by default of the centre, can depend on.

        It is where the gradient of the last layer is not zero, of these very layers with all
        weights made positive: then every path from a pixel adds to it, and none cancels.
        """
        row, column = pixel or (self.height // 2, self.columns // 2)
        stacks = _positive(self.stacks)
        read = self.embedding.weight.new_ones(1, stacks.read, self.height, self.columns).double()
        with torch.enable_grad():
            seen = stacks(read.requires_grad_(), [read.new_zeros(1)] * stacks.depth)
            (slope,) = torch.autograd.grad(seen[0, :, row, column].sum(), read)
        return slope[0].sum(0) > 0

    def share_seen(self, pixel: tuple[int, int] | None = None) -> float:
        """The share of the pixels before one, by default before the centre, that it can see."""
        row, column = pixel or (self.height // 2, self.columns // 2)
        return float(self.receptive_field(pixel).sum()) / max(row * self.columns + column, 1)

    def _told(self, z: Tensor, first: int, end: int) -> list[Tensor]:
        """What z (B, D) and the place tell each layer at rows first … end - 1.

        (B, 2 channels, rows, W); one item wide where it is the same for all, and one number high
        and wide where it is for all pixels.
        """
        maps = self.places.unsqueeze(0)
        if self.layout is not None:
            maps = maps + self.layout(z).view(len(z), *self.places.shape)
        reach = self.stacks.first
        told = self.spread(F.pad(maps, (reach,) * 4)[:, :, first : end + 2 * reach])
        if self.every is None:
            return [told, *[z.new_zeros(1)] * (self.stacks.depth - 1)]
        opening, *others = self.every(z).view(len(z), self.stacks.depth, -1, 1, 1).unbind(1)
        return [told + opening, *others]

    def _pictures(self, tokens: Tensor) -> Tensor:
        """What was read (B, T), BOS first, as pictures (B * pictures, H, W) of what it tells."""
        missing = -tokens.shape[1] % (self.height * self.columns)
        filled = F.pad(tokens[:, 1:], (0, 1 + missing), value=PAD)
        return filled.view(-1, self.height, self.columns)

    def _read(self, pictures: Tensor) -> Tensor:
        """Tokens (B, H, W) -> (B, E, H, W)."""
        return self.dropout(self.embedding(pictures)).movedim(-1, 1)

    def _finished(self, seen: Tensor, z: Tensor) -> Tensor:
        """What the last layer says (*, channels) -> features (*, H)."""
        return self.add_skip(self.dropout(gelu(self.finish(gelu(seen)))), z)


class Stacks(nn.Module):
    """All layers: what is read of a picture (B, E, H, W) -> (B, channels, H, W).

    Two stacks: a_l = above(v_l-1) + told_l, v_l = v_l-1 + gate(a_l) and
    h_l = h_l-1 + W gate(U a_l + along(h_l-1)), where told_l is what the code says to layer l.
    The first layer reads rows above and pixels to the left *without* the pixel's own, and all
    others with them: the picture is shifted once, and not again in every layer.

    Masked: a_l = above(h_l-1) + told_l sees the rows above in every layer, and U = 1.

    Arguments: `read`, E; `channels`; `layers`; `first` and `reach`, that of the first layer and
        of the others; `stack`.
    """

    def __init__(
        self, read: int, channels: int, layers: int, first: int, reach: int, stack: str
    ) -> None:
        super().__init__()
        self.read = read
        self.depth = layers
        self.first = first
        self.reach = reach
        self.two = stack == "two"
        others = [
            Layer(channels, channels, reach, own_row=self.two, own_pixel=True, link=self.two)
            for _ in range(layers - 1)
        ]
        opening = Layer(read, channels, first, own_row=False, own_pixel=False, link=self.two)
        self.layers = nn.ModuleList([opening, *others])

    def forward(self, read: Tensor, told: list[Tensor]) -> Tensor:
        # A negative padding crops: what is read ends above the pixel's row, and to its left.
        above, left = F.pad(read, (0, 0, self.first, -1)), F.pad(read, (self.first, -1))
        v = h = read.new_zeros(1)
        for layer, added in zip(self._layers, told, strict=True):
            a = layer.above(above) + added
            h = h + layer(left, a)
            v = v + gate(a) if self.two else h
            above = F.pad(v, (0, 0, self.reach, 0 if self.two else -1))
            left = F.pad(h, (self.reach, 0))
        return h

    # Step by step every layer keeps its sums a over the row being written, the last `rows` that
    # the next layer reads from above, and its own `row` as far as it is written.

    def start(self, like: Tensor, columns: int) -> dict[str, Tensor]:
        """Nothing of a picture yet, for items as many as `like` (B,) has."""
        channels = self._layers[0].mix.in_channels
        empty = like.new_zeros(len(like), channels, 0, columns)
        names = [f"{name}{number}" for number in range(self.depth) for name in ("rows", "row")]
        return dict.fromkeys(names, empty)

    def begin_row(self, read: Tensor, told: list[Tensor], state: State) -> State:
        """The state before a row's first pixel, from all rows read so far (B, E, row, W)."""
        known = State(state)
        above = last(read, self.first, dim=-2)
        v = read.new_zeros(1)
        for number, (layer, added) in enumerate(zip(self._layers, told, strict=True)):
            known[f"a{number}"] = a = layer.above(above) + added
            v = v + gate(a) if self.two else state[f"row{number}"]
            rows = torch.cat([state[f"rows{number}"], v], dim=-2)
            above = last(rows, self.reach + self.two, dim=-2)
            known[f"rows{number}"] = rows[:, :, -self.reach :]
            known[f"row{number}"] = v.new_zeros(*v.shape[:2], 1, 0)
        return known

    def step(self, read: Tensor, column: int, state: State) -> tuple[Tensor, State]:
        """One pixel (B, channels, 1, 1), from what was read to its left (B, E, 1, column)."""
        after = State(state)
        left = last(read, self.first, dim=-1)
        h = read.new_zeros(1)
        for number, layer in enumerate(self._layers):
            h = h + layer(left, state[f"a{number}"][..., column : column + 1])
            after[f"row{number}"] = row = torch.cat([state[f"row{number}"], h], dim=-1)
            left = last(row, self.reach + 1, dim=-1)
        return h, after

    @property
    def _layers(self) -> "list[Layer]":
        return cast("list[Layer]", self.layers)


class Layer(nn.Module):
    """The kernels of one layer: of what is above, of what is to the left, and what joins them."""

    def __init__(
        self, read: int, channels: int, reach: int, *, own_row: bool, own_pixel: bool, link: bool
    ) -> None:
        super().__init__()
        above, along = (reach + own_row, 2 * reach + 1), (1, reach + own_pixel)
        self.above = nn.Conv2d(read, 2 * channels, above, padding=(0, reach))
        self.along = nn.Conv2d(read, 2 * channels, along, bias=False)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False) if link else None
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, left: Tensor, a: Tensor) -> Tensor:
        """W gate(U a + along(left)) at the pixels where `left` ends, a row or some of them."""
        linked = a if self.link is None else self.link(a)
        return self.mix(gate(self.along(left) + linked))


def gate(sums: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) of the halves a and b of sums (B, 2 channels, H, W)."""
    a, b = sums.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


def last(x: Tensor, count: int, *, dim: Literal[-2, -1]) -> Tensor:
    """The last `count` rows or columns of x (B, C, H, W), behind zeros where it has fewer."""
    missing = max(count - x.shape[dim], 0)
    filled = F.pad(x, (missing, 0) if dim == -1 else (0, 0, missing, 0))
    return filled.narrow(dim, filled.shape[dim] - count, count)


def _space_evenly(levels: Tensor) -> None:
    """Put the vectors (V, E) on the line from the first to the last, in place, evenly spaced."""
    with torch.no_grad():
        share = torch.linspace(0, 1, len(levels)).unsqueeze(1)
        levels.copy_(levels[0].lerp(levels[-1], share))


def _positive(stacks: Stacks) -> Stacks:
    """The same layers with weights so small that no gate is saturated, and all above zero."""
    copy = deepcopy(stacks).double()
    for weight in copy.parameters():
        nn.init.constant_(weight, 0.1 / weight[0].numel())
    return copy


def _check_one_channel(shape: Shape) -> None:
    if shape[2] != 1:
        raise Refused(
            f"shape = {tuple(shape)}: PixelCNNDecoder writes pictures of one channel. Prepare the "
            "pictures as grey, with channels = 1, or name another decoder, as DeconvDecoder."
        )


def _check_kernels(**kernels: int) -> None:
    for name, size in kernels.items():
        if size < 3 or size % 2 == 0:
            raise Refused(
                f"{name} = {size}: a kernel has a centre and sees pixels beside it. Set it to an "
                "odd number, 3 or more."
            )
