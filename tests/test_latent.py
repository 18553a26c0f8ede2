"""Paths between codes: exact at their ends, straight or of constant speed, defined everywhere."""

import pytest
import torch
from small import same
from torch import Tensor

from seqvae.latent import PATHS, grid, lerp, path, slerp

A, B = (
    torch.tensor([[3.0, 0.0, 4.0], [1.0, 2.0, 2.0]]),
    torch.tensor([[0.0, 2.0, 0.0], [-3.0, 0.0, 4.0]]),
)
ENDS = {
    "apart": (A, B),
    "identical": (A, A),
    "nearly identical": (A, A + 1e-6),
    "the same way": (A, 2 * A),
    "opposite": (A, -A),
    "from zero": (torch.zeros(2, 3), B),
    "both zero": (torch.zeros(2, 3), torch.zeros(2, 3)),
    "tiny": (1e-20 * A, 1e-20 * B),
    "one of each": (A, torch.stack([A[0], -A[1]])),
}


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_every_path_is_finite_with_exact_ends_and_a_finite_gradient(
    kind: str, ends: tuple[Tensor, Tensor]
) -> None:
    a, b = (end.clone().requires_grad_() for end in ends)
    points = path(a, b, 5, kind=kind)
    assert points.shape == (5, 2, 3) and points.isfinite().all()
    assert torch.equal(points[0], a) and torch.equal(points[-1], b)
    assert not torch.allclose(a, b) or torch.allclose(points, a.expand(5, 2, 3), atol=1e-5)
    for slope in torch.autograd.grad(points.sum(), (a, b)):
        assert slope.isfinite().all()


def test_lerp_is_the_straight_line() -> None:
    same(lerp(A, B, torch.tensor(0.25)), 0.75 * A + 0.25 * B)
    steps = path(A, B, 6).diff(dim=0)
    same(steps, ((B - A) / 5).expand(5, 2, 3))


def test_slerp_of_unit_vectors_keeps_their_length_and_turns_at_constant_speed() -> None:
    a, b = (torch.nn.functional.normalize(end, dim=-1) for end in (A, B))
    points = path(a, b, 9, kind="slerp")
    same(points.norm(dim=-1), torch.ones(9, 2))
    turns = (points[1:] * points[:-1]).sum(-1).acos()
    whole = (a * b).sum(-1).acos()
    same(turns, (whole / 8).expand(8, 2), 1e-4)


def test_slerp_of_a_right_angle_is_sine_and_cosine() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    third = torch.tensor(1 / 3)
    same(slerp(a, b, third), torch.tensor([3**0.5 / 2, 0.5]))


def test_where_no_circle_is_defined_slerp_is_straight() -> None:
    same(path(A, -A, 5, kind="slerp"), path(A, -A, 5))
    same(path(0 * A, B, 5, kind="slerp"), path(0 * A, B, 5))
    near = A + 1e-4 * torch.randn(2, 3)  # and where it nearly is not, the two agree
    same(path(A, near, 5, kind="slerp"), path(A, near, 5), 1e-6)


def test_a_path_of_songs_moves_every_bar() -> None:
    points = path(torch.zeros(4, 3), torch.ones(4, 3), 3)
    assert points.shape == (3, 4, 3) and (points[1] == 0.5).all()


@pytest.mark.parametrize("kind", PATHS)
def test_the_sides_of_a_grid_are_paths_and_its_corners_exact(kind: str) -> None:
    corners = torch.randn(4, 2, 3)
    a, b, c, d = corners
    points = grid(corners, 5, kind=kind)
    assert points.shape == (5, 5, 2, 3)
    for found, corner in zip((points[0, 0], points[0, -1], points[-1, 0]), (a, b, c), strict=True):
        assert torch.equal(found, corner)
    assert torch.equal(points[-1, -1], d)
    sides = ((points[0], a, b), (points[-1], c, d), (points[:, 0], a, c), (points[:, -1], b, d))
    for side, start, end in sides:
        same(side, path(start, end, 5, kind=kind))


def test_a_straight_grid_is_bilinear() -> None:
    corners = torch.randn(4, 3)
    points = grid(corners, 4)
    weights = grid(torch.eye(4), 4)
    same(points, weights @ corners)
    same(weights[1, 2], torch.tensor([2 / 9, 4 / 9, 1 / 9, 2 / 9]))
