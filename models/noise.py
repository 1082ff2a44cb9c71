"""Starting noise from a counter-based generator: a pure function of the image's seed.

Which batch, thread or machine renders an image then cannot change its noise. Philox: Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3". The normals are made here (Box and Muller 1958) from raw Philox words, because
numpy promises its bit streams for ever, but not what its own normal() makes of them.
"""

import numpy as np
import numpy.typing as npt


def latent_noise(seed: int, channels: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Standard normal latents of one image.

    Args:
        seed: 0 to 2**64 - 1.
        channels, height, width: of the latent picture, in cells.

    Returns:
        float32 (channels, height, width).
    """
    count = channels * height * width
    half = (count + 1) // 2
    words = np.random.Philox(key=seed).random_raw(2 * half)  # (2 half,) uint64
    uniform = (
        (words >> np.uint64(11)).astype(np.float64) + 1.0
    ) * 2.0**-53  # in (0, 1]: the logarithm is finite
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * np.pi * uniform[half:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])  # (2 half,)
    return normal[:count].astype(np.float32).reshape(channels, height, width)
