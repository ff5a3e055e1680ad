"""Thresholds and block sizes of pooling, each with the model or the measurement that set it."""

#: Cells of a block of pooled rows: they stay in a 32 KiB first-level cache beside the rows that stream by.
BLOCK_BYTES = 16 << 10
#: Rows that are loaded once for a tall window stay in the second-level cache; taller windows still, up to the limit
#: of one buffer (there are five of them), beyond which every output row reads its window.
RUN_BYTES = 64 << 10
RUN_LIMIT = 4 << 20
#: Costs of one window by itself, in operations on vectors: of one cell, of a group of channels.
EACH_LINE = 12
EACH_GROUP = 4
#: Taps of a row of windows that are chosen one by one: as many choices of lanes as doubling 2 log2(16) times for two
#: vectors, with their shifts through memory, and picking cells would cost.
CHOICES = 16
#: A thread is worth its start from this much memory on; where a window is the whole plane, from so many cells on (one
#: thread and two: 2048x7x7 in float32 4.4 and 5.4 us, 4096x7x7 8.5 and 7.2, in uint8 5.5 and 4.6).
BYTES_PER_THREAD = 32 << 10
CELLS_PER_THREAD = 64 << 10
THREADS = 256
#: Cells that are converted or copied at a time where a kernel cannot read or write an array as it is.
SLAB_CELLS = 1 << 20
#: Arrays of more bytes come from memory and are asked for ahead; within a third-level cache that costs a tenth.
AHEAD_BYTES = 24 << 20
