/* float16 and bfloat16, as 16 bits, to vectors of float32 and back; rounded to nearest, ties to even, overflow to infinity.
 *
 * NaN stays NaN, quiet and of its sign. Nothing depends on whether the processor counts subnormal numbers as zero: numbers
 * are handled as integers, or by instructions of conversion, which do not ask.
 */
#ifndef CYCONV_HALVES_H
#define CYCONV_HALVES_H
#include "simd.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

typedef uint32_t word_vec_t __attribute__((vector_size(CYCONV_VEC_BYTES), may_alias));
typedef uint16_t half_vec_t __attribute__((vector_size(CYCONV_VEC_BYTES / 2), may_alias, aligned(2)));

static inline word_vec_t vload_words(const uint16_t *p) {
    return __builtin_convertvector(*(const half_vec_t *)p, word_vec_t);
}
static inline void vstore_words(uint16_t *p, word_vec_t v) {
    *(half_vec_t *)p = __builtin_convertvector(v, half_vec_t);
}
/* Whether a > b, of numbers without a sign bit: signed comparisons are one instruction everywhere. */
static inline word_vec_t vabove(word_vec_t a, uint32_t b) { return (word_vec_t)((ivec_t)a > (int32_t)b); }
static inline word_vec_t vchoose_words(word_vec_t mask, word_vec_t a, word_vec_t b) { return (a & mask) | (b & ~mask); }

/* bfloat16: the upper half of float32. */
static inline vec_t vload_bfloat16(const uint16_t *p) {
    word_vec_t v = vload_words(p) << 16;
    word_vec_t is_nan = vabove(v & 0x7fffffff, 0x7f800000);
    return (vec_t)(v | (is_nan & 0x400000));
}
static inline void vstore_bfloat16(uint16_t *p, vec_t value) {
    word_vec_t v = (word_vec_t)value, rounded = (v + 0x7fff + ((v >> 16) & 1)) >> 16;
    word_vec_t is_nan = vabove(v & 0x7fffffff, 0x7f800000);
    vstore_words(p, vchoose_words(is_nan, (v >> 16 & 0x8000) | 0x7fc0, rounded));
}

/* float16: 5 bits of exponent, 10 of fraction. */
#if defined(__F16C__) && CYCONV_VEC_BYTES == 64
static inline vec_t vload_float16(const uint16_t *p) {
    return (vec_t)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
static inline void vstore_float16(uint16_t *p, vec_t v) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#elif defined(__F16C__) && CYCONV_VEC_BYTES == 32
static inline vec_t vload_float16(const uint16_t *p) {
    return (vec_t)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
static inline void vstore_float16(uint16_t *p, vec_t v) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
#else
/* Subnormal ones by a sum and a difference of normal float32: m 2^-24 is 2^-14 + m 2^-24 less 2^-14, and in 1/2 + x the last
 * digit is 2^-24. */
static inline vec_t vload_float16(const uint16_t *p) {
    word_vec_t h = vload_words(p), shifted = (h & 0x7fff) << 13;
    word_vec_t normal = shifted + (112u << 23);                             /* the bias of 127 instead of 15 */
    word_vec_t special = normal + (112u << 23);                             /* exponent 255 */
    word_vec_t tiny = (word_vec_t)((vec_t)(shifted + (113u << 23)) - 0x1p-14f);
    special |= vabove(shifted, 31u << 23) & 0x400000;
    normal = vchoose_words(vabove(shifted, (1u << 23) - 1), normal, tiny);
    normal = vchoose_words(vabove(shifted, (31u << 23) - 1), special, normal);
    return (vec_t)(normal | (h & 0x8000) << 16);
}
static inline void vstore_float16(uint16_t *p, vec_t value) {
    word_vec_t v = (word_vec_t)value, size = v & 0x7fffffff;
    word_vec_t normal = (size - (112u << 23) + 0xfff + ((size >> 13) & 1)) >> 13;
    word_vec_t tiny = (word_vec_t)((vec_t)size + 0.5f) - (126u << 23);
    word_vec_t special = (vabove(size, 255u << 23) & (0x200 | (size >> 13 & 0x3ff))) | 0x7c00;
    normal = vchoose_words(vabove(size, (113u << 23) - 1), normal, tiny);
    normal = vchoose_words(vabove(size, (143u << 23) - 1), special, normal);    /* 2^16 and more */
    vstore_words(p, normal | (v >> 16 & 0x8000));
}
#endif
#endif
