/* The vector type of the kernels.  This is the only file that knows the compiler.
 *
 * A kernel is compiled once per scalar type and per instruction set.  The build writes a stub that defines
 * CYCONV_REAL_<type> and includes the C file of the kernel; the instruction set is what the compiler flags say.
 *
 *      real_t      the scalar:   float, double, (u)int8..64
 *      vec_t       a register:   VL scalars
 *      ivec_t      a comparison of two vec_t: VL integers, 0 or -1
 *
 * Vectors are GNU vector extensions (gcc, clang): arithmetic, comparison and ?: work element by element.
 */
#ifndef CYCONV_SIMD_H
#define CYCONV_SIMD_H
#include <stdint.h>
#include <string.h>

#if defined(CYCONV_REAL_f64)
typedef double real_t;
typedef int64_t lane_int_t;
#define CYCONV_REAL_SIZE 8
#define CYCONV_REAL_IS_FLOAT 1
#elif defined(CYCONV_REAL_i8)
typedef int8_t real_t;
typedef int8_t lane_int_t;
#define CYCONV_REAL_SIZE 1
#elif defined(CYCONV_REAL_u8)
typedef uint8_t real_t;
typedef int8_t lane_int_t;
#define CYCONV_REAL_SIZE 1
#elif defined(CYCONV_REAL_i16)
typedef int16_t real_t;
typedef int16_t lane_int_t;
#define CYCONV_REAL_SIZE 2
#elif defined(CYCONV_REAL_u16)
typedef uint16_t real_t;
typedef int16_t lane_int_t;
#define CYCONV_REAL_SIZE 2
#elif defined(CYCONV_REAL_i32)
typedef int32_t real_t;
typedef int32_t lane_int_t;
#define CYCONV_REAL_SIZE 4
#elif defined(CYCONV_REAL_u32)
typedef uint32_t real_t;
typedef int32_t lane_int_t;
#define CYCONV_REAL_SIZE 4
#elif defined(CYCONV_REAL_i64)
typedef int64_t real_t;
typedef int64_t lane_int_t;
#define CYCONV_REAL_SIZE 8
#elif defined(CYCONV_REAL_u64)
typedef uint64_t real_t;
typedef int64_t lane_int_t;
#define CYCONV_REAL_SIZE 8
#else
typedef float real_t;
typedef int32_t lane_int_t;
#define CYCONV_REAL_SIZE 4
#define CYCONV_REAL_IS_FLOAT 1
#endif
#ifndef CYCONV_REAL_IS_FLOAT
#define CYCONV_REAL_IS_FLOAT 0
#endif

/* Register width, and the rows and vectors of the register tile.  Rows x vectors are the accumulators; a row of
 * vectors of B and one broadcast of A must fit beside them in the 32 (AVX-512, NEON) or 16 registers. */
#if defined(__AVX512F__)
#define CYCONV_VEC_BYTES 64
#define CYCONV_TILE_ROWS 14
#elif defined(__AVX__)
#define CYCONV_VEC_BYTES 32
#define CYCONV_TILE_ROWS 6
#elif defined(__aarch64__)
#define CYCONV_VEC_BYTES 16
#define CYCONV_TILE_ROWS 12
#else
#define CYCONV_VEC_BYTES 16
#define CYCONV_TILE_ROWS 6
#endif

/* Vector registers of the instruction set. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define CYCONV_REGISTERS 32
#else
#define CYCONV_REGISTERS 16
#endif

#define CYCONV_VL (CYCONV_VEC_BYTES / CYCONV_REAL_SIZE)

/* may_alias: a vector access to an array of scalars is not a strict-aliasing violation.
 * aligned:   the access type for addresses that are only aligned like a scalar. */
typedef real_t vec_t __attribute__((vector_size(CYCONV_VEC_BYTES), may_alias));
typedef real_t unaligned_vec_t __attribute__((vector_size(CYCONV_VEC_BYTES), may_alias, aligned(CYCONV_REAL_SIZE)));
typedef lane_int_t ivec_t __attribute__((vector_size(CYCONV_VEC_BYTES), may_alias));

