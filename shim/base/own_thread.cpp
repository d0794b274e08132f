#include "base/own_thread.hpp"

#include <signal.h>
#include <time.h>

#include "base/futex.hpp"

namespace barswap {

void OwnThread::start(const Work& work) {
  if (started_.exchange(true, std::memory_order_acq_rel)) return ring();
  work_ = work;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool made = pthread_create(&thread_, nullptr, main, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  running_.store(made, std::memory_order_release);
  if (ending_.load(std::memory_order_acquire)) stop(1);  // that came before, and found nothing
}

void OwnThread::ring() {
  bell_.fetch_add(1, std::memory_order_release);
  futex_wake(bell_);
}

void* OwnThread::main(void* self) {
  auto* own = static_cast<OwnThread*>(self);
  pthread_setname_np(pthread_self(), own->work_.name);
  if (own->ending_.load(std::memory_order_acquire)) return nullptr;
  if (own->work_.begin) own->work_.begin(own->work_.self);
  while (!own->ending_.load(std::memory_order_acquire)) {
    const std::uint32_t heard = own->bell_.load(std::memory_order_acquire);
    futex_wait(own->bell_, heard, own->work_.turn(own->work_.self));
  }
  return nullptr;
}

void OwnThread::stop(int seconds) {
  ending_.store(true, std::memory_order_release);
  if (!running_.exchange(false, std::memory_order_acq_rel)) return;
  ring();
  timespec limit;
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += seconds;
  (void)pthread_timedjoin_np(thread_, nullptr, &limit);
}

}  // namespace barswap
