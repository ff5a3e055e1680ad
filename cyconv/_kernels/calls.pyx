"""The short way for calls that came before: of pooling, one look-up and one kernel; of gradients, one look-up.

A pooling is known by all that it depends on but the data: the operation, how x lies in memory, the threads, the settings.
Most calls repeat a recent one with the very same objects as settings: these are found without a key, whose making and
hashing take a quarter of a small call. Compiled once; every kernel lends its function as ``ENTRY``.

A gradient is known by its kind, the sizes and settings that it was given, the threads, the shapes and types of its
arrays, and by whether its result is a new array: what such calls share is prepared by the first that comes again.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

import numpy
from numpy import ndarray

from cyconv._kernels.ndarray cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_CARRAY, NPY_MAXDIMS, PyArray_DATA, PyArray_DESCR, PyArray_DIMS, PyArray_NDIM,
    PyArray_STRIDES, PyArray_TYPE, PyArrayObject, as_array, has_flags, npy_intp,
)
from cyconv._kernels.results cimport result_array, takes_result

cdef extern from "numpy/arrayobject.h":
    int _import_array() except -1
    object PyArray_EMPTY(int ndim, const npy_intp *size, int type_number, int fortran)
    enum:
        NPY_FLOAT32
        NPY_FLOAT64
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
cdef dict _gradients = {}


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
        return self.into_given and takes_result(out, <int>len(self.shape), self.size, <void *>self.dtype)


def address_of(array):
    """Where an ndarray begins."""
    return <size_t>PyArray_DATA(as_array(array))


def same_bytes(a, b):
    """Whether two contiguous ndarrays of one shape and dtype hold the same bytes."""
    cdef const void *first = PyArray_DATA(as_array(a))
    cdef const void *second = PyArray_DATA(as_array(b))
    cdef size_t size = a.nbytes
    cdef int difference
    with nogil:
        difference = memcmp(first, second, size)
    return difference == 0


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
    _gradients.clear()
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
        out = result_array(<int>len(recipe.shape), recipe.size, <void *>recipe.dtype, 0)
    elif not recipe.takes(out):
        return None
    if recipe.placed:
        indices = PyArray_EMPTY(<int>len(recipe.shape), recipe.size, NPY_INT64, False)
    if not _run(recipe.entry, x, out, indices, recipe.geometry, recipe.divisor, recipe.threads):
        return None
    return (out, indices) if recipe.placed else out


# --------------------------------------------------------------------------------------------------------- gradients

cdef enum:
    MOST_ARRAYS = 3
    MOST_AXES = 5

cdef int MOST_GRADIENTS = 512
#: the dtypes that kernels read as they are: any other object may mean another order of bytes
cdef object _float32 = numpy.dtype("f4"), _float64 = numpy.dtype("f8"), _int64 = numpy.dtype("i8")


cdef class Gradient:
    """What calls like a first one share: its arguments, the result's shape, and how to prepare what runs them."""
    cdef object size, make, prepared
    cdef tuple settings, shape
    cdef npy_intp out_size[MOST_AXES]

    def __init__(self, size, tuple settings, tuple shape, make):
        cdef int i
        self.size, self.settings, self.shape, self.make = size, settings, shape, make
        for i in range(len(shape)):
            self.out_size[i] = shape[i]


cdef bint _is_simple(x) noexcept:
    """Whether this is an int, a word, a flag, None or a tuple of such: what compares equal, of one type, is the same."""
    cdef object kind = type(x)
    if kind is tuple:
        for item in <tuple>x:
            if not _is_simple(item):
                return False
        return True
    return x is None or kind is int or kind is str or kind is bool


cdef bint _is_same(a, b) noexcept:
    """Whether simple settings that compare equal have the same types: 1 and True have not."""
    cdef Py_ssize_t i
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        for i in range(len(<tuple>a)):
            if not _is_same((<tuple>a)[i], (<tuple>b)[i]):
                return False
    return True


