#include "dies/claims.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "base/clock.hpp"
#include "stats/folder.hpp"

namespace barswap::dies {
namespace {

constexpr const char* kFile = "claims";
// More processes than any machine starts on its dies; the oldest are left out.
constexpr std::size_t kClaimsMax = 512;
constexpr std::size_t kFileBytesMax = 64 * 1024;
constexpr std::size_t kUuidBytesMax = 40;  // "GPU-", 32 digits, four dashes
// A choice takes a millisecond. Who holds the lock for longer was stopped in the middle.
constexpr std::uint64_t kPatienceNs = 200'000'000;
constexpr std::uint64_t kNapNs = 1'000'000;

std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template <class Number>
bool read_number(std::string_view word, Number& number) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc() && end == word.data() + word.size();
}

bool is_uuid(std::string_view word) {
  return word.starts_with("GPU-") && word.size() <= kUuidBytesMax &&
         word.find_first_not_of("0123456789abcdef-", 4) == word.npos;
}

bool read_claim(std::string_view line, Claim& claim) {
  const std::string_view uuid = next_word(line);
  claim.uuid = uuid;
  return is_uuid(uuid) && read_number(next_word(line), claim.pid) && claim.pid > 0 &&
         read_number(next_word(line), claim.started) && read_number(line, claim.when_ns);
}

std::string read_whole(int file) {
  std::string text(kFileBytesMax, '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// Only a file that we made ourselves; not blocking, whatever lies in its place.
int open_claims(const char* runtime_dir) {
  stats::Folder folder;
  if (!stats::open_folder(stats::Place::runtime_dir, runtime_dir, true, folder) &&
      !stats::open_folder(stats::Place::shared_memory, runtime_dir, true, folder))
    return -1;
  const int file = openat(folder.descriptor, kFile,
                          O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  stats::close_folder(folder);
  struct stat status {};
  if (file < 0 ||
      (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid()))
    return file;
  close(file);
  return -1;
}

}  // namespace

std::vector<Claim> read_claims(std::string_view text) {
  std::vector<Claim> claims;
  // A line without its end was cut short.
  for (std::size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    Claim claim;
    if (read_claim(text.substr(0, end), claim)) claims.push_back(claim);
  }
  return claims;
}

std::string write_claims(const std::vector<Claim>& claims) {
  std::string text;
  for (const Claim& claim : claims)
    text += claim.uuid + " " + std::to_string(claim.pid) + " " + std::to_string(claim.started) +
            " " + std::to_string(claim.when_ns) + "\n";
  return text;
}

std::optional<std::uint64_t> started_at(pid_t pid) {
  char path[32], buffer[1024];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  const ssize_t got = ::read(file, buffer, sizeof buffer);
  close(file);
  if (got <= 0) return std::nullopt;
  // The second field is the program's name in brackets and may hold anything; from the third on
  // they are single words. The 22nd is the start.
  std::string_view text(buffer, static_cast<std::size_t>(got));
  text.remove_prefix(std::min(text.rfind(')'), text.size() - 1) + 1);
  text.remove_prefix(std::min<std::size_t>(1, text.size()));
  const std::string_view state = next_word(text);
  if (state.empty() || state == "Z" || state == "X") return std::nullopt;
  for (int field = 4; field < 22; ++field) next_word(text);
  std::uint64_t started = 0;
  if (!read_number(next_word(text), started)) return std::nullopt;
  return started;
}

Claims::Claims(const char* runtime_dir) : file_(open_claims(runtime_dir)) {
  if (file_ < 0) return;
  lock();
  read();
}

Claims::~Claims() {
  if (file_ < 0) return;
  // Closing would leave the lock with a child that another thread is just making.
  if (locked_) flock(file_, LOCK_UN);
  close(file_);
}

void Claims::lock() {
  const std::uint64_t until_ns = now_ns() + kPatienceNs;
  while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if ((errno != EWOULDBLOCK && errno != EINTR) || now_ns() >= until_ns) return;
    sleep_ns(kNapNs);
  }
  locked_ = true;
}

void Claims::read() {
  std::vector<Claim> all = read_claims(read_whole(file_));
  if (!all.empty()) last_ = all.back().uuid;
  // What this process claimed before an exec does not hold any more.
  std::erase_if(all, [](const Claim& claim) {
    return claim.pid == getpid() || started_at(claim.pid) != claim.started;
  });
  living_ = std::move(all);
}

// The new end last: a process that is killed in between leaves lines to be passed over.
void Claims::add(const std::string& uuid) {
  const auto started = started_at(getpid());
  if (!locked_ || !started) return;
  std::vector<Claim> all = living_;
  all.push_back({uuid, getpid(), *started, now_ns()});
  if (all.size() > kClaimsMax)
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(kClaimsMax));
  const std::string text = write_claims(all);
  if (!stats::file_size_allowed(text.size())) return;
  const ssize_t written = pwrite(file_, text.data(), text.size(), 0);
  if (written < 0 || ftruncate(file_, written) != 0) return;
}

}  // namespace barswap::dies
