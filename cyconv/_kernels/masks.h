/* Loads and stores of chosen lanes: nothing is touched where a lane is left out, so a vector may reach beyond an array. */
#ifndef CYCONV_MASKS_H
#define CYCONV_MASKS_H
#include "lanes.h"

/* What instruction sets hold lanes with: a register of bits, or a vector of 0 and -1. Bit l is lane l. */
#if CYCONV_VEC_BYTES == 64
typedef uint32_t vmask_t;
static inline vmask_t vmask_of(int64_t bits) { return (vmask_t)bits; }
#else
typedef ivec_t vmask_t;
static inline vmask_t vmask_of(int64_t bits) {
    ivec_t one;
    for (int l = 0; l < CYCONV_VL; l++) one[l] = (lane_int_t)1 << l;
    return (ivec_t)((one & (lane_int_t)bits) != 0);
}
#endif

/* The chosen lanes from memory, the others zero. */
static inline vec_t vload_chosen(const real_t *p, vmask_t mask) {
#if CYCONV_VEC_BYTES == 64
    lanes_t x;
#if CYCONV_REAL_SIZE == 8
    x.pd = _mm512_maskz_loadu_pd((__mmask8)mask, p);
#else
    x.ps = _mm512_maskz_loadu_ps((__mmask16)mask, p);
#endif
    return x.v;
#elif CYCONV_VEC_BYTES == 32 && CYCONV_REAL_SIZE == 8
    return (vec_t)_mm256_maskload_pd(p, (__m256i)mask);
#elif CYCONV_VEC_BYTES == 32
    return (vec_t)_mm256_maskload_ps(p, (__m256i)mask);
#else
    vec_t v = {0};
    for (int l = 0; l < CYCONV_VL; l++)
        if (mask[l]) v[l] = p[l];
    return v;
#endif
}

/* The chosen lanes from memory, the others from v. */
static inline vec_t vload_over(vec_t v, const real_t *p, vmask_t mask) {
#if CYCONV_VEC_BYTES == 64
    lanes_t x = {.v = v};
#if CYCONV_REAL_SIZE == 8
    x.pd = _mm512_mask_loadu_pd(x.pd, (__mmask8)mask, p);
#else
    x.ps = _mm512_mask_loadu_ps(x.ps, (__mmask16)mask, p);
#endif
    return x.v;
#else
    return (vec_t)(((ivec_t)v & ~mask) | (ivec_t)vload_chosen(p, mask));
#endif
}

/* Some lanes from p, others from q, each lane at its own place. */
static inline vec_t vload_two(const real_t *p, vmask_t of_p, const real_t *q, vmask_t of_q) {
    return vload_over(vload_chosen(p, of_p), q, of_q);
}

/* The chosen lanes to memory. */
static inline void vstore_chosen(real_t *p, vec_t v, vmask_t mask) {
#if CYCONV_VEC_BYTES == 64
    lanes_t x = {.v = v};
#if CYCONV_REAL_SIZE == 8
    _mm512_mask_storeu_pd(p, (__mmask8)mask, x.pd);
#else
    _mm512_mask_storeu_ps(p, (__mmask16)mask, x.ps);
#endif
#elif CYCONV_VEC_BYTES == 32 && CYCONV_REAL_SIZE == 8
    lanes_t x = {.v = v};
    _mm256_maskstore_pd(p, (__m256i)mask, x.pd);
#elif CYCONV_VEC_BYTES == 32
    lanes_t x = {.v = v};
    _mm256_maskstore_ps(p, (__m256i)mask, x.ps);
#else
    for (int l = 0; l < CYCONV_VL; l++)
        if (mask[l]) p[l] = v[l];
#endif
}

/* Whether choosing lanes is an instruction; elsewhere the functions above are there, and slow. */
#if CYCONV_VEC_BYTES >= 32
#define CYCONV_HAS_MASKS 1
#else
#define CYCONV_HAS_MASKS 0
#endif

#endif
