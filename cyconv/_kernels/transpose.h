/* Transposition of a square of registers: r[i][j] and r[j][i] change places. */
#ifndef CYCONV_TRANSPOSE_H
#define CYCONV_TRANSPOSE_H
#include "simd.h"

/* Lane l of the result: lane from[l] of a, or lane from[l] - VL of b. */
static inline __attribute__((always_inline)) vec_t vpick(vec_t a, vec_t b, ivec_t from) {
#if defined(__clang__)
    vec_t v = a;
    for (int l = 0; l < CYCONV_VL; l++) v[l] = from[l] < CYCONV_VL ? a[from[l]] : b[from[l] - CYCONV_VL];
    return v;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

/* In stage d, blocks of d lanes are swapped between the rows i and i + d; all the patterns are constants. */
static inline __attribute__((always_inline)) void vtranspose(vec_t *r) {
#pragma GCC unroll 8
    for (int d = CYCONV_VL / 2; d > 0; d /= 2) {
        ivec_t upper = {0}, lower = {0};
#pragma GCC unroll 64
        for (int l = 0; l < CYCONV_VL; l++) {
            upper[l] = (lane_int_t)(l & d ? CYCONV_VL + l - d : l);
            lower[l] = (lane_int_t)(l & d ? CYCONV_VL + l : l + d);
        }
#pragma GCC unroll 64
        for (int i = 0; i < CYCONV_VL; i++)
            if (!(i & d)) {
                vec_t a = r[i], b = r[i + d];
                r[i] = vpick(a, b, upper);
                r[i + d] = vpick(a, b, lower);
            }
    }
}

#endif
