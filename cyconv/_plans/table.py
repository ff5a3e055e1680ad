"""Thresholds and block sizes, each with the model or the measurement that set it."""

from __future__ import annotations

from cyconv._kernels import cpu
from cyconv._runtime import CACHES, VECTOR_BYTES

#: Multiply-adds deep that one block of the dense product is, in bytes of one operand column. A tile row of A of
#: 12 x 512 float32 is 24 KiB: it stays in a 32 KiB first-level cache while the panels of positions stream by.
DENSE_BLOCK_BYTES = 2048
#: The same for 1x1 whose input comes from beyond the second-level cache: the fewer channels, the longer the runs of
#: each that are read for a box, and memory gives the more (768x132x132 to 64 0.93, 384x57x59 to 32 0.94, 512x157x94
#: to 96 0.89; of those that the cache holds 512x28x28 to 256 1.03, 384x17x17 to 256 1.07; half as much again 0.96 to
#: 1.16).
DENSE_FAR_BLOCK_BYTES = 1024

#: The laid out input of one box, and its results if they wait for another block: half of the second-level cache;
#: streaming weights and the next input take their part of the rest. Rows above and below the box, as a factor.
DENSE_SOURCE_BYTES = CACHES[1] // 2
DENSE_MORE_ROWS = 1.3
#: The same for an input that is read where it lies: the next box is asked for meanwhile, and the less is cold when
#: the first one begins, the better (1x1, 256 to 64 channels, 56x56: 950 us with half of the cache, 710 with an
#: eighth).
DENSE_PLACE_BYTES = CACHES[1] // 8
#: The same where rows are laid out once only (3x3, 64 to 256 channels, 28x28 and 56x56: half, a quarter and an eighth
#: of the cache are equal within 3 %).
DENSE_ROW_BYTES = CACHES[1] // 4

#: Bytes from which on an input has to come from beyond the second-level cache and a result has to go there. Then a
#: tile of positions asks for the lines of the next one's results before they are written (1x1, channels last:
#: 16x64x56x56 to 256 17.9 -> 14.1 ms, 1x48x99x59 to 384 2.20 -> 2.03; 1x24x56x56 to 144, 1.8 MB,
#: 201 -> 210 us, 1x64x56x56 to 256, 3.2 MB, 758 -> 782). Tiles of outputs, whose lines lie in as many planes, gain
#: nothing: 1x16x112x112 to 96 324 -> 349 us, 1 to 64, 5x5, at 256x256 1704 -> 1745, 3 to 64, 3x3, at 224x224 1471 ->
#: 1499.
DENSE_FAR_BYTES = 2 * CACHES[1]

#: Positions of a box: below 64 the tile loops are too short, above 4096 boxes get too few for the threads.
DENSE_BOX = (64, 4096)
#: Boxes for each thread up to which the output channels may be cut into parts, so that threads finish together.
DENSE_MOST_TURNS = 16

#: Cycles of one multiply-add of a vector in the tile: two units, but for the 64-byte vectors of cores that pass them
#: in halves. Two loads in a cycle, also of where an operand lies and, as many, of what is asked for (a tile of one
#: vector of 64 bytes takes 0.69 of one of two; of shorter vectors three are loaded in a cycle, which leaves room for
#: them); the latency of a multiply-add; what else a step takes (512 channels of 7x7, 3x3: in tiles of 7 rows 1592 us,
#: of 12 and 13 rows 1477); beginning and ending a tile.
DENSE_STEP_CYCLES = 1.0 if VECTOR_BYTES == 64 and cpu.splits_vectors() else 0.5
DENSE_LOAD_CYCLES = 0.5
DENSE_OTHER_LOADS = 4 if VECTOR_BYTES == 64 else 0
DENSE_LEAST_CYCLES = 4.0
DENSE_OTHER_CYCLES = 0.4
DENSE_TILE_CYCLES = 60.0
#: The same tile with vectors of positions, which are read from the input's many rows, in relation to vectors of
#: outputs from packed weights (57 random layers, 1x1, 3x3 and 1x7 with strides 1 and 2, all ways to run each: those
#: that the estimates choose take 1.012 times the best ones' time; with 1.0 and 1.06 1.020, with 1.08, which suited a
#: tile that broadcast every scalar once, 1.026); with three or four vectors and few outputs (130 layers to 1 to 48
#: channels: 1.10 to 1.20 are equal; 384x153x153 to 16, 3x3: 23.0 ms, 27.3 of vectors of outputs, which 1.25 chose).
DENSE_POSITIONS_FACTOR = 1.03
DENSE_WIDE_FACTOR = 1.15
#: Tiles of positions that are read in place, by 14 scalars, in relation to those of packed ones; the same where they
#: come from beyond the second-level cache (1x1, 512x28x28 to 256 1.13 of the time of tiles that read two vectors, to
#: 64 1.09, 192x28x28 to 96 1.12, 256x14x14 to 512 0.96; 768x132x132 to 64 1.38, 384x57x59 to 32 0.89, others from
#: there 1.03 to 1.14).
DENSE_SCALARS_FACTORS = (1.05, 1.1)

