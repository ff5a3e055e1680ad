/* What pooling needs of vectors beyond simd.h: the larger of two, choices by comparison, every second lane. */
#ifndef CYCONV_LANES_H
#define CYCONV_LANES_H
#include <stddef.h>
#include "simd.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
    /* One instruction that replaces by class: 1 and 2, the last two digits of the table, take a NaN from a. */
    lanes_t x = {.v = a}, y = {.v = m};
#if CYCONV_REAL_SIZE == 8
    y.pd = _mm512_fixupimm_pd(y.pd, x.pd, _mm512_set1_epi64(0x21), 0);
#else
    y.ps = _mm512_fixupimm_ps(y.ps, x.ps, _mm512_set1_epi32(0x21), 0);
#endif
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
#else
static inline vec_t vkeep_nan(vec_t a, vec_t m) { return m; }
#endif

/* Whether all lanes are zero. */
static inline int vall_zero(vec_t v) {
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_IS_FLOAT
    lanes_t x = {.v = v};
#if CYCONV_REAL_SIZE == 8
    return _mm512_cmp_pd_mask(x.pd, _mm512_setzero_pd(), _CMP_NEQ_UQ) == 0;
#else
    return _mm512_cmp_ps_mask(x.ps, _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0;
#endif
#else
    ivec_t other = (ivec_t)(v != vzero());
    int64_t word[CYCONV_VEC_BYTES / 8], any = 0;
    memcpy(word, &other, sizeof word);
    for (int i = 0; i < CYCONV_VEC_BYTES / 8; i++) any |= word[i];
    return any == 0;
#endif
}

/* Whether vectors had no NaN, pair by pair. Without comparisons into masks, sums tell: of all instructions that let NaN
 * through, additions wait for each other the least. They also tell where infinities of both signs meet. */
#if CYCONV_REAL_IS_FLOAT && CYCONV_VEC_BYTES == 64
#if CYCONV_REAL_SIZE == 8
typedef __mmask8 clean_t;
#else
typedef __mmask16 clean_t;
#endif
static inline clean_t vclean(void) { return (clean_t)-1; }
static inline clean_t vstill_clean(clean_t c, vec_t a, vec_t b) {
    lanes_t x = {.v = a}, y = {.v = b};
#if CYCONV_REAL_SIZE == 8
    return _mm512_mask_cmp_pd_mask(c, x.pd, y.pd, _CMP_ORD_Q);
#else
    return _mm512_mask_cmp_ps_mask(c, x.ps, y.ps, _CMP_ORD_Q);
#endif
}
static inline int vis_clean(clean_t c) { return c == (clean_t)-1; }
#elif CYCONV_REAL_IS_FLOAT
typedef vec_t clean_t;
static inline clean_t vclean(void) { return vzero(); }
static inline clean_t vstill_clean(clean_t c, vec_t a, vec_t b) { return c + (a + b); }
static inline int vis_clean(clean_t c) { return vall_zero(vkeep_nan(c, vzero())); }
#else
typedef int clean_t;
static inline clean_t vclean(void) { return 1; }
static inline clean_t vstill_clean(clean_t c, vec_t a, vec_t b) { return c; }
static inline int vis_clean(clean_t c) { return c; }
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

/* v and its place p become c and q where c beats v. */
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_IS_FLOAT
static inline void vtake(vec_t *v, ivec_t *p, vec_t c, ivec_t q) {
    /* Larger or NaN, where v is not. */
    lanes_t x = {.v = *v}, y = {.v = c};
#if CYCONV_REAL_SIZE == 8
    __mmask8 better = _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(x.pd, x.pd, _CMP_ORD_Q), y.pd, x.pd, _CMP_NLE_UQ);
    x.pd = _mm512_mask_mov_pd(x.pd, better, y.pd);
    *p = (ivec_t)_mm512_mask_mov_epi64((__m512i)*p, better, (__m512i)q);
#else
    __mmask16 better = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(x.ps, x.ps, _CMP_ORD_Q), y.ps, x.ps, _CMP_NLE_UQ);
    x.ps = _mm512_mask_mov_ps(x.ps, better, y.ps);
    *p = (ivec_t)_mm512_mask_mov_epi32((__m512i)*p, better, (__m512i)q);
