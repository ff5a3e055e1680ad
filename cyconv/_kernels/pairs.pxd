"""Windows of 2 x 2 cells side by side, rows of at most half a vector of outputs: several output rows in one vector.

    e[j] = x[2 j] o x[2 j + 1]                                  4 vectors of cells, all rows one after another: 2 of e
    out[l] = e[top[l]] o e[top[l] + w]                          w outputs per row, top[l] = 2 w (l // w) + l % w

Assumptions: rows of x have 2 w cells and follow each other without gaps, in x and in out; choices of lanes by a vector
of numbers are one instruction (CHOOSES).
"""
from cyconv._kernels.lanes cimport CHOOSES, apart, ivec_t, ivload, lane_int_t, vchoose, vload_part, vstore_part
from cyconv._kernels.narrow cimport NEAR, Finish, finish_vector
from cyconv._kernels.rows cimport MAX, SUM, identity, is_max, vboth
from cyconv._kernels.simd cimport VL, inlined, prefetch, real_t, vec_t, vevery_second, vload, vstore


cdef inline inlined _rows(
    int op, real_t *dst, const real_t *x, Py_ssize_t cells, int w, int many, Finish how, vec_t *trouble
) noexcept nogil:
    """All of ``cells`` cells of x, ``many`` output rows at a time."""
    cdef lane_int_t lanes[VL]
    cdef ivec_t top, bottom
    cdef vec_t v, e, f, bad = trouble[0]
    cdef vec_t a[4]
    cdef Py_ssize_t step = 4 * many * w, left = cells
    cdef int l, j
    for l in range(VL):
        lanes[l] = <lane_int_t>(2 * w * (l // w) + l % w if l < many * w else 0)
    top = ivload(lanes)
    for l in range(VL):
        lanes[l] = <lane_int_t>(lanes[l] + w)
    bottom = ivload(lanes)
    while left > 0:
        for j in range(4):
            prefetch(<const char *>(x + j * VL) + NEAR)
            if left >= 4 * VL:
                a[j] = vload(x + j * VL)
            else:
                a[j] = vload_part(x + j * VL, 0, <int>max(0, min(VL, left - j * VL)), identity(op))
        e = vboth(op, vevery_second(a[0], a[1], 0), vevery_second(a[0], a[1], 1))
        f = vboth(op, vevery_second(a[2], a[3], 0), vevery_second(a[2], a[3], 1))
        v = vboth(op, vchoose(e, f, top), vchoose(e, f, bottom))
        finish_vector(op, &v, how, &bad)
        if left >= 4 * VL:
            vstore(dst, v)              # over what comes next
        else:
            vstore_part(dst, v, <int>(min(left, step) // 4))
        x += step
        dst += step // 4
        left -= step
    trouble[0] = bad


cdef inline apart pair_rows(
    int op, real_t *dst, const real_t *x, Py_ssize_t cells, int w, int many, Finish how, vec_t *trouble
) noexcept nogil:
    if not CHOOSES:
        return
    if is_max(op):
        _rows(MAX, dst, x, cells, w, many, how, trouble)
    else:
        _rows(SUM, dst, x, cells, w, many, how, trouble)
