/* What pooling needs of vectors beyond simd.h: the larger of two, choices by comparison, every second lane. */
#ifndef CYCONV_LANES_H
#define CYCONV_LANES_H
#include "simd.h"

/* The larger one, lane by lane, b if either is NaN: an instruction that no vector expression of C compiles to. */
#if defined(__SSE4_1__)
#include <immintrin.h>
#if defined(CYCONV_REAL_f64)
#define CYCONV_LANE_NAME pd
#elif defined(CYCONV_REAL_i8)
#define CYCONV_LANE_NAME epi8
#elif defined(CYCONV_REAL_u8)
#define CYCONV_LANE_NAME epu8
#elif defined(CYCONV_REAL_i16)
#define CYCONV_LANE_NAME epi16
#elif defined(CYCONV_REAL_u16)
#define CYCONV_LANE_NAME epu16
#elif defined(CYCONV_REAL_i32)
#define CYCONV_LANE_NAME epi32
#elif defined(CYCONV_REAL_u32)
#define CYCONV_LANE_NAME epu32
#elif defined(CYCONV_REAL_i64)
#define CYCONV_LANE_NAME epi64
#elif defined(CYCONV_REAL_u64)
#define CYCONV_LANE_NAME epu64
#else
#define CYCONV_LANE_NAME ps
#endif
#if CYCONV_VEC_BYTES == 64
#define CYCONV_MAX_NAME _mm512_max_
typedef union { vec_t v; __m512 ps; __m512d pd; __m512i epi8, epu8, epi16, epu16, epi32, epu32, epi64, epu64; } lanes_t;
#elif CYCONV_VEC_BYTES == 32
#define CYCONV_MAX_NAME _mm256_max_
typedef union { vec_t v; __m256 ps; __m256d pd; __m256i epi8, epu8, epi16, epu16, epi32, epu32; } lanes_t;
#else
#define CYCONV_MAX_NAME _mm_max_
typedef union { vec_t v; __m128 ps; __m128d pd; __m128i epi8, epu8, epi16, epu16, epi32, epu32; } lanes_t;
#endif
#define CYCONV_JOIN_(a, b) a##b
#define CYCONV_JOIN(a, b) CYCONV_JOIN_(a, b)
#endif

#if defined(CYCONV_MAX_NAME) && (CYCONV_VEC_BYTES == 64 || CYCONV_REAL_IS_FLOAT || CYCONV_REAL_SIZE < 8)
static inline vec_t vlarger(vec_t a, vec_t b) {
    lanes_t x = {.v = a}, y = {.v = b};
    x.CYCONV_LANE_NAME = CYCONV_JOIN(CYCONV_MAX_NAME, CYCONV_LANE_NAME)(x.CYCONV_LANE_NAME, y.CYCONV_LANE_NAME);
    return x.v;
}
#else
static inline vec_t vlarger(vec_t a, vec_t b) { return vselect((ivec_t)(a > b), a, b); }
#endif

/* a where a is NaN, else m. */
#if CYCONV_REAL_IS_FLOAT && CYCONV_VEC_BYTES == 64
static inline vec_t vkeep_nan(vec_t a, vec_t m) {
    lanes_t x = {.v = a}, y = {.v = m};
    y.CYCONV_LANE_NAME = CYCONV_JOIN(_mm512_mask_mov_, CYCONV_LANE_NAME)(
        y.CYCONV_LANE_NAME,
        CYCONV_JOIN(CYCONV_JOIN(_mm512_cmp_, CYCONV_LANE_NAME), _mask)(x.CYCONV_LANE_NAME, x.CYCONV_LANE_NAME, _CMP_UNORD_Q),
        x.CYCONV_LANE_NAME);
    return y.v;
}
#elif CYCONV_REAL_IS_FLOAT && CYCONV_VEC_BYTES == 32
static inline vec_t vkeep_nan(vec_t a, vec_t m) {
    lanes_t x = {.v = a}, y = {.v = m};
    y.CYCONV_LANE_NAME = CYCONV_JOIN(_mm256_blendv_, CYCONV_LANE_NAME)(
        y.CYCONV_LANE_NAME, x.CYCONV_LANE_NAME,
        CYCONV_JOIN(_mm256_cmp_, CYCONV_LANE_NAME)(x.CYCONV_LANE_NAME, x.CYCONV_LANE_NAME, _CMP_UNORD_Q));
    return y.v;
}
#elif CYCONV_REAL_IS_FLOAT
static inline vec_t vkeep_nan(vec_t a, vec_t m) { return vselect((ivec_t)(a != a), a, m); }
#endif

