"""What lies in a NumPy array, read where it lies: a buffer object takes as long as a small kernel."""
from cpython.object cimport PyObject

cdef extern from "numpy/ndarraytypes.h" nogil:
    ctypedef Py_ssize_t npy_intp
    ctypedef struct PyArrayObject:
        pass
    enum:
        NPY_MAXDIMS
        NPY_ARRAY_ALIGNED
        NPY_ARRAY_CARRAY
        NPY_ARRAY_WRITEABLE
    int PyArray_NDIM(const PyArrayObject *array)
    int PyArray_TYPE(const PyArrayObject *array)
    int PyArray_FLAGS(const PyArrayObject *array)
    void *PyArray_DATA(PyArrayObject *array)
    npy_intp *PyArray_DIMS(PyArrayObject *array)
    npy_intp *PyArray_STRIDES(PyArrayObject *array)
    void *PyArray_DESCR(PyArrayObject *array)


cdef inline PyArrayObject *as_array(object x) noexcept:
    """An object that is an ndarray."""
    return <PyArrayObject *><PyObject *>x


cdef inline bint has_flags(object x, int flags) noexcept:
    return (PyArray_FLAGS(as_array(x)) & flags) == flags
