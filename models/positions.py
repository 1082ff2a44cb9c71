"""Where each patch of a picture stands, as sine and cosine waves; an input of the transformer.

Vaswani et al. 2017 (arXiv:1706.03762) in two dimensions, as in ViT and DiT (Peebles and Xie 2023, arXiv:2212.09748).
Both axes run over the same span whatever the picture's size, as diffusers' PatchEmbed does.
"""

import numpy as np
import numpy.typing as npt


def position_table(rows: int, columns: int, width: int, span: int) -> npt.NDArray[np.float32]:
    """Position vectors of a grid, row by row.

    Args:
        rows, columns: of patches.
        width: length of a vector, a multiple of four; its first half tells the column, its second the row.
        span: patches along one side of the size the model was first made for.

    Returns:
        float32 (1, rows * columns, width).
    """
    down = np.repeat(np.arange(rows, dtype=np.float32) / np.float32(rows / span), columns)  # (rows columns,)
    across = np.tile(
        np.arange(columns, dtype=np.float32) / np.float32(columns / span), rows
    )  # (rows columns,)
    table = np.concatenate(
        [_waves(across, width // 2), _waves(down, width // 2)], axis=1
    )  # (rows columns, width)
    return table.astype(np.float32)[None]  # (1, rows columns, width)


def _waves(places: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float64]:
    frequencies = 10_000.0 ** -(np.arange(width // 2, dtype=np.float64) / (width / 2))  # (width / 2,)
    angles = np.outer(places.astype(np.float64), frequencies)  # (N, width / 2)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # (N, width)