#: How much longer tiles of vectors of positions take whose vectors lie across two lines of the cache (of 64 bytes:
#: each does), where the input lies and where it was laid out (250 layers of 1 to 512 channels to 1 to 512, all ways
#: to run each: what is chosen takes 1.017 times the best one's time, 1.018 with 0.2 for both; with 0.1 for both 1x1
#: 1.022, not 1.014); those that are read in place where channels lie so many bytes apart, in an image of
#: more than so many, in relation to copied ones; and cycles of copying a vector. (1x1, 16 to 512 channels to 16 to
#: 512, 144 to 16,000 positions, copied in relation to in place: 256x4001 to 256 0.82, 192x11888 to 96 0.81, 64x6623
#: to 32 0.86, 320x1157 to 128 0.92; where lines are whole and the input is near, 192x1568 to 256 1.01, 128x544 to 64
#: 1.12. What is chosen takes 1.004 to 1.011 times the best one's time, float64 1.02, AVX2 1.015.)
DENSE_SPLIT_SHARES = 0.2 * VECTOR_BYTES / 64, 0.1 * VECTOR_BYTES / 64
DENSE_APART_FACTOR, DENSE_APART_BYTES, DENSE_IMAGE_BYTES = 1.25, 16 << 10, CACHES[1]
DENSE_RUN_CYCLES = 5.0

#: Reading a line of weights, or of input in place, from the second-level cache, once for each box (85 layers of 1 to
#: 384 channels, all ways to run each: what is chosen takes 1.020 times the best one's time; without it, and without
#: the share of vectors that lie across lines, 1.033).
DENSE_LINE_CYCLES = 0.6

#: Bytes after which lines compete for the same places of a second-level cache, how many lines have room there, and
#: the bytes of an array from which on it lies on large pages, where that is so (NumPy asks for these from 4 MiB on;
#: on small ones the lines lie anywhere). Channels that compete are laid out before several panels of outputs read
#: them: 1x1, 512x64x64 to 256 14.0 -> 8.2 ms, 256x128x128 to 256 19.2 -> 15.4, 64x256x256 to 32 4.9 -> 4.2.
DENSE_COLLISIONS = (128 << 10, 16, 4 << 20)

#: Loads across two cache lines that take as long as a store across two lines: of tiles that read the input where it
#: lies, stores are aligned where there are more of them. 1x1, 16x112x112 to 96, 16 bytes off 560 -> 495 us;
#: 24 channels to 144 0.92 to 0.97; equal at 32 to 192; 40 to 24 and 256 to 64 would take 1.1 times as long.
DENSE_SPLIT_STORE = 2

#: Costs in cycles, for the choice between the two orientations of the dense product: laying out a vector of the
#: input, each vector more than two that it is picked from (3 channels of 224x224, 4x4/4 to 96, 8x8/8 to 192, 16x16/16
#: to 768: 4, 4, 14 in all), a square of vectors that is crossed, a row of them, one cell that lies apart, one that is
#: gathered first; storing a vector of the result from scratch. A row took 6 to 9 cycles (3 to 16 channels to 2 to 16,
#: 3x3 to 7x7, planes of 7x7 to 56x56), storing 5 % of 256 multiply-adds. (The same 280 layers: with 4 for laying out
#: a vector 1.028 times the best ones' time, 8 to 12 are equal.) What a stride leaves out comes along where the input
#: is read as it lies, for each panel of outputs, at that share of laying it out (0.02 to 0.13 are equal within 0.1 %,
#: 1 for all panels 1.018).
DENSE_COPY_CYCLES = 10.0
DENSE_FETCH_SHARE = 0.08
DENSE_WOVEN_CYCLES = 1.0
DENSE_SQUARE_CYCLES = 100.0
DENSE_APART_CYCLES = 1.0
DENSE_ROW_CYCLES = 8.0
DENSE_GATHER_CYCLES = 2.0
DENSE_STORE_CYCLES = 6.4

