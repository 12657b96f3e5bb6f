// The threads that PyTorch keeps waiting between its own loops.
#pragma once

#include <functional>

namespace slipstick {

// Calls body once on each of `threads` threads including the caller and returns true; false, and nothing is called,
// where PyTorch has no OpenMP threads, or this process was forked and has lost them.
bool run_on_torch_team(int threads, const std::function<void()>& body);

}  // namespace slipstick
