// Compiles the functions of KERNELS, the name of a file, for each instruction set that may be met, and calls the widest
// of them that the processor has. Include it once, after what those functions need. LANES: floats of the set's vectors
// (the compiler's own macros, such as __AVX2__, do not follow a change of target).

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <omp.h>
#include <type_traits>

#define LANES 4
namespace baseline {
#include KERNELS
}
#undef LANES

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SEVERAL
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LANES 8
namespace avx2 {
#include KERNELS
}
#undef LANES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#define LANES 16
namespace avx512 {
#include KERNELS
}
#undef LANES
#pragma GCC pop_options
#endif

enum InstructionSet { BASELINE, AVX2, AVX512 };

static int widest() { // all that each copy above was compiled for
#ifdef SEVERAL
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
    return BASELINE;
}

static int instruction_set = widest();

// Use none wider than `most`, for tests; returns what is used now.
extern "C" int limit_instruction_set(int most) { return instruction_set = most < widest() ? most : widest(); }

#ifdef SEVERAL
#define DISPATCH(...)                                                                                                  \
    if (instruction_set == AVX512) return avx512::__VA_ARGS__;                                                         \
    if (instruction_set == AVX2) return avx2::__VA_ARGS__;                                                             \
    return baseline::__VA_ARGS__
#else
#define DISPATCH(...) return baseline::__VA_ARGS__
#endif
