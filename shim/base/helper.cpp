#include "base/helper.hpp"

#include <signal.h>
#include <time.h>

#include "base/futex.hpp"

namespace barswap {

void Helper::start(const Work& work) {
  if (started_.exchange(true, std::memory_order_acq_rel)) return ring();
  work_ = work;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool made = pthread_create(&thread_, nullptr, main, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  running_.store(made, std::memory_order_release);
}

void Helper::ring() {
  bell_.fetch_add(1, std::memory_order_release);
  futex_wake(bell_);
}

void* Helper::main(void* self) {
  auto* helper = static_cast<Helper*>(self);
  pthread_setname_np(pthread_self(), helper->work_.name);
  if (helper->work_.begin) helper->work_.begin(helper->work_.self);
  while (!helper->ending_.load(std::memory_order_acquire)) {
    const std::uint32_t heard = helper->bell_.load(std::memory_order_acquire);
    futex_wait(helper->bell_, heard, helper->work_.turn(helper->work_.self));
  }
  return nullptr;
}

void Helper::stop(int seconds) {
  ending_.store(true, std::memory_order_release);
  if (!running_.exchange(false, std::memory_order_acq_rel)) return;
  ring();
  timespec limit;
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += seconds;
  (void)pthread_timedjoin_np(thread_, nullptr, &limit);
}

}  // namespace barswap
