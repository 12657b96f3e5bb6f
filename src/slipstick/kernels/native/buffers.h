// Memory for codes, at addresses that whole vectors may be read from.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

namespace slipstick {

struct FreeDeleter {
    void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<char, FreeDeleter>;

inline Buffer allocate(size_t bytes) {
    char* p = static_cast<char*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64));
    if (!p) throw std::bad_alloc();
    return Buffer(p);
}

// Reused by every block that a thread computes.
inline char* workspace(size_t bytes) {
    thread_local Buffer buffer;
    thread_local size_t held = 0;
    if (bytes > held) {
        buffer.reset();
        held = 0;
        buffer = allocate(bytes);
        held = bytes;
    }
    return buffer.get();
}

}  // namespace slipstick
