#include "threads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "torch_team.h"

namespace slipstick {

namespace {

struct Job {
    Job(int64_t count, const std::function<void(int64_t)>& call) : tasks(count), body(&call) {}

    const int64_t tasks;
    const std::function<void(int64_t)>* body;
    std::atomic<int64_t> next{0};
    std::atomic<int> helpers{0};
    std::mutex error_lock;
    std::exception_ptr error;

    void work() {
        for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
            try {
                (*body)(task);
            } catch (...) {
                std::lock_guard<std::mutex> guard(error_lock);
                if (!error) error = std::current_exception();
                next.store(tasks);
            }
        }
    }
};

class Pool {
public:
    explicit Pool(pid_t owner) : owner_(owner) {}

    pid_t owner() const { return owner_; }

    void run(Job& job, int helpers) {
        {
            std::lock_guard<std::mutex> guard(lock_);
            while (static_cast<int>(workers_) < helpers) {
                std::thread([this] { loop(); }).detach();
                ++workers_;
            }
            job_ = &job;
            wanted_ = helpers;
            ++generation_;
        }
        wake_.notify_all();
        job.work();
        std::unique_lock<std::mutex> guard(lock_);
        wanted_ = 0;
        job_ = nullptr;
        done_.wait(guard, [&] { return active_ == 0; });
    }

    std::mutex& entry() { return entry_; }

private:
    void loop() {
        uint64_t seen = 0;
        std::unique_lock<std::mutex> guard(lock_);
        for (;;) {
            wake_.wait(guard, [&] { return generation_ != seen && wanted_ > 0; });
            seen = generation_;
            --wanted_;
            ++active_;
            Job* job = job_;
            guard.unlock();
            job->work();
            guard.lock();
            if (--active_ == 0) done_.notify_all();
        }
    }

    const pid_t owner_;
    std::mutex entry_, lock_;
    std::condition_variable wake_, done_;
    size_t workers_ = 0;
    Job* job_ = nullptr;
    int wanted_ = 0, active_ = 0;
    uint64_t generation_ = 0;
};

// Workers live as long as the process, so the pool is never destroyed; a forked child leaves its parent's behind.
Pool& pool() {
    static std::mutex guard_lock;
    static Pool* current = nullptr;
    std::lock_guard<std::mutex> guard(guard_lock);
    if (!current || current->owner() != getpid()) current = new Pool(getpid());
    return *current;
}

}  // namespace

void parallel_for(int64_t tasks, int threads, const std::function<void(int64_t)>& body) {
    Job job(tasks, body);
    const int helpers = static_cast<int>(std::min<int64_t>(threads, tasks)) - 1;
    if (helpers <= 0) {
        job.work();
    } else {
        Pool& shared = pool();
        std::unique_lock<std::mutex> entry(shared.entry(), std::try_to_lock);
        if (!entry.owns_lock())
            job.work();
        // Of as many threads as ever: a team that changes its size is made anew.
        else if (!run_on_torch_team(threads, [&] { job.work(); }))
            shared.run(job, helpers);
    }
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace slipstick
