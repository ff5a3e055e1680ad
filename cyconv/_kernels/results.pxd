"""Where results lie: see ``results.h``."""
from libc.stdint cimport uintptr_t

cdef extern from "results.h":
    object result_array(int ndim, const Py_ssize_t *size, void *descr, uintptr_t phase)
