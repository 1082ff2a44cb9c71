"""Bounds on pictures that come from outside; apart from the models, so that a decoder process need not load those."""

from __future__ import annotations

MAX_INPUT_BYTES = 20_000_000
MAX_INPUT_PIXELS = 25_000_000
MAX_INPUT_SIDE = 8192
MIN_INPUT_SIDE = 16
#: Longer side to shorter side; what is longer has no subject left once it is cut to a picture's shape.
MAX_INPUT_ASPECT = 10
#: Of an embedded colour profile: those of cameras and screens have some kilobytes, large printing profiles half of this.
MAX_PROFILE_BYTES = 1_000_000
INPUT_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
AVIF = "image/avif"
#: What we keep of the largest picture, four channels that do not compress, and the frame of its file around it.
MAX_KEPT_BYTES = 4 * MAX_INPUT_PIXELS + 4_000_000
