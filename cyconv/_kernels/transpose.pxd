"""Transposition of ``VL`` registers in place, and any choice of lanes from two registers (``transpose.h``)."""
from cyconv._kernels.lanes cimport ivec_t
from cyconv._kernels.simd cimport vec_t

cdef extern from "transpose.h" nogil:
    vec_t vpick(vec_t a, vec_t b, ivec_t lanes)
    void vtranspose(vec_t *r)
