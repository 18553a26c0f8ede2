"""Geometry of codes (*, D): straight lines, great circles and the paths along them."""

import torch
from torch import Tensor

STRAIGHT = 1 - 1e-6  # |cosine| from which two codes count as pointing the same or opposite ways


def lerp(a: Tensor, b: Tensor, mix: Tensor) -> Tensor:
    """(1 - mix) a + mix b: codes (*, D), mix (*, 1) or broadcastable."""
    return a + mix * (b - a)


def slerp(a: Tensor, b: Tensor, mix: Tensor) -> Tensor:
    """sin((1-mix) w)/sin(w) a + sin(mix w)/sin(w) b, w the angle between a and b.

    Follows the great circle, so that codes keep a typical length (Shoemake, 1985; White, 2016).
    Where a and b point the same or opposite ways (or one is zero) the circle is not defined and
    the straight line is taken.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    # Nearer to 1 float32 knows no angle; the bound also keeps the gradient of acos finite.
    angle = cosine.clamp(-STRAIGHT, STRAIGHT).acos()
    curve = ((1 - mix) * angle).sin() / angle.sin() * a + (mix * angle).sin() / angle.sin() * b
    points_apart = a.any(-1, keepdim=True) & b.any(-1, keepdim=True) & (cosine.abs() < STRAIGHT)
    return torch.where(points_apart, curve, lerp(a, b, mix))


PATHS = {"lerp": lerp, "slerp": slerp}


def path(a: Tensor, b: Tensor, steps: int, *, kind: str = "lerp") -> Tensor:
    """Codes a and b (*, D) -> (steps, *, D), from a to b with both ends included.

    Computed in float64, so that a third of the way is a third of it.

    >>> path(torch.tensor([0.0, 3.0]), torch.tensor([6.0, 0.0]), 4).tolist()
    [[0.0, 3.0], [2.0, 2.0], [4.0, 1.0], [6.0, 0.0]]
    """
    mix = torch.linspace(0, 1, steps, dtype=torch.float64, device=a.device)
    first, last = (end.double().expand(steps, *end.shape) for end in (a, b))
    points = PATHS[kind](first, last, mix.view(steps, *[1] * a.dim())).to(a.dtype)
    points[0], points[-1] = a, b  # the ends are exact, whatever the rounding of the curve
    return points


def grid(corners: Tensor, steps: int, *, kind: str = "lerp") -> Tensor:
    """Four codes a, b, c, d (4, *, D) -> (steps, steps, *, D), a first and d last.

    From a to b along the first row, from c to d along the last. Straight it is bilinear,
    (1-v)(1-u) a + (1-v) u b + v (1-u) c + v u d at v down and u to the right; by slerp rows are
    great circles between those down the sides. Corners are exact.

    >>> grid(torch.eye(4), 3)[1].tolist()
    [[0.5, 0.0, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.0, 0.5]]
    """
    a, b, c, d = corners
    left, right = path(a, c, steps, kind=kind), path(b, d, steps, kind=kind)
    return path(left, right, steps, kind=kind).transpose(0, 1)
