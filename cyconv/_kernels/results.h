/* Memory of results, which begins with a line of the cache, or as far behind one as is asked for.

   A vector that is stored across two lines takes as long as three that are not, and NumPy's arrays begin 16 bytes behind
   a line, or anywhere. The memory is NumPy's to move and to free, by this allocator; in front of it is what malloc gave. */
#ifndef CYCONV_RESULTS_H
#define CYCONV_RESULTS_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <numpy/arrayobject.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { RESULT_LINE = 64, RESULT_LEAST = 32 << 10, RESULT_LARGE = 4 << 20 };

static _Thread_local uintptr_t result_phase; /* bytes behind a line, less than one */

/* The first line with room for a pointer in front of it. */
static inline char *result_line(char *given) {
    return given + sizeof given + (-((uintptr_t)given + sizeof given) & (RESULT_LINE - 1));
}

static inline char *result_begin(char *given) {
    char *begin = result_line(given) + result_phase;
    memcpy(begin - sizeof(void *), &given, sizeof given);
    return begin;
}

static inline char *result_given(void *begin) {
    char *given;
    memcpy(&given, (char *)begin - sizeof given, sizeof given);
    return given;
}

/* As NumPy does for its own: from 4 MiB on, large pages, unless the environment says no. */
static inline void result_advise(char *begin, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const char *wish = getenv("NUMPY_MADVISE_HUGEPAGE");
    size_t before = -(uintptr_t)begin % 4096;
    if (size >= RESULT_LARGE && !(wish && *wish == '0'))
        madvise(begin + before, size - before, MADV_HUGEPAGE);
#endif
}

static void *result_malloc(void *context, size_t size) {
    char *given = size <= SIZE_MAX - 4 * RESULT_LINE ? malloc(size + 3 * RESULT_LINE) : NULL;
    char *begin = given ? result_begin(given) : NULL;
    (void)context;
    if (begin) result_advise(begin, size);
    return begin;
}

static void *result_calloc(void *context, size_t count, size_t each) {
    void *begin = !each || count <= SIZE_MAX / each ? result_malloc(context, count * each) : NULL;
    return begin ? memset(begin, 0, count * each) : NULL;
}

static void result_free(void *context, void *begin, size_t size) {
    (void)context;
    (void)size;
    if (begin) free(result_given(begin));
}

static void *result_realloc(void *context, void *begin, size_t size) {
    char *given, *moved;
    size_t at;
    if (!begin) return result_malloc(context, size);
    given = result_given(begin);
    at = (uintptr_t)begin - (uintptr_t)given;
    moved = size <= SIZE_MAX - 4 * RESULT_LINE ? realloc(given, size + 3 * RESULT_LINE) : NULL;
    if (!moved) return NULL;
    memmove(result_line(moved), moved + at, size);
    result_phase = 0;
    return result_begin(moved);
}

static PyDataMem_Handler result_handler = {
    "cyconv_results", 1, {NULL, result_malloc, result_calloc, result_realloc, result_free}};

/* A C-contiguous array of any numbers, whose memory begins ``phase`` bytes behind a line if it is so large that this
   saves more than asking NumPy for it takes, 0.3 us. */
static PyObject *result_array(int ndim, const npy_intp *size, void *dtype, uintptr_t phase) {
    PyArray_Descr *descr = dtype;
    static PyObject *capsule = NULL;
    PyObject *before, *now, *array;
    npy_intp nbytes = PyDataType_ELSIZE(descr);
    int i;
    for (i = 0; i < ndim; i++) nbytes *= size[i];
    Py_INCREF(descr); /* for PyArray_Empty, which takes it */
    if (nbytes < RESULT_LEAST) return PyArray_Empty(ndim, size, descr, 0);
    if (!capsule && !(capsule = PyCapsule_New(&result_handler, "mem_handler", NULL))) {
        Py_DECREF(descr);
        return NULL;
    }
    before = PyDataMem_SetHandler(capsule);
    if (!before) {
        Py_DECREF(descr);
        return NULL;
    }
    result_phase = phase % RESULT_LINE;
    array = PyArray_Empty(ndim, size, descr, 0);
    now = PyDataMem_SetHandler(before);
    Py_DECREF(before);
    if (!now) Py_CLEAR(array);
    Py_XDECREF(now);
    return array;
}
#endif
