// Result<T>: a value or an Error. It follows the member names of std::expected, so that it can
// become an alias once the compilers we support have it.
#pragma once
#include <cstdint>
#include <new>
#include <utility>

namespace barswap {

enum class Fault : std::uint8_t {
  driver,         // the driver refused; driver_code travels back unchanged
  out_of_memory,  // every allowed tier is full
  not_supported,  // this machine or driver cannot do it
  invalid,        // the caller's argument names nothing of ours
  busy,           // not now: somebody works, captures or moves
};

struct [[nodiscard]] Error {
  Fault fault;
  int driver_code = 0;  // a CUresult, only with Fault::driver
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : has_value_(true) { ::new (&value_) T(std::move(value)); }
  Result(Error error) : error_(error), has_value_(false) {}
  Result(Result&& other) noexcept : has_value_(other.has_value_) {
    if (has_value_) ::new (&value_) T(std::move(other.value_));
    else error_ = other.error_;
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  Result& operator=(Result&& other) noexcept {
    if (this != &other) {
      this->~Result();
      ::new (this) Result(std::move(other));
    }
    return *this;
  }
  ~Result() {
    if (has_value_) value_.~T();
  }
  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  T& value() { return value_; }
  T& operator*() { return value_; }
  T* operator->() { return &value_; }
  Error error() const { return error_; }

 private:
  union {
    T value_;
    Error error_;
  };
  bool has_value_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(error), has_value_(false) {}
  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  Error error() const { return error_; }

 private:
  Error error_{Fault::driver, 0};
  bool has_value_ = true;
};

}  // namespace barswap

// The value of a Result, or an early return of its error.
#define BARSWAP_TRY(expression)                                  \
  __extension__({                                                \
    auto barswap_result = (expression);                          \
    if (!barswap_result) return barswap_result.error();          \
    std::move(*barswap_result);                                  \
  })
#define BARSWAP_TRY_VOID(expression)                             \
  do {                                                           \
    auto barswap_result = (expression);                          \
    if (!barswap_result) return barswap_result.error();          \
  } while (0)
