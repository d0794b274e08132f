#include "base/substitute.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace barswap {
namespace {

std::size_t count_of(char** variables) {
  std::size_t count = 0;
  while (variables && variables[count]) ++count;
  return count;
}

bool names(const char* entry, const char* name, std::size_t bytes) {
  return std::strncmp(entry, name, bytes) == 0 && entry[bytes] == '=';
}

bool take_away(const char* name) {
  const std::size_t bytes = std::strlen(name);
  char** kept = new (std::nothrow) char*[count_of(environ) + 1];
  if (!kept) return false;
  std::size_t count = 0;
  for (char** entry = environ; entry && *entry; ++entry)
    if (!names(*entry, name, bytes)) kept[count++] = *entry;
  kept[count] = nullptr;
  __atomic_store_n(&environ, kept, __ATOMIC_RELEASE);
  return true;
}

}  // namespace

bool Substitute::show(const char* name, const char* value) {
  name_ = name;
  const std::size_t name_bytes = std::strlen(name), value_bytes = std::strlen(value);
  before_ = environ;
  const std::size_t known = count_of(before_);
  entry_ = new (std::nothrow) char[name_bytes + value_bytes + 2];
  shown_ = new (std::nothrow) char*[known + 2];
  if (!entry_ || !shown_) return false;
  std::memcpy(entry_, name, name_bytes);
  entry_[name_bytes] = '=';
  std::memcpy(entry_ + name_bytes + 1, value, value_bytes + 1);
  at_ = known;
  for (std::size_t i = known; i-- > 0;) {
    shown_[i] = before_[i];
    // Of two of one name the first is read.
    if (std::strncmp(before_[i], entry_, name_bytes + 1) == 0) at_ = i;
  }
  old_entry_ = at_ == known ? nullptr : before_[at_];
  shown_[at_] = entry_;
  count_ = at_ == known ? known + 1 : known;
  shown_[count_] = nullptr;
  __atomic_store_n(&environ, shown_, __ATOMIC_RELEASE);
  return true;
}

bool Substitute::untouched() const {
  if (environ != shown_ || shown_[count_]) return false;
  for (std::size_t i = 0; i < count_; ++i)
    if (shown_[i] != (i == at_ ? entry_ : before_[i])) return false;
  return true;
}

void Substitute::withdraw() {
  if (untouched()) __atomic_store_n(&environ, before_, __ATOMIC_RELEASE);
  else withdraw_among_changes();
}

// Somebody has set a variable: the array shown is the process's own now, and the one before it may
// be gone. glibc frees it, if it was made by setenv, when a variable is added.
void Substitute::withdraw_among_changes() {
  char** own = environ;
  for (; own && *own && *own != entry_; ++own) {}
  // Or this very variable: then it has the value that it was given.
  if (!own || !*own) return;
  if (old_entry_) *own = old_entry_;
  else unsetenv(name_);
}

// What is shown and never withdrawn stays.
bool replace_variable(const char* name, const char* value) {
  Substitute substitute;
  return value ? substitute.show(name, value) : take_away(name);
}

}  // namespace barswap
