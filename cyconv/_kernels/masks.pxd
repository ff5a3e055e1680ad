"""Names of ``masks.h`` for Cython; sets of lanes as the bits of a number."""
from libc.stdint cimport int64_t

from cyconv._kernels.simd cimport VL, real_t, vec_t, vload, vload_apart

cdef extern from "masks.h" nogil:
    ctypedef int vmask_t
    enum:
        HAS_MASKS "CYCONV_HAS_MASKS"
    vmask_t vmask_of(int64_t bits)
    vec_t vload_chosen(const real_t *p, vmask_t mask)
    vec_t vload_over(vec_t v, const real_t *p, vmask_t mask)
    vec_t vload_two(const real_t *p, vmask_t of_p, const real_t *q, vmask_t of_q)
    void vstore_chosen(real_t *p, vec_t v, vmask_t mask)


cdef inline int64_t lanes_up_to(int64_t count) noexcept nogil:
    """The first lanes: so many of them, none or all if there are not."""
    return (<int64_t>1 << min(max(count, <int64_t>0), <int64_t>VL)) - 1


cdef inline vec_t load_lanes(const real_t *p, int64_t lanes) noexcept nogil:
    """These lanes from memory, the others zero; all of them are loaded without a mask where masks are slow."""
    if HAS_MASKS or lanes != lanes_up_to(VL):
        return vload_chosen(p, vmask_of(lanes))
    return vload(p)


cdef inline vec_t load_apart(const real_t *p, int64_t step, int64_t lanes) noexcept nogil:
    """These lanes from cells that lie ``step`` scalars apart, the others zero."""
    cdef real_t cells[VL]
    cdef int64_t i
    if lanes == lanes_up_to(VL):
        return vload_apart(p, step)
    for i in range(VL):
        cells[i] = p[i * step] if lanes >> i & 1 else <real_t>0
    return vload(cells)
