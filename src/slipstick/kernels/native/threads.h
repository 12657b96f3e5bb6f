// Threads, PyTorch's where they are to be had, else a pool of workers. They split outputs, never sums: results do not
// depend on their number.
#pragma once

#include <cstdint>
#include <functional>

namespace slipstick {

// Calls body(task) for every task in [0, tasks), on up to `threads` threads including the caller. Returns when all are
// done; the first exception thrown by a task is rethrown here. Safe after fork: a child starts its own workers.
void parallel_for(int64_t tasks, int threads, const std::function<void(int64_t)>& body);

}  // namespace slipstick