#: Scalars between neighbouring cells of a row up to which it is copied as it lies, one channel after the other.
DENSE_MOST_APART = 16

#: The unit of the cost models: cycles become seconds by a nominal clock, bytes by a nominal bandwidth (one core
#: scaling a large array). Only ratios between candidates count, so the processor's own figures are not asked for.
CLOCK_HZ = 3.6e9
BANDWIDTH = 26e9

#: How much quicker an algorithm has to be whose error bound holds for the result as a whole only.
LEAST_GAIN = 1.15

#: Cycles per weight of packing it for the register tile, and per transformed weight for the Winograd path, once, into
#: memory that is new: 0.7 to 1.2 ns for 128 x 128 to 512 x 512 kernels of 3x3 and 192 x 64 of 5x5; 0.5 to 0.7 ns for
#: 256 x 256 kernels of 2x2, 3x3, 4x4, 1x3; in units of the dense model, of which a nanosecond is 2.5 cycles there.
DENSE_PACK_WEIGHT_CYCLES = 2.2
WINOGRAD_PACK_WEIGHT_CYCLES = 1.4

#: Fixed cost of entering and leaving a kernel.
CALL_SECONDS = 3e-6

#: The weight gradient: positions of a box, the depth of a tile (64 to 256 channels at 8x56x56: 820 positions 5.50 ms,
#: 1640 5.39, 2460 5.39; 256 to 1024 at 8x14x14: 5.31, 5.08, 5.10; 16 to 16, 3x3 taps, 32x16x16: 232, 234, 241 us);
#: bytes of the packed input cells of a box, bytes of all partial products, work items wanted (the partition must not
#: know the number of threads), and the panels of columns below which packing the other side would show, or reading it
#: again where it lies (256 to 512 channels at 8x28x28: 6 panels 13.8 ms, 2 panels, 8 MB of products less, 13.2).
GRADIENT_POSITIONS = CACHES[0] // 30
GRADIENT_PANEL_BYTES = int(CACHES[1] * 0.45)
GRADIENT_PRODUCT_BYTES = 8 << 20
GRADIENT_ITEMS = 16
GRADIENT_LEAST_PANELS = (6, 2)

#: Cells of a box that are packed in the time in which an element of a result that lies the wrong way is put in its
#: place: 0.3 ns (8x256x56x56 to 64 channels), and 4.3 ns (8x2048x7x7 to 512).
GRADIENT_TURN_CELLS = 16

#: Work that is worth a thread of its own, which takes some microseconds to start: FLOPs of a product (6 to 10 us),
#: cells of a pooling gradient, as long as two of which an index takes to be read (64x16x10x10 2x2: 0.19 and 0.40 ns).
THREAD_FLOPS = 1_000_000
GRADIENT_THREAD_CELLS = 16384
GRADIENT_INDEX_CELLS = 2

#: Pooling gradients: rows are made in a first-level cache beside what they are made of. Results that no cache keeps
#: go past them to memory: one core takes for windows of 2x2, by way of the caches and past them, 1.57 and 1.57 ms at
#: 26 MB, 20.7 and 16.2 at 205 MB, 3x3 with stride 2 2.2 and 2.4 at 31 MB, 21.7 and 17.9 at 205 MB.
GRADIENT_BAND_BYTES = 16 << 10
GRADIENT_STREAM_BYTES = 64 << 20

#: Averages of planes of up to so many cells, in up to so many windows along an axis, are picked from all over the
#: plane: tables, a cache line or two for each vector and tap, stay in the first-level cache. Cycles for 16 cells, by
#: rows and picked: 3x3 at 17x17, 57 and 26, with stride 2 at 8x8, 81 and 18, 5x5 with stride 3 at 17x17, 35 and 12,
#: 2x2 at 28x28, 17 and 10; 3x3 at 35x35, 40 and 43.
GRADIENT_PICK_CELLS = 1024
GRADIENT_PICK_TAPS = 4

