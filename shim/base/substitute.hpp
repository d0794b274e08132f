// Substitute: another value of one environment variable, for code that reads it meanwhile. No lock:
// the caller sees to it that one is shown at a time.
//
// setenv would do this as well, but it moves the process's array while other threads may read it,
// and what it added would stay. Here the whole array is exchanged by one store and afterwards put
// back: whoever reads meanwhile sees one of the two whole. The array shown is never freed, since
// somebody may still be reading it.
#pragma once
#include <cstddef>

namespace barswap {

class Substitute {
 public:
  // False: there is no memory, and nothing is shown. The name is kept, the value is copied.
  bool show(const char* name, const char* value);
  // The environment as it was before. What others have changed in it meanwhile stays.
  void withdraw();

 private:
  bool untouched() const;
  void withdraw_among_changes();

  char** before_ = nullptr;
  char** shown_ = nullptr;
  std::size_t at_ = 0;     // of the variable in `shown_`
  std::size_t count_ = 0;  // of the variables in `shown_`
  const char* name_ = nullptr;
  char* entry_ = nullptr;      // "NAME=value"
  char* old_entry_ = nullptr;  // in whose place it stands; null: there was none
};

// Another value for good, by the same exchange; null: the variable is taken away. False: there is
// no memory, and nothing has changed.
bool replace_variable(const char* name, const char* value);

}  // namespace barswap