cdef tuple _gradient_key(kind, size, tuple settings, tuple arrays, bint is_new, int threads):
    """What a gradient is known by; None if it may need the long way: that takes arrays of other types or with gaps."""
    cdef npy_intp words[2 + MOST_ARRAYS * (2 + MOST_AXES)]
    cdef PyArrayObject *array
    cdef Py_ssize_t used = 2
    cdef int ndim
    if len(arrays) > MOST_ARRAYS or not _is_simple(size) or not _is_simple(settings):
        return None
    words[0], words[1] = is_new, threads
    for item in arrays:
        if type(item) is not ndarray or not has_flags(item, NPY_ARRAY_CARRAY):
            return None
        array = as_array(item)
        ndim = PyArray_NDIM(array)
        if ndim > MOST_AXES or not _is_plain(array):
            return None
        words[used], words[used + 1] = PyArray_TYPE(array), ndim
        memcpy(words + used + 2, PyArray_DIMS(array), ndim * sizeof(npy_intp))
        used += 2 + ndim
    return kind, size, settings, PyBytes_FromStringAndSize(<const char *>words, used * sizeof(npy_intp))


cdef inline bint _is_plain(PyArrayObject *array) noexcept:
    cdef void *descr = PyArray_DESCR(array)
    return descr == <void *>_float32 or descr == <void *>_float64 or descr == <void *>_int64


cdef inline bint _overlap(PyArrayObject *a, PyArrayObject *b) noexcept:
    """Whether two arrays without gaps may share memory."""
    cdef const char *start = <const char *>PyArray_DATA(a)
    cdef const char *other = <const char *>PyArray_DATA(b)
    cdef int64_t a_bytes = _cells(a) * (4 if PyArray_TYPE(a) == NPY_FLOAT32 else 8)
    cdef int64_t b_bytes = _cells(b) * (4 if PyArray_TYPE(b) == NPY_FLOAT32 else 8)
    return start < other + b_bytes and other < start + a_bytes


def remember_gradient(kind, size, tuple settings, tuple arrays, result, bint is_new, int threads, make):
    """Let gradients like this one, which went well, take the short way.

    ``make()`` gives an object whose ``run(arrays, out)`` fills a result from such arrays, none of which it overlaps,
    and says whether it could. The arrays are of the result's float type, indices of 64 bits, and none is empty.
    """
    cdef tuple key = _gradient_key(kind, size, settings, arrays, is_new, threads)
    cdef int number
    if key is None or type(result) is not ndarray or not _is_plain(as_array(result)) or _cells(as_array(result)) == 0:
        return
    number = PyArray_TYPE(as_array(result))
    if number == NPY_INT64 or PyArray_NDIM(as_array(result)) > MOST_AXES or PyArray_TYPE(as_array(arrays[0])) != number:
        return
    for item in arrays:
        if _cells(as_array(item)) == 0 or PyArray_TYPE(as_array(item)) not in (number, NPY_INT64):
            return
    if len(_gradients) >= MOST_GRADIENTS:
        _gradients.clear()
    _gradients[key] = Gradient(size, settings, result.shape, make)


def gradient_again(kind, size, tuple settings, tuple arrays, out, int threads):
    """The result of a gradient like one that is known; None if it needs the long way."""
    cdef tuple key = _gradient_key(kind, size, settings, arrays, out is None, threads)
    cdef Gradient known
    cdef PyArrayObject *target
    if key is None:
        return None
    known = _gradients.get(key)
    if known is None or not _is_same(settings, known.settings) or not _is_same(size, known.size):
        return None
    if out is None:
        out = result_array(<int>len(known.shape), known.out_size, PyArray_DESCR(as_array(arrays[0])), 0)
    else:
        if not takes_result(out, <int>len(known.shape), known.out_size, PyArray_DESCR(as_array(arrays[0]))):
            return None
        target = as_array(out)
        for item in arrays:
            if _overlap(target, as_array(item)):
                return None
    if known.prepared is None:
        known.prepared = known.make()
    return out if known.prepared.run(arrays, out) else None
