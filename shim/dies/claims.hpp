// Claims: which die each process of this user has chosen that sees one alone, in a file beside the
// statistics. Processes that start together learn from it of each other what the driver cannot say
// yet. Locked for as long as one of these lives, so that choices come one after another.
//
// Nothing depends on it: a file that is missing, foreign or garbled, or that somebody keeps locked,
// is one without claims.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barswap::dies {

struct Claim {
  std::string uuid;
  pid_t pid = 0;
  std::uint64_t started = 0;  // the process, as the kernel counts it: a number may come again
  std::uint64_t when_ns = 0;  // on the monotonic clock
  bool operator==(const Claim&) const = default;
};

// The claims of a file's text, as they stand there; what is none is left out.
std::vector<Claim> read_claims(std::string_view text);
std::string write_claims(const std::vector<Claim>& claims);

// When a process started; none, if it has ended.
std::optional<std::uint64_t> started_at(pid_t pid);

class Claims {
 public:
  // Waits for the lock, but never long. `runtime_dir` as for stats::open_folder.
  explicit Claims(const char* runtime_dir);
  ~Claims();
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  // Of other processes that live, oldest first.
  const std::vector<Claim>& living() const { return living_; }
  // The die that was chosen last, whether or not that process lives; empty: none.
  const std::string& last() const { return last_; }
  // This process takes a die. Without the lock nobody hears of it.
  void add(const std::string& uuid);

 private:
  void lock();
  void read();

  int file_ = -1;
  bool locked_ = false;
  std::vector<Claim> living_;
  std::string last_;
};

}  // namespace barswap::dies
