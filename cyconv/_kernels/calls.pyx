"""Calls of pooling, and the short way for those that came before: one look-up, one kernel.

A call is known by all that it depends on but the data: the operation, how x lies in memory, the threads, the settings.
Most calls repeat a recent one with the very same objects as settings: these are found without a key, whose making and
hashing take a quarter of a small call. Compiled once; every kernel lends its function as ``ENTRY``.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from numpy import ndarray

from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_CARRAY, NPY_MAXDIMS, PyArray_DATA, PyArray_DESCR, PyArray_DIMS, PyArray_NDIM,
    PyArray_STRIDES, PyArray_TYPE, PyArrayObject, as_array, has_flags, npy_intp,
)

cdef extern from "numpy/arrayobject.h":
    int _import_array() except -1
    object PyArray_EMPTY(int ndim, const npy_intp *size, int type_number, int fortran)
    enum:
        NPY_INT64

_import_array()

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
    RECENT = 64  # places for recent calls, a power of 2

cdef int MOST = 1024
cdef dict _known = {}
cdef list _recent = [None] * RECENT


cdef inline int64_t _cells(PyArrayObject *array) noexcept nogil:
    cdef int64_t cells = 1
    cdef int i
    for i in range(PyArray_NDIM(array)):
        cells *= PyArray_DIMS(array)[i]
    return cells


cdef class Recipe:
    """All that a call on plain arrays, with a contiguous result, needs to know beyond them."""
    cdef tuple windows, shape
    cdef bytes words
    cdef str layout
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

    cdef bint repeats(self, const npy_intp *words, size_t size, layout, tuple windows):
        """Whether these are the words and the very objects that it is known by."""
        cdef int i
        if layout is not self.layout or len(windows) != len(self.windows) or <size_t>len(self.words) != size:
            return False
        for i in range(len(windows)):
            if windows[i] is not self.windows[i]:
                return False
        return memcmp(<const char *>self.words, words, size) == 0

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


cdef size_t _read(int op, int naxes, x, int threads, npy_intp *words):
    """Words that tell a call with an ndarray, settings aside; how many bytes of them."""
    cdef PyArrayObject *array = as_array(x)
    cdef int ndim = PyArray_NDIM(array)
    words[0], words[1], words[2], words[3], words[4] = op, naxes, threads, ndim, PyArray_TYPE(array)
    memcpy(words + WORDS, PyArray_DIMS(array), ndim * sizeof(npy_intp))
    memcpy(words + WORDS + ndim, PyArray_STRIDES(array), ndim * sizeof(npy_intp))
    return (WORDS + 2 * ndim) * sizeof(npy_intp)


cdef int _place(const npy_intp *words, size_t size, tuple windows):
    """Where among the recent calls one with these words and objects is."""
    cdef size_t i, place = 0
    for i in range(size // sizeof(npy_intp)):
        place = 31 * place + <size_t>words[i]
    for i in range(<size_t>len(windows)):
        place = 31 * place + (<size_t><PyObject *>windows[i] >> 4)
    return <int>((place ^ place >> 16) % RECENT)


def key_of(int op, int naxes, x, int threads, str layout, tuple windows):
    """What a call with an ndarray is known by."""
    cdef npy_intp words[WORDS + 2 * NPY_MAXDIMS]
    cdef size_t size = _read(op, naxes, x, threads, words)
    return PyBytes_FromStringAndSize(<const char *>words, size), layout, windows


def remember(key, Recipe recipe):
    """Let calls like this one take the short way."""
    if len(_known) >= MOST:
        forget()
    recipe.words, recipe.layout, _ = key
    _known[key] = recipe


def forget():
    """Let no call take the short way."""
    cdef int i
    _known.clear()
    for i in range(RECENT):
        _recent[i] = None


def again(int op, int naxes, x, tuple windows, layout, out, int threads):
    """The result of a call like one that is known, a pair with the places of maxima; None if it needs the long way."""
    cdef Recipe recipe
    cdef npy_intp words[WORDS + 2 * NPY_MAXDIMS]
    cdef size_t size
    cdef int place
    indices = None
    if type(x) is not ndarray or type(layout) is not str:
        return None
    size = _read(op, naxes, x, threads, words)
    place = _place(words, size, windows)
    recipe = _recent[place]
    if recipe is None or not recipe.repeats(words, size, layout, windows):
        try:
            recipe = _known.get((PyBytes_FromStringAndSize(<const char *>words, size), layout, windows))
        except TypeError:  # a list, which has no hash
            return None
        if recipe is None or not recipe.means(windows):
            return None
        _recent[place] = recipe
    if PyArray_DESCR(as_array(x)) != <void *>recipe.dtype:
        return None
    if not has_flags(x, NPY_ARRAY_ALIGNED):
        return None
    if out is None:
        out = PyArray_EMPTY(<int>len(recipe.shape), recipe.size, PyArray_TYPE(as_array(x)), False)
    elif not recipe.takes(out):
        return None
    if recipe.placed:
        indices = PyArray_EMPTY(<int>len(recipe.shape), recipe.size, NPY_INT64, False)
    if not _run(recipe.entry, x, out, indices, recipe.geometry, recipe.divisor, recipe.threads):
        return None
    return (out, indices) if recipe.placed else out