#: The sliding kernel: block of gathered input cells of one box. Three quarters of the first-level cache; where that
#: would make boxes too small, a quarter of the second-level cache.
SLIDING_BLOCK_BYTES = CACHES[0] * 3 // 4
SLIDING_LARGE_BLOCK_BYTES = CACHES[1] // 4
#: Bytes of neighbouring channels that a box takes when vectors run along the channels.
SLIDING_CHANNEL_BYTES = 256
#: The same where all rows are read by one vector after the other: lines between two of theirs come along, and are
#: used before they leave (96x112x112 3x3 stride 2: 256 bytes 425 us, 1024 335; 144x56x56: 327 and 266).
STREAM_CHANNEL_BYTES = 1024
#: Scratch of all threads together; a call runs on fewer threads rather than take more.
SLIDING_SCRATCH_BYTES = 32 << 20
#: Beyond these the block of one row of outputs no longer fits into the first-level caches.
SLIDING_MOST_INPUTS = 16
SLIDING_MOST_TAPS = 1 << 16

#: Costs of the sliding kernel in cycles: a multiply-add of a vector (with 16 registers a tile has half the vectors),
#: beginning an input channel of it (in relation to the dense kernel, 90 layers of 1 to 16 channels to 1 to 32 in each
#: of 1 to 64 groups, planes of 7x7 to 180x180: what is chosen takes 1.020 times the quicker one's time, 1.046 with 3
#: cycles and 1.031 with 7), the factor of tiles with less than their seven rows; starting and storing a vector, once
#: per pass; filling a vector of the block; an item; and in place, at a stride of 2, sorting out every second cell
#: (the same layers: 0.68 to 1.3 are equal; 3x3 to 11x11 with 3 to 8 channels took 1.9 to 1.35 times the estimate
#: without).
SLIDING_STEP_CYCLES = (1.1 if VECTOR_BYTES == 64 else 1.35) * DENSE_STEP_CYCLES
SLIDING_CHANNEL_CYCLES = 5.0
SLIDING_LOW_FACTOR = 2.0
SLIDING_STORE_CYCLES = 3.0
SLIDING_FILL_CYCLES = 3.0
SLIDING_ITEM_CYCLES = 150.0
SLIDING_SCATTER_CYCLES = 1.5
SLIDING_SORT_CYCLES = 1.0
#: What it can rarely pass, the third-level cache, and the cycles that are worth a thread of their own.
SLIDING_BANDWIDTH = 100e9
SLIDING_THREAD_CYCLES = 20e3
#: Rows of a wide image that are done at a time from left to right: few enough to be in the second-level cache.
SLIDING_STRIP_ROWS = 14

#: The bound on scratch memory of one call, all threads together.
SCRATCH_BYTES = 32 << 20

#: Leaving one parallel loop and entering the next.
BARRIER_SECONDS = 4e-6

#: F(m, r) of the Winograd path, with the relative L2 error against float64 that was measured in float32 at 64 input
#: channels (normal data), and the error beyond which a form is not used. F(7, 2), 3.9e-6, was never
#: the quickest, and two taps along one axis gained nothing (64 to 512 channels).
WINOGRAD_PLANAR = {
    (3, 2): 2.5e-7, (5, 2): 8.9e-7, (2, 3): 2.6e-7, (4, 3): 7.5e-7, (5, 3): 1.6e-6, (6, 3): 3.3e-6, (3, 4): 7.8e-7,
    (4, 4): 1.5e-6, (5, 4): 3e-6, (2, 5): 8.7e-7, (4, 5): 2.9e-6, (2, 7): 3.8e-6,
}  # fmt: skip
WINOGRAD_LINEAR = {
    (4, 3): 3.4e-7, (6, 3): 6.5e-7, (5, 4): 7.3e-7, (2, 5): 4e-7, (4, 5): 6.5e-7, (2, 7): 7.8e-7, (4, 7): 1.5e-6,
}  # fmt: skip
#: The same at a stride of 2 along both axes.
WINOGRAD_STRIDED = {(4, 3): 4.5e-7}
#: The same with weights that are transformed as they are multiplied, and the operations that this adds to each step:
#: 12, and loads for three more (512 to 512 channels of 7x7: 985 -> 860 us, 1917 -> 1460 where other data came between
#: the calls; the way that the estimate prefers takes 1.012 times the better one's time: 75 random layers up to 24x24,
#: float32 and float64).
WINOGRAD_FRESH = {(4, 3): 7.8e-7}
WINOGRAD_FRESH_STEPS = 15.0
WINOGRAD_ERROR = 7e-6
#: The part of its sections that the taps of a kernel fill, along an axis, at least; and the products, in those of the
#: form with the fewest, of one whose sections have another size, at most. With more sections the FFT is quicker by
#: far (36 of them, 16 to 16 channels, 21x21: 2.6 times; 64, 64 to 64, 31x31: 2.2), and planning takes long (255x255:
#: 54 ms).
WINOGRAD_FILLED = 0.75
WINOGRAD_PRODUCTS = 1.5
WINOGRAD_SECTIONS = 128

