"""Names of ``simd.h`` for Cython: the scalar, the vector and what can be done with them.

``real_t`` and ``vec_t`` have their true size only in C, where the build fixes the scalar type; to Cython they are
"some float". Vectors support ``+ - *`` element by element.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "simd.h" nogil:
    ctypedef float real_t
    ctypedef float vec_t
    ctypedef void inlined "CYCONV_INLINED"
    ctypedef void outlined "CYCONV_OUTLINED"
    enum:
        VL "CYCONV_VL"
        TILE_ROWS "CYCONV_TILE_ROWS"
        REAL_SIZE "CYCONV_REAL_SIZE"
        REAL_IS_FLOAT "CYCONV_REAL_IS_FLOAT"
        REGISTERS "CYCONV_REGISTERS"
    vec_t vload(const real_t *p)
    void vstore(real_t *p, vec_t v)
    vec_t vset(real_t x)
    vec_t vzero()
    vec_t vevery_second(vec_t a, vec_t b, int first)
    vec_t vload_apart(const real_t *p, int64_t step)
    vec_t vhold(vec_t v)
    const real_t *hold_pointer(const real_t *p)
    void vcopy_part(real_t *to, const real_t *from_, int64_t count)
    vec_t vactivate(vec_t v, vec_t slope, vec_t lo, vec_t hi)
    uint64_t flush_subnormals()
    void restore_mode(uint64_t before)
    void assume "CYCONV_ASSUME"(bint fact)
    void prefetch "CYCONV_PREFETCH"(const void *p)
    void prefetch_far "CYCONV_PREFETCH_FAR"(const void *p)
    void prefetch_write "CYCONV_PREFETCH_WRITE"(const void *p)
