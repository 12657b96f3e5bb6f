#include "isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace slipstick {

namespace {

constexpr int kUnset = -1;
std::atomic<int> g_isa{kUnset};

}  // namespace

const char* isa_name(Isa isa) {
    switch (isa) {
        case Isa::avx512: return "avx512";
        case Isa::avx2: return "avx2";
        default: return "portable";
    }
}

bool isa_available(Isa isa) {
    if (isa == Isa::portable) return true;
#if defined(SLIPSTICK_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    if (isa == Isa::avx2) return avx2;
#if defined(SLIPSTICK_EMULATED)
    return avx2;
#else
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni");
#endif
#else
    return false;
#endif
}

Isa detect_isa() {
    const char* wanted = std::getenv("SLIPSTICK_ISA");
    if (wanted && *wanted) {
        for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
            if (std::string(wanted) != isa_name(isa)) continue;
            if (isa_available(isa)) return isa;
            throw std::runtime_error(std::string("SLIPSTICK_ISA=") + wanted +
                                     ": this processor or build lacks it; choose a lower one of portable, avx2, avx512");
        }
        throw std::runtime_error(std::string("SLIPSTICK_ISA=") + wanted + ": choose portable, avx2 or avx512");
    }
#if defined(SLIPSTICK_EMULATED)
    return Isa::avx2;  // the emulated set is for tests that ask for it
#else
    if (isa_available(Isa::avx512)) return Isa::avx512;
    if (isa_available(Isa::avx2)) return Isa::avx2;
    return Isa::portable;
#endif
}

Isa current_isa() {
    int isa = g_isa.load(std::memory_order_relaxed);
    if (isa == kUnset) {
        isa = static_cast<int>(detect_isa());
        g_isa.store(isa, std::memory_order_relaxed);
    }
    return static_cast<Isa>(isa);
}

void set_isa(Isa isa) {
    if (!isa_available(isa))
        throw std::runtime_error(std::string(isa_name(isa)) + ": this processor or build lacks it");
    g_isa.store(static_cast<int>(isa), std::memory_order_relaxed);
}

}  // namespace slipstick