#: Packed weights that serve one call, at a time: so much of the memory that is kept between calls (51 MB of 512 x 512
#: kernels of 3x3 at once came in new pages each time: packing took 10.8 ms, 5.2 in three parts, which read the input
#: again each, 2 ms; and a training step of VGG-11 needs 18 MiB less).
WINOGRAD_ONCE_BYTES = 20 << 20

#: Tiles of a box: more do not make the tile loops better, and leave less for the threads.
WINOGRAD_MOST_TILES = 128

#: Input cells that are gathered before they are transformed: half a first-level cache.
WINOGRAD_CHUNK_BYTES = 16 << 10

#: Cycles, in units of the dense model, fitted to 896 calls of 309 layers of 3x3 in every form (float32, 16 to 512
#: channels, 7x7 to 90x90, at strides of 1 and 2, one core): per vector of a frequency, transforming, storing and
#: collecting it in pieces; where a vector holds channels, in the place of pieces, per cell, turning it; starting,
#: storing and loading a row of a product; making and storing a result; per byte of the transformed input, reading it
#: again if it left the second-level cache; a multiply-add of a product. (What is chosen takes 1.011 times the time of
#: the better of Winograd and direct; at a stride of 2, 1.029 with 2.8 and 6.0 for the first two. The form that the
#: estimate prefers is on average 0.7 % slower than the best one. Where a vector holds tiles, they change no choice to
#: a worse one: 14 layers with dilation, direct taps or few channels, avx512 and baseline.)
WINOGRAD_INPUT_CYCLES = 5.5
WINOGRAD_CELL_CYCLES = 12.0
WINOGRAD_TILE_CYCLES = 4.05
WINOGRAD_STORE_CYCLES = 1.6
WINOGRAD_SPILL_CYCLES = 0.063
WINOGRAD_STEP_CYCLES = 0.9 * DENSE_STEP_CYCLES
#: A cell that is gathered by itself, where tiles are further apart than the patterns that sort rows reach (3 to 16
#: channels, 8x8 at a stride of 3, 183x183: F(6, 3) 381 us, F(4, 3) 203).
WINOGRAD_GATHER_CYCLES = 6.0
#: A row of input cells or results that a dilation puts apart (38 to 130 for rows of 6 to 56 cells, 2 to 6 apart).
WINOGRAD_APART_CYCLES = 90.0
#: A row of input cells or results that one more box begins (105 layers, the boxes of the nine to twelve best
#: estimates: 1.040 times the best one's time with 0, 1.025 with 10 to 25, 1.029 with 60; two threads, for which rows
#: were cut in halves: 1x80x159x160 to 16, 1x7, 1.29 times).
WINOGRAD_ROW_CYCLES = 20.0

#: The same per byte that another core has just written: threads that share a box (what was lost against half the time
#: of one thread: 1.1 to 1.7 for 64 to 256 channels, 14x14 to 56x56, 0.6 to 1.3 MB per box).
WINOGRAD_SHARE_CYCLES = 1.15

#: Bytes per cycle at which weights stream from the second level, the third level, memory (same fit; the third level
#: was shared with other work), and the part of the shorter of multiplying and streaming that is not hidden.
WINOGRAD_STREAM = (64.0, 8.0, 6.0)
WINOGRAD_OVERLAP = 0.1
#: What is used again after more than this share of the second-level cache begins to miss there, and all of it does
#: beyond the second share (same fit: boxes of a fifth of the cache were up to 25 % quicker than those of a half).
WINOGRAD_ROOM = (0.1, 1.6)

#: F(m, r) of the weight gradient at a stride, with the relative L2 error that was measured in float32 (normal data,
#: 64 to 256 channels; it does not grow with them). F(6, 3), 4e-6, was never quicker than F(4, 3) or F(5, 3), nor
#: F(7, 3) at a stride of 2 than F(4, 3): 225 frequencies are too many to add up.
WINOGRAD_GRADIENT = {
    (2, 3, 1): 3.6e-7, (4, 3, 1): 1.0e-6, (5, 3, 1): 1.7e-6, (2, 5, 1): 1.0e-6, (4, 5, 1): 3.6e-6, (2, 7, 1): 4.4e-6,
    (4, 3, 2): 4.5e-7,
}  # fmt: skip

