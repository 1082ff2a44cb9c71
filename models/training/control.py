"""What the transformer is given as edges while it trains: exact ones, and the imperfect ones a hand would draw."""

from random import Random

import torch
from torch import Tensor
from torch.nn import functional

_EXACT_SHARE = 0.4


def roughen(edges: Tensor, draw: Random) -> Tensor:
    """Make edge maps (B, 1, H, W) of 0 and 1 imperfect, each in its own way: shifted, thickened, partly erased, broken."""
    return torch.stack([_roughen_one(one, draw) for one in edges])


def _roughen_one(edges: Tensor, draw: Random) -> Tensor:
    """(1, H, W)"""
    if draw.random() < _EXACT_SHARE:
        return edges
    if draw.random() < 0.5:
        edges = torch.roll(edges, (draw.randint(-1, 1), draw.randint(-1, 1)), (-2, -1))
    if draw.random() < 0.3:
        edges = functional.max_pool2d(edges, 3, 1, 1)
    if draw.random() < 0.4:
        edges = _erase_box(edges, draw)
    if draw.random() < 0.3:
        cells = torch.rand(
            1, edges.shape[1] // 8, edges.shape[2] // 8
        )  # strokes break where a cell is dropped
        edges = edges * functional.interpolate((cells > 0.15).float()[None], scale_factor=8)[0]
    return edges


def _erase_box(edges: Tensor, draw: Random) -> Tensor:
    height, width = edges.shape[1:]
    tall, wide = draw.randint(height // 8, height // 2), draw.randint(width // 8, width // 2)
    top, left = draw.randint(0, height - tall), draw.randint(0, width - wide)
    edges = edges.clone()
    edges[:, top : top + tall, left : left + wide] = 0
    return edges
