/* An integer that threads count up together, on a cache line of its own. */
#ifndef CYCONV_SHARES_H
#define CYCONV_SHARES_H
#include <stdint.h>

typedef struct {
    _Alignas(64) int64_t next;
    int64_t end;
} cyconv_range_t;

static inline int64_t cyconv_count_up(int64_t *value) { return __atomic_fetch_add(value, 1, __ATOMIC_RELAXED); }

#endif
