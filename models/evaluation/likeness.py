"""How alike two pictures of the same seed are: PSNR and SSIM, in numpy."""

import numpy as np
import numpy.typing as npt

from models.evaluation.judgement import Pixels

_LUMA = np.array([0.299, 0.587, 0.114])
_WINDOW_RADIUS = 5
_WINDOW_DEVIATION = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (H, W, 3); infinite for equal ones."""
    error = np.square(a.astype(np.float64) - b).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(a: Pixels, b: Pixels) -> float:
    """Mean structural similarity of the lightness of two pictures (H, W, 3), each side at least 11.

    Wang, Bovik, Sheikh and Simoncelli 2004, with their 11 x 11 Gaussian window of deviation 1.5, K1 = .01, K2 = .03.
    """
    x, y = a @ _LUMA, b @ _LUMA  # (H, W)
    mean_x, mean_y = _blur(x), _blur(y)  # (H - 10, W - 10)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return float((likeness / ((mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2))).mean())


def _blur(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weighted mean over the window, only where it lies inside the plane."""
    places = np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1)
    weights = np.exp(-(places**2) / (2 * _WINDOW_DEVIATION**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis)
        plane = windows @ weights
    return plane
