#include "pager/veil.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/clock.hpp"
#include "base/futex.hpp"

namespace barswap::pager {
namespace {

// A thread that was admitted may wait in the driver for another, which waits to be.
constexpr std::uint64_t kAdmitNs = 10'000'000'000;

void put(char (&field)[BARSWAP_VERIFY_TEXT], const std::string& text) {
  const std::size_t size = std::min(text.size(), sizeof field - 1);
  std::memcpy(field, text.data(), size);
  field[size] = '\0';
}

}  // namespace

std::atomic<Veil*> Veil::current_{nullptr};

Veil::~Veil() {
  stop(BARSWAP_VERIFY_ENDED, "");
  if (record_) munmap(record_, sizeof *record_);
}

bool Veil::start(const char* folder) {
  const std::string number = std::to_string(getpid());
  const std::string path = std::string(folder) + "/" + number + ".verify";
  dump_ = std::string(folder) + "/core." + number;
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return false;
  void* memory = MAP_FAILED;
  if (posix_fallocate(file, 0, sizeof(barswap_verify)) == 0)
    memory = mmap(nullptr, sizeof(barswap_verify), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return false;
  record_ = static_cast<barswap_verify*>(memory);
  record_->version = BARSWAP_VERIFY_VERSION;
  record_->size = sizeof(barswap_verify);
  record_->pid = static_cast<std::uint32_t>(getpid());
  record_->state = BARSWAP_VERIFY_WATCHING;
  std::atomic_ref<std::uint64_t>(record_->magic)
      .store(BARSWAP_VERIFY_MAGIC, std::memory_order_release);
  current_.store(this, std::memory_order_release);
  return true;
}

void Veil::stop(barswap_verify_state state, const char* reason) {
  Veil* mine = this;
  if (!current_.compare_exchange_strong(mine, nullptr, std::memory_order_acq_rel)) return;
  put(record_->reason, reason);
  std::atomic_ref<std::uint32_t>(record_->state).store(state, std::memory_order_release);
}

// A ticket that is given up is never served: that ends with the veil, and then nobody waits.
bool Veil::admit() {
  const std::uint32_t ticket = tickets_.fetch_add(1, std::memory_order_acq_rel);
  std::uint32_t seen = served_.load(std::memory_order_acquire);
  std::uint64_t limit_ns = now_ns() + kAdmitNs;
  for (;;) {
    const std::uint32_t served = served_.load(std::memory_order_acquire);
    if (current() != this) return false;
    if (served == ticket) return true;
    if (served != seen) {
      seen = served;
      limit_ns = now_ns() + kAdmitNs;
    }
    if (now_ns() > limit_ns) return false;
    futex_wait(served_, served, 1'000'000);
  }
}

void Veil::dismiss() {
  served_.fetch_add(1, std::memory_order_acq_rel);
  futex_wake(served_);
}

bool Veil::dumped() const { return access(dump_.c_str(), F_OK) == 0; }

void Veil::describe(const Work& work, bool everything) {
  put(record_->kernel, work.kernel);
  put(record_->site, work.site);
  record_->everything = everything ? 1 : 0;
}

}  // namespace barswap::pager