static inline vec_t vload(const real_t *p) { return *(const unaligned_vec_t *)p; }
static inline void vstore(real_t *p, vec_t v) { *(unaligned_vec_t *)p = v; }
/* x - 0 is x for every x, signed zeros and NaN included; x + 0 is not. */
static inline vec_t vset(real_t x) { return x - (vec_t){0}; }
static inline vec_t vzero(void) { return (vec_t){0}; }
/* mask ? a : b, lane by lane; a mask comes from a comparison. */
static inline vec_t vselect(ivec_t mask, vec_t a, vec_t b) {
    return (vec_t)(((ivec_t)a & mask) | ((ivec_t)b & ~mask));
}
/* A comparison with NaN is false: these three keep a v that is NaN. */
static inline vec_t vat_least(vec_t v, vec_t lo) { return vselect(v < lo, lo, v); }
static inline vec_t vat_most(vec_t v, vec_t hi) { return vselect(v > hi, hi, v); }
static inline vec_t vleaky(vec_t v, vec_t slope) { return vselect(v < vzero(), v * slope, v); }

/* The activation: v < 0 ? slope v : v, clipped to [lo, hi]. */
static inline vec_t vactivate(vec_t v, vec_t slope, vec_t lo, vec_t hi) {
    return vat_most(vat_least(vleaky(v, slope), lo), hi);
}

/* Lanes first, first + 2, first + 4, ... of the 2 VL lanes of a and b. */
static inline vec_t vevery_second(vec_t a, vec_t b, int first) {
#if defined(__clang__)
    vec_t r;
    for (int l = 0; l < CYCONV_VL / 2; l++) {
        r[l] = a[first + 2 * l];
        r[CYCONV_VL / 2 + l] = b[first + 2 * l];
    }
    return r;
#else
    ivec_t lanes;
    for (int l = 0; l < CYCONV_VL; l++) lanes[l] = (lane_int_t)(first + 2 * l);
    return __builtin_shuffle(a, b, lanes);
#endif
}

/* Cells that lie `step` scalars apart. */
static inline vec_t vload_apart(const real_t *p, int64_t step) {
    vec_t r;
    for (int l = 0; l < CYCONV_VL; l++) r[l] = p[l * step];
    return r;
}

/* The same vector, in a register from here on: without this, compilers load it again from memory for each use. */
static inline vec_t vhold(vec_t v) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__x86_64__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* The same pointer, of which the compiler no longer knows where it comes from: one register for all that is read from it,
 * where compilers would keep the address of each load in one of its own, or in memory. */
static inline const real_t *hold_pointer(const real_t *p) {
    __asm__("" : "+r"(p));
    return p;
}

/* Copy fewer scalars than a vector holds (at least one): pieces of fixed sizes, the last overlaps the one before. */
static inline void vcopy_part(real_t *to, const real_t *from, int64_t count) {
    const long bytes = count * (long)sizeof(real_t);
    char *t = (char *)to;
    const char *f = (const char *)from;
    if (bytes >= 32) {
        memcpy(t, f, 32);
        memcpy(t + bytes - 32, f + bytes - 32, 32);
    } else if (bytes >= 16) {
        memcpy(t, f, 16);
        memcpy(t + bytes - 16, f + bytes - 16, 16);
    } else if (bytes >= 8) {
        memcpy(t, f, 8);
        memcpy(t + bytes - 8, f + bytes - 8, 8);
    } else {
        for (int64_t i = 0; i < count; i++) to[i] = from[i];
    }
}

/* Subnormal numbers count as zero between these two calls: where they appear, processors take a hundred cycles for an
 * instruction that takes half of one. The mode belongs to the thread; what it was is given back. */
#if defined(__x86_64__) || defined(__i386__)
static inline uint64_t flush_subnormals(void) {
    uint32_t before, mode;
    __asm__ volatile("stmxcsr %0" : "=m"(before) : : "memory");
    mode = before | 0x8040;
    __asm__ volatile("ldmxcsr %0" : : "m"(mode) : "memory");
    return before;
}
static inline void restore_mode(uint64_t before) {
    uint32_t mode = (uint32_t)before;
    __asm__ volatile("ldmxcsr %0" : : "m"(mode) : "memory");
}
#elif defined(__aarch64__)
static inline uint64_t flush_subnormals(void) {
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (1 << 24)) : "memory");
    return before;
}
static inline void restore_mode(uint64_t before) {
    __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}
#else
static inline uint64_t flush_subnormals(void) { return 0; }
static inline void restore_mode(uint64_t before) { (void)before; }
#endif

/* The type of functions whose loops must see constant trip counts: they are expanded where they are called. */
#define CYCONV_INLINED __attribute__((always_inline)) void
#define CYCONV_OUTLINED void __attribute__((noinline))

/* What the compiler may rely on. */
#define CYCONV_ASSUME(fact) do { if (!(fact)) __builtin_unreachable(); } while (0)

/* Into the first and into the second level of the cache; the last for what will be written. */
#define CYCONV_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define CYCONV_PREFETCH_FAR(p) __builtin_prefetch((p), 0, 2)
#define CYCONV_PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 2)

#endif
