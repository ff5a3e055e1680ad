"""What the processor and the compiler offer. Compiled once, for the lowest instruction set."""

cdef extern from *:
    """
    #include <unistd.h>
    #ifdef _OPENMP
    #include <omp.h>
    #define CYCONV_OPENMP _OPENMP
    #else
    #define CYCONV_OPENMP 0
    #endif

    #if defined(__x86_64__) || defined(__amd64__)
    #include <cpuid.h>
    /* The levels of the x86-64 psABI that the builds are compiled for; the operating system's part is checked too. */
    static int cyconv_level(void) {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
              && __builtin_cpu_supports("bmi2")))
            return __builtin_cpu_supports("sse4.2") ? 2 : 1;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
              && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
              && __builtin_cpu_supports("avx512vl")))
            return 3;
        return 4;
    }
    /* Zen 4 (AMD family 19h) has AVX-512 but passes its vectors in halves. */
    static int cyconv_splits_vectors(void) {
        unsigned eax, ebx, ecx, edx;
        if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_AMD_ebx || ecx != signature_AMD_ecx)
            return 0;
        __get_cpuid(1, &eax, &ebx, &ecx, &edx);
        return ((eax >> 8 & 15) + (eax >> 20 & 255)) == 0x19;
    }
    #else
    static int cyconv_level(void) { return 2; }
    static int cyconv_splits_vectors(void) { return 0; }
    #endif

    #if defined(__clang__)
    #define CYCONV_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define CYCONV_COMPILER "gcc " __VERSION__
    #else
    #define CYCONV_COMPILER "unknown"
    #endif

    static long cyconv_cache(int level) {
    #if defined(_SC_LEVEL1_DCACHE_SIZE)
        return sysconf(level == 1 ? _SC_LEVEL1_DCACHE_SIZE : level == 2 ? _SC_LEVEL2_CACHE_SIZE
                                                           : _SC_LEVEL3_CACHE_SIZE);
    #else
        return 0;
    #endif
    }
    """
    int CYCONV_OPENMP
    const char *CYCONV_COMPILER
    int cyconv_level() nogil
    int cyconv_splits_vectors() nogil
    long cyconv_cache(int level) nogil

_LEVEL_OF = {"baseline": 2, "avx2": 3, "avx512": 4}


def can_run(str build) -> bool:
    """Whether this processor has every instruction of ``build``."""
    return cyconv_level() >= _LEVEL_OF[build]


def splits_vectors() -> bool:
    """Whether vectors of 64 bytes take two steps of 32."""
    return cyconv_splits_vectors() != 0


def cache_bytes() -> tuple:
    """Sizes of the data caches of level 1, 2 and 3 in bytes; 0 where the system does not say."""
    return tuple(max(0, cyconv_cache(level)) for level in (1, 2, 3))


def openmp_version() -> int:
    """The date of the OpenMP standard compiled in (201511 is 4.5), 0 for a serial build."""
    return CYCONV_OPENMP


def compiler() -> str:
    """Name and version of the compiler that built the kernels."""
    return CYCONV_COMPILER.decode("ascii", "replace")
