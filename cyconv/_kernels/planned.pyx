"""The short way for calls of a plan that came before: one look-up, two views, one kernel.

A call is known by how x lies in memory and by the threads; whatever else a result depends on, its plan holds. Compiled
once. Also here: taking and giving back the memory that kernels work in, which every such call does.
"""
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

from numpy import ndarray

from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE, NPY_MAXDIMS, PyArray_DATA, PyArray_DESCR, PyArray_DIMS,
    PyArray_FLAGS, PyArray_NDIM, PyArray_STRIDES, PyArray_TYPE, PyArrayObject, as_array, has_flags, npy_intp,
)
from cyconv._kernels.results cimport result_array, takes_result

cdef extern from "numpy/arrayobject.h":
    int _import_array() except -1
    object PyArray_NewFromDescr(void *kind, void *descr, int ndim, const npy_intp *size, const npy_intp *step, void *data,
                                int flags, object like)      # takes a reference to descr
    int PyArray_SetBaseObject(PyArrayObject *array, object base) except -1

_import_array()

cdef enum:
    AXES = 5    # N, C, D, H, W


cdef struct Seen:
    # how an array lies in memory, seen as (N, C, D, H, W)
    npy_intp size[AXES]
    npy_intp step[AXES]


cdef Seen _seen(array) except *:
    cdef Seen seen
    if PyArray_NDIM(as_array(array)) != AXES:
        raise ValueError("a kernel sees five axes")
    memcpy(seen.size, PyArray_DIMS(as_array(array)), AXES * sizeof(npy_intp))
    memcpy(seen.step, PyArray_STRIDES(as_array(array)), AXES * sizeof(npy_intp))
    return seen


cdef object _view(object array, const Seen *seen, object dtype):
    """The array as a kernel sees it."""
    cdef object view
    Py_INCREF(dtype)
    view = PyArray_NewFromDescr(<void *>ndarray, <void *>dtype, AXES, seen.size, seen.step, PyArray_DATA(as_array(array)),
                                PyArray_FLAGS(as_array(array)) & (NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE), None)
    Py_INCREF(array)
    PyArray_SetBaseObject(as_array(view), array)
    return view


cdef inline uintptr_t _address(array) noexcept:
    return <uintptr_t>PyArray_DATA(as_array(array))


def new_result(tuple shape, dtype, follows=None):
    """An array of any numbers for a result, which begins with a line of the cache, or lies in it as ``follows`` does."""
    cdef npy_intp size[NPY_MAXDIMS]
    cdef int i
    for i in range(len(shape)):
        size[i] = shape[i]
    return result_array(<int>len(shape), size, <void *>dtype, 0 if follows is None else _address(follows))


cdef class Shortcut:
    """All that a call on an array like a first one needs to know, but where it lies.

    ``run(x, out)`` computes from arrays that lie as ``x`` and ``out`` do, seen as (N, C, D, H, W); ``shape`` is that of the
    result for who calls. Both are of the dtype of x. A result that ``follows`` x lies in the lines of the cache as x does.
    """
    cdef object compute, dtype
    cdef Seen x, out
    cdef int ndim
    cdef bint follows
    cdef npy_intp size[NPY_MAXDIMS]
    cdef int64_t low, high, nbytes      # x reaches from low to high, in bytes from its first cell; bytes of the result

    def __init__(self, run, x, out, tuple shape, bint follows):
        cdef int i
        cdef int64_t reach
        self.compute, self.dtype, self.follows = run, x.dtype, follows
        self.x, self.out = _seen(x), _seen(out)
        self.ndim, self.nbytes = <int>len(shape), x.itemsize
        for i in range(self.ndim):
            self.size[i] = shape[i]
            self.nbytes *= self.size[i]
        self.low, self.high = 0, x.itemsize
        for i in range(AXES):
            reach = (self.x.size[i] - 1) * self.x.step[i]
            if reach < 0:
                self.low += reach
            else:
                self.high += reach

    cdef bint takes(self, x, out):
        """Whether the result can go there without further checks."""
        cdef const char *start
        cdef const char *source = <const char *>PyArray_DATA(as_array(x))
        if not takes_result(out, self.ndim, self.size, <void *>self.dtype):
            return False
        start = <const char *>PyArray_DATA(as_array(out))
        return start >= source + self.high or start + self.nbytes <= source + self.low

    cdef object again(self, x, out):
        """The result; None if it needs the long way."""
        if PyArray_DESCR(as_array(x)) != <void *>self.dtype or not has_flags(x, NPY_ARRAY_ALIGNED):
            return None
        if out is None:
            out = result_array(self.ndim, self.size, <void *>self.dtype, _address(x) if self.follows else 0)
        elif not self.takes(x, out):
            return None
        self.compute(_view(x, &self.x, self.dtype), _view(out, &self.out, self.dtype))
        return out


def key_of(x, int threads):
    """What a call with an ndarray is known by."""
    cdef npy_intp words[2 + 2 * NPY_MAXDIMS]
    cdef PyArrayObject *array = as_array(x)
    cdef int ndim = PyArray_NDIM(array)
    words[0], words[1] = threads, PyArray_TYPE(array)
    memcpy(words + 2, PyArray_DIMS(array), ndim * sizeof(npy_intp))
    memcpy(words + 2 + ndim, PyArray_STRIDES(array), ndim * sizeof(npy_intp))
    return PyBytes_FromStringAndSize(<const char *>words, (2 + 2 * ndim) * sizeof(npy_intp))


def again(dict known, x, out, int threads):
    """The result of a call like one that is known; None if it needs the long way."""
    cdef Shortcut shortcut
    if type(x) is not ndarray:
        return None
    shortcut = known.get(key_of(x, threads))
    return None if shortcut is None else shortcut.again(x, out)


# ---------------------------------------------------------------------------------------------------- scratch memory

cdef inline npy_intp _size(buffer) noexcept:
    return PyArray_DIMS(as_array(buffer))[0]


def take_bytes(list kept, npy_intp nbytes):
    """The smallest of the kept buffers that is large enough; if none is, None, and the largest is given up for a new one."""
    cdef Py_ssize_t i, best = 0
    cdef npy_intp size, found
    with cython.critical_section(kept):
        if not kept:
            return None
        found = _size(kept[0])
        for i in range(1, len(kept)):
            size = _size(kept[i])
            if (nbytes <= size < found) if found >= nbytes else (size > found):
                best, found = i, size
        buffer = kept.pop(best)
    return buffer if found >= nbytes else None


def give_back_bytes(list kept, buffer, npy_intp most):
    """Keep a buffer, unless all that is kept would be more than ``most`` bytes."""
    cdef npy_intp total = _size(buffer)
    with cython.critical_section(kept):
        for one in kept:
            total += _size(one)
        if total <= most:
            kept.append(buffer)
