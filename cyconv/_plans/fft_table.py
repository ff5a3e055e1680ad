"""Thresholds and costs of the Fourier path, each with the model or the measurement that set it."""

from __future__ import annotations

from cyconv._runtime import CACHES

#: Cycles per vector of complex numbers, in units of the dense model (tiles of 32x32 to 256x256, 1 to 16 channels;
#: twice as many made images go on sliding at up to twice the time): gathering, checking, transposing and storing
#: (once per transform), one pass of radix 4, the product of two spectra; and what each doubling costs from where the
#: tile's planes leave the second-level cache.
MOVE_CYCLES = 31.0
PASS_CYCLES = 6.0
PRODUCT_CYCLES = 4.6
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

#: Cycles per byte of spectra that left the second-level cache before they are used again, and the shares of it from
#: which some do and all (70 calls of 1 to 256 channels, kernels of 3 to 31, up to 270 MB of spectra: the root mean
#: square deviation is 18 %; without, such calls took up to four times the estimate).
STREAM_CYCLES = 0.085
STREAM_ROOM = (0.25, 1.25)