#endif
    *v = x.v;
}
#else
static inline void vtake(vec_t *v, ivec_t *p, vec_t c, ivec_t q) {
    ivec_t better = vbeats(c, *v);
    *v = vselect(better, c, *v);
    *p = (q & better) | (*p & ~better);
}
#endif

/* v / by, where inverse is 1 / by rounded: with a fused multiply-add, one step of Newton's makes the product with it the
 * rounded quotient (Markstein), three instructions where a division takes the time of ten. Infinities become NaN.
 * FUSED: whether it is so, and quotients are worth taking between other work. */
#if CYCONV_REAL_IS_FLOAT && (defined(__FMA__) || defined(__aarch64__))
#define CYCONV_FUSED 1
static inline vec_t vquotient(vec_t v, vec_t by, vec_t inverse) {
    vec_t q = v * inverse;
    return q + (v - q * by) * inverse;
}
#else
#define CYCONV_FUSED 0
static inline vec_t vquotient(vec_t v, vec_t by, vec_t inverse) { return v / by; }
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

/* Whether one of the first n lanes is negative. */
static inline int ivnegative(ivec_t v, int n) {
    uint64_t lanes = 0;
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_SIZE == 8
    lanes = _mm512_movepi64_mask((__m512i)v);
#elif CYCONV_VEC_BYTES == 64 && CYCONV_REAL_SIZE == 4
    lanes = _mm512_movepi32_mask((__m512i)v);
#else
    for (int l = 0; l < CYCONV_VL; l++) lanes |= (uint64_t)(v[l] < 0) << l;
#endif
    return (lanes & (~(uint64_t)0 >> (64 - n))) != 0;
}
static inline ivec_t ivadd(ivec_t a, ivec_t b) { return a + b; }
/* first, first + step, first + 2 step, ... */
static inline ivec_t ivscaled(lane_int_t first, lane_int_t step) { return first + ivcount(0, 1) * step; }

/* Lanes from first to before stop, which may lie outside of the vector. */
static inline ivec_t ivlanes(ptrdiff_t first, ptrdiff_t stop) {
    ivec_t lanes = ivcount(0, 1);
    first = first < 0 ? 0 : first < CYCONV_VL ? first : CYCONV_VL;
    stop = stop < 0 ? 0 : stop < CYCONV_VL ? stop : CYCONV_VL;
    return (ivec_t)(lanes >= ivset((lane_int_t)first)) & (ivec_t)(lanes < ivset((lane_int_t)stop));
}

/* Lanes n, n + 1, ... of a and then those of b, VL of them; n is a constant from 1 to VL - 1. */
static inline __attribute__((always_inline)) vec_t vshift(vec_t a, vec_t b, int n) {
#if defined(__clang__)
    vec_t r;
    for (int l = 0; l < CYCONV_VL; l++) r[l] = l + n < CYCONV_VL ? a[l + n] : b[l + n - CYCONV_VL];
    return r;
#elif CYCONV_REAL_SIZE < 4 && CYCONV_VEC_BYTES == 64
    /* By whole pieces of 16 bytes, then by less within each. */
    lanes_t x = {.v = a}, y = {.v = b}, r;
    enum { SHORT = 16 / CYCONV_REAL_SIZE };
    __m512i piece[5] = {
        x.epi64, _mm512_alignr_epi64(y.epi64, x.epi64, 2), _mm512_alignr_epi64(y.epi64, x.epi64, 4),
        _mm512_alignr_epi64(y.epi64, x.epi64, 6), y.epi64,
    };
    __m512i low = piece[n / SHORT], high = piece[n / SHORT + 1];
#define CYCONV_CASE(k) case k: r.epi64 = _mm512_alignr_epi8(high, low, (k) * CYCONV_REAL_SIZE % 16); break;
    switch (n % SHORT) {
        CYCONV_CASE(1) CYCONV_CASE(2) CYCONV_CASE(3) CYCONV_CASE(4) CYCONV_CASE(5) CYCONV_CASE(6) CYCONV_CASE(7)
#if CYCONV_REAL_SIZE == 1
        CYCONV_CASE(8) CYCONV_CASE(9) CYCONV_CASE(10) CYCONV_CASE(11) CYCONV_CASE(12) CYCONV_CASE(13) CYCONV_CASE(14)
        CYCONV_CASE(15)
#endif
        default: r.epi64 = low;
    }
#undef CYCONV_CASE
    return r.v;
#else
    ivec_t lanes;
    for (int l = 0; l < CYCONV_VL; l++) lanes[l] = (lane_int_t)(l + n);
    return __builtin_shuffle(a, b, lanes);
#endif
}