/* Minus infinity, or the smallest integer. */
static inline real_t lowest(void) {
    if (CYCONV_REAL_IS_FLOAT) return (real_t)-__builtin_inf();
    return (real_t)-1 > 0 ? 0 : (real_t)((uint64_t)1 << (8 * CYCONV_REAL_SIZE - 1));
}

/* A maximum lets NaN through. A candidate c replaces v ("beats") if it is larger, or the first NaN. */
#if CYCONV_REAL_IS_FLOAT
static inline real_t maximum(real_t a, real_t b) { return a > b || a != a ? a : b; }
static inline vec_t vmaximum(vec_t a, vec_t b) { return vkeep_nan(a, vlarger(a, b)); }
static inline int beats(real_t c, real_t v) { return c > v || (c != c && v == v); }
static inline int ties(real_t a, real_t b) { return a == b || (a != a && b != b); }
static inline ivec_t vbeats(vec_t c, vec_t v) { return (ivec_t)(c > v) | ((ivec_t)(c != c) & (ivec_t)(v == v)); }
static inline ivec_t vties(vec_t a, vec_t b) { return (ivec_t)(a == b) | ((ivec_t)(a != a) & (ivec_t)(b != b)); }
#else
static inline real_t maximum(real_t a, real_t b) { return a > b ? a : b; }
static inline vec_t vmaximum(vec_t a, vec_t b) { return vlarger(a, b); }
static inline int beats(real_t c, real_t v) { return c > v; }
static inline int ties(real_t a, real_t b) { return a == b; }
static inline ivec_t vbeats(vec_t c, vec_t v) { return (ivec_t)(c > v); }
static inline ivec_t vties(vec_t a, vec_t b) { return (ivec_t)(a == b); }
#endif

/* Integers in the lanes of the scalar type. */
static inline ivec_t ivload(const lane_int_t *p) {
    ivec_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void ivstore(lane_int_t *p, ivec_t v) { memcpy(p, &v, sizeof v); }
static inline ivec_t ivset(lane_int_t x) { return x - (ivec_t){0}; }
static inline ivec_t ivselect(ivec_t mask, ivec_t a, ivec_t b) { return (a & mask) | (b & ~mask); }
static inline ivec_t ivless(ivec_t a, ivec_t b) { return (ivec_t)(a < b); }
static inline ivec_t ivcount(int first, int step) {
    ivec_t lanes;
    for (int l = 0; l < CYCONV_VL; l++) lanes[l] = (lane_int_t)(first + step * l);
    return lanes;
}

/* The first n lanes of v to memory, n < VL. */
static inline void vstore_part(real_t *p, vec_t v, int n) {
    const char *from = (const char *)&v;
    char *to = (char *)p;
    int bytes = n * (int)sizeof(real_t);
#define CYCONV_PIECE(size)           \
    if (bytes & (size)) {            \
        memcpy(to, from, size);      \
        to += (size), from += (size); \
    }
    if (CYCONV_VEC_BYTES > 32) CYCONV_PIECE(32)
    if (CYCONV_VEC_BYTES > 16) CYCONV_PIECE(16)
    CYCONV_PIECE(8)
    if (CYCONV_REAL_SIZE < 8) CYCONV_PIECE(4)
    if (CYCONV_REAL_SIZE < 4) CYCONV_PIECE(2)
    if (CYCONV_REAL_SIZE < 2) CYCONV_PIECE(1)
#undef CYCONV_PIECE
}

/* Loops that are worth a call: compiled once, not into every caller. Cython writes "inline" before all that is shared. */
#pragma GCC diagnostic ignored "-Wattributes"
#define CYCONV_APART __attribute__((noinline)) void

/* Lanes from first to before stop of v, the others replaced. */
static inline vec_t vpart(vec_t v, int first, int stop, real_t other) {
    ivec_t lanes = ivcount(0, 1);
    ivec_t kept = (ivec_t)(lanes >= ivset((lane_int_t)first)) & (ivec_t)(lanes < ivset((lane_int_t)stop));
    return vselect(kept, v, vset(other));
}

#endif
