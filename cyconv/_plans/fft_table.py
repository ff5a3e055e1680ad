"""Thresholds and costs of the Fourier path, each with the model or the measurement that set it."""

from __future__ import annotations

from cyconv._runtime import CACHES

#: Cycles per vector of complex numbers, fitted to tiles of 32 x 32 to 512 x 512 (Zen 4, float32 and float64, within
#: 10 %): gathering, checking, transposing and storing (once per transform), one pass of radix 4, the product of two
#: spectra; and what each doubling costs from where the tile's planes leave the second-level cache.
MOVE_CYCLES = 55.0
PASS_CYCLES = 10.5
PRODUCT_CYCLES = 6.0
FAR_CYCLES = 25.0
NEAR_BYTES = 2 * CACHES[1]

#: Points along an axis that is not transformed.
PLAIN_POINTS = 64

#: Scratch of a call, and spectra of the weights of a plan. More is refused.
SCRATCH_BYTES = 32 << 20
WEIGHT_BYTES = 256 << 20

#: Spectra of the weights that do not fit here are read from memory again for every pair of tiles.
SPECTRA_BYTES = CACHES[2] // 2

#: From this share of bad tiles on, the whole call is computed directly.
REPAIR_ALL = 0.25

#: With several channels per group the spectra no longer wait in a cache: calls take so many times the modelled time
#: (measured: 2x256x56x56 3x3 275 ms, 8x128x28x28 3x3 76 ms, 8x64x27x27 5x5 125 ms; modelled 60, 16 and 22 ms).
CHANNELS_FACTOR = 5.0
