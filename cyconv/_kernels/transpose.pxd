"""Transposition of ``VL`` registers in place (``transpose.h``)."""
from cyconv._kernels.simd cimport vec_t

cdef extern from "transpose.h" nogil:
    void vtranspose(vec_t *r)
