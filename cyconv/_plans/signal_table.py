"""Thresholds and block sizes of ``signal``, each with the model or the measurement that set it."""

#: Exact integer correlation: outputs (rows, columns) of a box and taps of a block. The cells that a box reads through
#: a block are at most 0.5 MB in 64-bit integers and then mostly stay in the second-level cache; smaller boxes gather
#: more often what their neighbours gather too.
EXACT_BOX = (32, 256)
EXACT_BLOCK = (64, 256)

#: Cells and multiply-adds up to which ``signal`` works without a plan: what is copied stays in the first two caches,
#: and one core does 3e10 multiply-adds per second, so that the work is less than the 30 microseconds of a plan.
QUICK_CELLS = 1 << 15
QUICK_PRODUCTS = 1 << 20

#: Kernels (by their bytes) whose packed form is kept for the next call, and the largest of them: packing costs 40
#: microseconds, the hash of 32 KiB 5.
KNOWN_KERNELS = 16
KNOWN_BYTES = 32 << 10
