// Which instruction set the kernels run on. It changes speed only, never a bit of a result.
#pragma once

namespace slipstick {

enum class Isa { portable = 0, avx2 = 1, avx512 = 2 };

// The best instruction set that this processor has and this build contains, or a lower one where the environment
// variable SLIPSTICK_ISA names it ("portable", "avx2", "avx512"). Throws std::runtime_error for an unknown or missing one.
Isa detect_isa();

// The one in use: detected at first use; set_isa is for tests and benchmarks.
Isa current_isa();
void set_isa(Isa isa);
bool isa_available(Isa isa);
const char* isa_name(Isa isa);

}  // namespace slipstick
