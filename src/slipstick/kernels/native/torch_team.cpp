// PyTorch's loops leave their OpenMP threads spinning for a while, in wait for the next loop. Threads of our own would
// share the cores with them. So kernels run on those same threads, through the OpenMP runtime that libtorch is linked to.
#include "torch_team.h"

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cstring>
#include <string>
#endif

namespace slipstick {

#if defined(__linux__)

namespace {

// GNU's entry into a parallel region, which other OpenMP runtimes have too: fn(data) on so many threads.
using Parallel = void (*)(void (*fn)(void*), void* data, unsigned threads, unsigned flags);

int remember_libtorch(dl_phdr_info* library, size_t, void* path) {
    if (!std::strstr(library->dlpi_name, "libtorch_cpu.")) return 0;
    *static_cast<std::string*>(path) = library->dlpi_name;
    return 1;
}

Parallel parallel_of_torch() {
    std::string path;
    if (!dl_iterate_phdr(&remember_libtorch, &path)) return nullptr;
    void* library = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return nullptr;
    const auto found = reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));  // in it or in what it is linked to
    dlclose(library);
    return found;
}

const pid_t loaded_in = getpid();

void call(void* body) { (*static_cast<const std::function<void()>*>(body))(); }

}  // namespace

bool run_on_torch_team(int threads, const std::function<void()>& body) {
    static const Parallel parallel = parallel_of_torch();
    if (!parallel || getpid() != loaded_in) return false;
    parallel(&call, const_cast<std::function<void()>*>(&body), static_cast<unsigned>(threads), 0);
    return true;
}

#else

bool run_on_torch_team(int, const std::function<void()>&) { return false; }

#endif

}  // namespace slipstick