/* Lane l of the result: lane from[l] of the 2 VL lanes of a and b; worth it only where that is one instruction. */
#define CYCONV_CHOOSES (CYCONV_VEC_BYTES == 64 && CYCONV_REAL_SIZE >= 2)
static inline vec_t vchoose(vec_t a, vec_t b, ivec_t from) {
#if CYCONV_CHOOSES
    lanes_t x = {.v = a}, y = {.v = b}, r;
#if CYCONV_REAL_SIZE == 2
    r.epi64 = _mm512_permutex2var_epi16(x.epi64, (__m512i)from, y.epi64);
#elif CYCONV_REAL_SIZE == 4
    r.epi64 = _mm512_permutex2var_epi32(x.epi64, (__m512i)from, y.epi64);
#else
    r.epi64 = _mm512_permutex2var_epi64(x.epi64, (__m512i)from, y.epi64);
#endif
    return r.v;
#else
    return a;
#endif
}

/* The first 16 bytes of a vector, the rest zero: half as many lines are crossed as by whole vectors. */
#define CYCONV_SHORT (16 / CYCONV_REAL_SIZE)
static inline vec_t vload_short(const real_t *p) {
#if CYCONV_VEC_BYTES == 64
    return (vec_t)_mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)p));
#else
    return vload(p);
#endif
}

/* The same of integers, of one vector. */
static inline ivec_t ivchoose(ivec_t v, ivec_t from) { return (ivec_t)vchoose((vec_t)v, (vec_t)v, from); }

/* Two vectors of pieces of 2 h lanes each: the first halves of all pieces, or the second ones. */
static inline __attribute__((always_inline)) vec_t vfold(vec_t a, vec_t b, int h, int second) {
#if defined(__clang__)
    vec_t r;
    for (int l = 0; l < CYCONV_VL; l++) {
        int from = l / h * 2 * h + l % h + second * h;
        r[l] = from < CYCONV_VL ? a[from] : b[from - CYCONV_VL];
    }
    return r;
#else
    ivec_t lanes;
    for (int l = 0; l < CYCONV_VL; l++) lanes[l] = (lane_int_t)(l / h * 2 * h + l % h + second * h);
    return __builtin_shuffle(a, b, lanes);
#endif
}

/* a + v in the lanes whose bit is set, elsewhere a (or a + 0); up to 32 lanes. */
static inline vec_t vadd_lanes(vec_t a, vec_t v, uint32_t lanes) {
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_IS_FLOAT
    lanes_t r = {.v = a}, b = {.v = v};
#if CYCONV_REAL_SIZE == 8
    r.pd = _mm512_mask_add_pd(r.pd, (__mmask8)lanes, r.pd, b.pd);
#else
    r.ps = _mm512_mask_add_ps(r.ps, (__mmask16)lanes, r.ps, b.ps);
#endif
    return r.v;
#else
    ivec_t chosen;
    for (int l = 0; l < CYCONV_VL; l++) chosen[l] = -(lane_int_t)(lanes >> l & 1);
    return a + (vec_t)((ivec_t)v & chosen);
#endif
}