#: Transformed values of a box of tiles: products take the rest of the bound on scratch. A block of a product: four
#: tiles of 12 outputs, whose gradients are 3 cache lines per step, and half of a second-level cache (of 48 to 176
#: outputs and 0.7 to 2.2 MB, the smaller ones were 3 to 15 % quicker for 256 and 512 channels).
WINOGRAD_GRADIENT_BYTES = SCRATCH_BYTES * 3 // 4
WINOGRAD_GRADIENT_OUTPUTS = 48
WINOGRAD_GRADIENT_PRODUCT_BYTES = CACHES[1] // 2

#: Segments of boxes from which on a thread does a segment by itself; with fewer, threads share each box and wait for
#: one another twice per box.
WINOGRAD_GRADIENT_SEGMENTS = 4

#: Cycles of the weight gradient, fitted to 52 calls (16 to 512 channels, 7x7 to 64x64, batch 8 to 32, root mean
#: square deviation 7 %, in units of the dense model): a multiply-add of a vector in Winograd's product; laying a
#: vector of cells out and transforming it; per frequency, for each vector of weights and each box, transforming back
#: and adding. The same of 13 direct ones: a multiply-add; adding a vector of the product, once per box of positions,
#: if all of it stays in the second-level cache and if not (512 to 512 channels at 7x7: 9 ms instead of 4).
WINOGRAD_GRADIENT_STEP_CYCLES = 1.3 * DENSE_STEP_CYCLES
WINOGRAD_GRADIENT_CELL_CYCLES = 24.0
WINOGRAD_GRADIENT_COLLECT_CYCLES = 4.4
GRADIENT_STEP_CYCLES = 1.3 * DENSE_STEP_CYCLES
GRADIENT_ADD_CYCLES = (0.8, 7.0)

#: Bytes of phases that wait in scratch to be woven: several times the second-level cache (with one image at a time
#: the calls cost more than the cache saves: 19.5 ms, not 17.8, for 8x128x28x28 to 56x56; 11.9 at half of it, 11.6
#: here; the number must not follow the threads, for an algorithm is chosen by the number of images).
WEAVE_BYTES = 8 * CACHES[1]

#: Outputs that a convolution for several phases may compute for each that is wanted: from 2 cells on, whose phases
#: of 2 taps are 3 cells.
TRANSPOSED_EXCESS = 1.5

#: The weight gradient on cells with their channels side by side: cells of a band of positions, in the second-level
#: cache; vectors of rows of taps in relation to those of patches, of which none but the last is partly empty (1.3 for
#: groups of 8 and 3x3: 2.3 ms instead of 5.7; 1.5 for 3 channels and 7x7: 19 instead of 17).
ROW_GRADIENT_BYTES = CACHES[1] // 2
ROW_GRADIENT_EXCESS = 1.35

#: Products of matrices as they lie, beside a convolution with kernels of one cell (16 to 256 rows, 96 to 4096
#: columns): rows of a batch up to which they were quicker; where lanes are added in the end, while the batch stays
#: in the second-level cache and its rows are not too short for their number.
PRODUCT_ROWS = 256
PRODUCT_DOT_BYTES = CACHES[1] // 4
PRODUCT_DOT_ROWS = 32
#: Bytes of a row of columns that are done at a time.
PRODUCT_CHUNK_BYTES = 2048

#: Bytes of input and result, as they are computed, of one band of a convolution whose arrays are stored in 16 bits.
#: Images are joined up to the first size (16x64x56x56 to 256, 1x1: 1.9 times the time of float32 with 0.5 MiB, 1.3
#: with 4 MiB, 1.8 at once). One image is split from the second one on, which bounds the memory alone: a band takes
#: 50 us of its own, and what it saves in traffic is less (3 to 64 channels, 224x224, 3x3: 2.8 times the time of
#: float32 with 0.5 MiB, 2.0 with 4 MiB, 1.5 at once).
BAND_IMAGES_BYTES = 4 << 20
BAND_BYTES = 16 << 20
#: Rows of a band are a multiple of it: whole tiles of the Winograd path.
BAND_ROWS = 12

#: Images with channels last that are turned into planes at a time, with their results: they stay in the second-level
#: cache if possible. Cycles for each cell that is turned, in the units of the dense model.
TURN_BYTES = CACHES[1] // 2
TURN_CYCLES = 0.8
