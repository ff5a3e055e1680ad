"""Calls of pooling, and the short way for those that came before: one look-up, one kernel.

A call is known by all that it depends on but the data: the operation, how x lies in memory, the threads, the settings.
Compiled once; every kernel lends its function as ``ENTRY``.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from numpy import empty, int64, ndarray

from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_CARRAY, NPY_MAXDIMS, PyArray_DATA, PyArray_DESCR, PyArray_DIMS, PyArray_NDIM,
    PyArray_STRIDES, PyArray_TYPE, PyArrayObject, as_array, has_flags, npy_intp,
)

#: what ``ENTRY`` answers: done; arrays that overlap, so nothing was done; no scratch memory
cdef enum:
    DONE = 0
    OVERLAP = 1
    NO_MEMORY = 2

ctypedef int (*entry_t)(
    const void *x, void *out, int64_t cells, int64_t *indices, const int64_t *geometry, double divisor, int num_threads
) noexcept nogil

cdef enum:
    WORDS = 5    # before the sizes and strides in a key

cdef int MOST = 1024
cdef dict _known = {}


cdef inline int64_t _cells(PyArrayObject *array) noexcept nogil:
    cdef int64_t cells = 1
    cdef int i
    for i in range(PyArray_NDIM(array)):
        cells *= PyArray_DIMS(array)[i]
    return cells


cdef class Recipe:
    """All that a call on plain arrays, with a contiguous result, needs to know beyond them."""
    cdef tuple windows, shape
    cdef object dtype, geometry
    cdef npy_intp size[NPY_MAXDIMS]
    cdef double divisor
    cdef int threads
    cdef bint into_given, placed
    cdef entry_t entry

    def __init__(self, tuple windows, tuple shape, dtype, geometry, double divisor, int threads, entry, into_given, placed):
        cdef int i
        self.windows, self.shape, self.dtype, self.geometry = windows, shape, dtype, geometry
        for i in range(len(shape)):
            self.size[i] = shape[i]
        self.divisor, self.threads, self.into_given, self.placed = divisor, threads, into_given, placed
        self.entry = <entry_t>PyCapsule_GetPointer(entry, NULL)

    cdef bint means(self, tuple windows):
        """Whether settings that compare equal are the same ones: 1, 1.0 and True are not."""
        cdef int i
        for i in range(len(windows)):
            if windows[i] is self.windows[i]:
                continue
            if type(windows[i]) is not type(self.windows[i]):
                return False
            if type(windows[i]) is tuple:
                for item in <tuple>windows[i]:
                    if type(item) is not int:
                        return False
        return True

    cdef bint takes(self, out):
        """Whether the result can go there without further checks."""
        cdef PyArrayObject *array
        if not self.into_given or type(out) is not ndarray:
            return False
        array = as_array(out)
        return (
            PyArray_DESCR(array) == <void *>self.dtype
            and PyArray_NDIM(array) == len(self.shape)
            and memcmp(PyArray_DIMS(array), self.size, len(self.shape) * sizeof(npy_intp)) == 0
            and has_flags(out, NPY_ARRAY_CARRAY)
        )


cdef bint _run(entry_t entry, x, out, indices, geometry, double divisor, int threads) except -1:
    cdef int64_t cells = _cells(as_array(out))
    cdef const void *source = PyArray_DATA(as_array(x))
    cdef void *target = PyArray_DATA(as_array(out))
    cdef int64_t *places = NULL if indices is None else <int64_t *>PyArray_DATA(as_array(indices))
    cdef const int64_t *numbers = <const int64_t *>PyArray_DATA(as_array(geometry))
    cdef int answer
    with nogil:
        answer = entry(source, target, cells, places, numbers, divisor, threads)
    if answer == NO_MEMORY:
        raise MemoryError("scratch memory for pooling")
    return answer == DONE


def run(entry, x, out, indices, geometry, double divisor, int num_threads):
    """Pool x into out by a kernel. ``geometry``: FIELDS, three times AXIS_FIELDS, tables; ``divisor`` 0: the cells counted.

    With ``indices`` (int64, the strides of out), also the places of the maxima. False, and nothing done, if cells of
    out lie between the first and the last cell of x (whose strides are not negative, or the caller knows better).
    """
    return _run(<entry_t>PyCapsule_GetPointer(entry, NULL), x, out, indices, geometry, divisor, num_threads)


def key_of(int op, int naxes, x, int threads, str layout, tuple windows):
    """What a call with an ndarray is known by."""
    cdef npy_intp words[WORDS + 2 * NPY_MAXDIMS]
    cdef PyArrayObject *array = as_array(x)
    cdef int ndim = PyArray_NDIM(array)
    words[0], words[1], words[2], words[3], words[4] = op, naxes, threads, ndim, PyArray_TYPE(array)
    memcpy(words + WORDS, PyArray_DIMS(array), ndim * sizeof(npy_intp))
    memcpy(words + WORDS + ndim, PyArray_STRIDES(array), ndim * sizeof(npy_intp))
    return PyBytes_FromStringAndSize(<const char *>words, (WORDS + 2 * ndim) * sizeof(npy_intp)), layout, windows


def remember(key, Recipe recipe):
    """Let calls like this one take the short way."""
    if len(_known) >= MOST:
        _known.clear()
    _known[key] = recipe


def forget():
    """Let no call take the short way."""
    _known.clear()


def again(int op, int naxes, x, tuple windows, layout, out, int threads):
    """The result of a call like one that is known, a pair with the places of maxima; None if it needs the long way."""
    cdef Recipe recipe
    if type(x) is not ndarray or type(layout) is not str:
        return None
    try:
        recipe = _known.get(key_of(op, naxes, x, threads, layout, windows))
    except TypeError:  # a list, which has no hash
        return None
    if recipe is None or PyArray_DESCR(as_array(x)) != <void *>recipe.dtype or not recipe.means(windows):
        return None
    if not has_flags(x, NPY_ARRAY_ALIGNED):
        return None
    if out is None:
        out = empty(recipe.shape, recipe.dtype)
    elif not recipe.takes(out):
        return None
    indices = empty(recipe.shape, int64) if recipe.placed else None
    if not _run(recipe.entry, x, out, indices, recipe.geometry, recipe.divisor, recipe.threads):
        return None
    return (out, indices) if recipe.placed else out