/* Lanes from first to before stop from memory, where nothing else is read; the others replaced. */
static inline __attribute__((always_inline)) vec_t vload_part(const real_t *p, int first, int stop, real_t other) {
#if CYCONV_VEC_BYTES == 64
    lanes_t x = {.v = vset(other)};
    uint64_t all = ~(uint64_t)0, mask = (all << first) & (stop < 64 ? ~(all << stop) : all);
#if CYCONV_REAL_SIZE == 1
    x.epi64 = _mm512_mask_loadu_epi8(x.epi64, (__mmask64)mask, p);
#elif CYCONV_REAL_SIZE == 2
    x.epi64 = _mm512_mask_loadu_epi16(x.epi64, (__mmask32)mask, p);
#elif CYCONV_REAL_SIZE == 4
    x.epi64 = _mm512_mask_loadu_epi32(x.epi64, (__mmask16)mask, p);
#else
    x.epi64 = _mm512_mask_loadu_epi64(x.epi64, (__mmask8)mask, p);
#endif
    return x.v;
#else
    ivec_t kept = ivlanes(first, stop);
#if CYCONV_VEC_BYTES == 32 && CYCONV_REAL_SIZE == 8
    vec_t v = (vec_t)_mm256_maskload_epi64((const long long *)p, (__m256i)kept);
#elif CYCONV_VEC_BYTES == 32 && CYCONV_REAL_SIZE == 4
    vec_t v = (vec_t)_mm256_maskload_epi32((const int *)p, (__m256i)kept);
#else
    vec_t v = {0};
    if (first < stop) memcpy((char *)&v + first * CYCONV_REAL_SIZE, p + first, (size_t)(stop - first) * CYCONV_REAL_SIZE);
#endif
    return vselect(kept, v, vset(other));
#endif
}

/* The first n lanes of v to memory, n < VL. */
#if CYCONV_VEC_BYTES == 64
static inline void vstore_part(real_t *p, vec_t v, int n) {
    lanes_t x = {.v = v};
#if CYCONV_REAL_SIZE == 1
    _mm512_mask_storeu_epi8(p, ((__mmask64)1 << n) - 1, x.epi64);
#elif CYCONV_REAL_SIZE == 2
    _mm512_mask_storeu_epi16(p, ((__mmask32)1 << n) - 1, x.epi64);
#elif CYCONV_REAL_SIZE == 4
    _mm512_mask_storeu_epi32(p, (__mmask16)((1u << n) - 1), x.epi64);
#else
    _mm512_mask_storeu_epi64(p, (__mmask8)((1u << n) - 1), x.epi64);
#endif
}
#else
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
#endif

/* VL bytes, each an integer of a lane. */
static inline ivec_t ivload_bytes(const uint8_t *p) {
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_SIZE == 4
    return (ivec_t)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif CYCONV_VEC_BYTES == 64 && CYCONV_REAL_SIZE == 8
    return (ivec_t)_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)p));
#elif CYCONV_VEC_BYTES == 32 && CYCONV_REAL_SIZE == 4
    return (ivec_t)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    ivec_t v;
    for (int l = 0; l < CYCONV_VL; l++) v[l] = (lane_int_t)p[l];
    return v;
#endif
}

/* a + v where the integers are equal, elsewhere a, which is no negative zero. */
static inline vec_t vadd_where(vec_t a, ivec_t x, ivec_t y, vec_t v) {
#if CYCONV_VEC_BYTES == 64 && CYCONV_REAL_IS_FLOAT
    lanes_t r = {.v = a}, b = {.v = v};
#if CYCONV_REAL_SIZE == 8
    r.pd = _mm512_mask_add_pd(r.pd, _mm512_cmpeq_epi64_mask((__m512i)x, (__m512i)y), r.pd, b.pd);
#else
    r.ps = _mm512_mask_add_ps(r.ps, _mm512_cmpeq_epi32_mask((__m512i)x, (__m512i)y), r.ps, b.ps);
#endif
    return r.v;
#else
    return a + (vec_t)((ivec_t)v & (ivec_t)(x == y));
#endif
}

/* Past the caches to memory, which is not read first; p is a multiple of the register's size. Ends with a call of
 * stream_end, before which no other thread may rely on what was written. */
static inline void vstream(real_t *p, vec_t v) {
#if CYCONV_VEC_BYTES == 64
    _mm512_stream_si512((void *)p, (__m512i)v);
#elif CYCONV_VEC_BYTES == 32
    _mm256_stream_si256((void *)p, (__m256i)v);
#elif defined(__SSE2__)
    _mm_stream_si128((void *)p, (__m128i)v);
#else
    vstore(p, v);
#endif
}
static inline void stream_end(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* Loops that are worth a call: compiled once, not into every caller. Cython writes "inline" before all that is shared. */
#pragma GCC diagnostic ignored "-Wattributes"
#define CYCONV_APART __attribute__((noinline)) void

/* Lanes from first to before stop of v, the others replaced. */
static inline vec_t vpart(vec_t v, int first, int stop, real_t other) {
    ivec_t kept = ivlanes(first, stop);
    return vselect(kept, v, vset(other));
}

#endif
