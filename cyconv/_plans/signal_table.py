"""Thresholds and block sizes of ``signal``, each with the model or the measurement that set it."""

from cyconv._runtime import CACHES

#: Exact integer correlation: outputs (rows, columns) of a box and taps of a block. The cells that a box reads through
#: a block are at most 0.5 MB in 64-bit integers and then mostly stay in the second-level cache; smaller boxes gather
#: more often what their neighbours gather too.
EXACT_BOX = (32, 256)
EXACT_BLOCK = (64, 256)

#: Cells and multiply-adds up to which ``signal`` works without a plan: what is copied stays in the first two caches.
#: One core does 3e10 multiply-adds of integers per second, less work than the 30 microseconds around it. Of floats it
#: does 5e9 to 2e10; a kernel that came before takes 6 microseconds and then the time of the best loop there is
#: (128x128 with 3x3: 11 us, where the loop without a plan takes 28; 32x32 with 7x7: 8 and 4).
QUICK_CELLS = 1 << 15
QUICK_PRODUCTS = {"i": 1 << 20, "u": 1 << 20, "f": 1 << 16}

#: Kernels (by their bytes) whose packed form is kept for the next call, and the largest of them: packing costs 40
#: microseconds, the hash of 32 KiB 5.
KNOWN_KERNELS = 16
KNOWN_BYTES = 32 << 10

#: Larger kernels, the largest and all together, that are kept and compared in each call (0.1 ms per MB, where packing
#: takes 0.3 for the register tile and 2 for Winograd's algorithm, in which they take up to 9 times the memory).
KNOWN_LARGEST = 4 << 20
KNOWN_TOTAL_BYTES = 16 << 20

#: Bytes of the rows of an image that are converted to floats at a time: they stay in the second-level cache until
#: they are read (3840x2160 of 8 bits and 3x3, one core: 3.4 ms; as a whole 4.3 into memory
#: that is there, 10 into new memory).
BAND_BYTES = CACHES[1] // 4
