"""Names of ``lanes.h`` for Cython."""
from libc.stdint cimport uint8_t, uint32_t

from cyconv._kernels.simd cimport real_t, vec_t

cdef extern from "lanes.h" nogil:
    ctypedef int lane_int_t
    ctypedef int ivec_t
    ctypedef void apart "CYCONV_APART"
    enum:
        CHOOSES "CYCONV_CHOOSES"
        SHORT "CYCONV_SHORT"
        FUSED "CYCONV_FUSED"
    vec_t vchoose(vec_t a, vec_t b, ivec_t lanes)
    ivec_t ivchoose(ivec_t v, ivec_t lanes)
    vec_t vfold(vec_t a, vec_t b, int h, int second)
    vec_t vadd_lanes(vec_t a, vec_t v, uint32_t lanes)
    vec_t vload_short(const real_t *p)
    vec_t vload_part(const real_t *p, int first, int stop, real_t other)
    vec_t vshift(vec_t a, vec_t b, int n)
    void vstore_part(real_t *p, vec_t v, int n)
    real_t lowest()
    real_t maximum(real_t a, real_t b)
    vec_t vkeep_nan(vec_t a, vec_t m)
    vec_t vlarger(vec_t a, vec_t b)
    vec_t vmaximum(vec_t a, vec_t b)
    bint vall_zero(vec_t v)
    ctypedef int clean_t
    clean_t vclean()
    clean_t vstill_clean(clean_t c, vec_t a, vec_t b)
    bint vis_clean(clean_t c)
    vec_t vquotient(vec_t v, vec_t by, vec_t inverse)
    vec_t vselect(ivec_t mask, vec_t a, vec_t b)
    bint beats(real_t c, real_t v)
    bint ties(real_t a, real_t b)
    ivec_t vbeats(vec_t c, vec_t v)
    void vtake(vec_t *v, ivec_t *p, vec_t c, ivec_t q)
    ivec_t vties(vec_t a, vec_t b)
    bint ivnegative(ivec_t v, int n)
    ivec_t ivadd(ivec_t a, ivec_t b)
    ivec_t ivload(const lane_int_t *p)
    ivec_t ivscaled(lane_int_t first, lane_int_t step)
    void ivstore(lane_int_t *p, ivec_t v)
    ivec_t ivset(lane_int_t x)
    ivec_t ivselect(ivec_t mask, ivec_t a, ivec_t b)
    ivec_t ivlanes(Py_ssize_t first, Py_ssize_t stop)
    ivec_t ivless(ivec_t a, ivec_t b)
    ivec_t ivload_bytes(const uint8_t *p)
    vec_t vadd_where(vec_t a, ivec_t x, ivec_t y, vec_t v)
    void vstream(real_t *p, vec_t v)
    void stream_end()
    vec_t vpart(vec_t v, int first, int stop, real_t other)
