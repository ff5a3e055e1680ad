"""Where results lie: see ``results.h``."""
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp

from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_CARRAY, PyArray_DESCR, PyArray_DIMS, PyArray_NDIM, as_array, has_flags, npy_intp,
)

cdef extern from "results.h":
    bint PyArray_CheckExact(object array)
    object result_array(int ndim, const npy_intp *size, void *descr, uintptr_t phase)


cdef inline bint takes_result(object out, int ndim, const npy_intp *size, const void *descr) noexcept:
    """Whether a result of this size can go straight into ``out``, if nothing that is read lies there."""
    return (
        PyArray_CheckExact(out)
        and PyArray_DESCR(as_array(out)) == descr
        and PyArray_NDIM(as_array(out)) == ndim
        and memcmp(PyArray_DIMS(as_array(out)), size, ndim * sizeof(npy_intp)) == 0
        and has_flags(out, NPY_ARRAY_CARRAY)
    )
