// One life of the shim over one simulated machine, both in this process: what cuInit and the end of
// a process do, without a process. It owns the machine, the table of its driver and the session.
//
// The program that lives in it calls our exports (cuMemAlloc_v2 and so on, linked into the test),
// which find the session and the table here.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "session/session.hpp"
#include "sim/machine.hpp"

namespace barswap::support {

struct Setting {
  sim::Config machine;
  session::Setup setup;
  std::uint64_t host_room_bytes = 1_GiB;  // host memory that the machine can spare
};

// For Setup::free_of: what is free on a die of the machine that lives.
std::optional<std::uint64_t> free_of_machine(const std::string& uuid);

class Life {
 public:
  explicit Life(const Setting& setting);
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // Null if the machine is beyond us; then the program runs bare.
  session::Session* session() { return session_.get(); }
  const char* why_not() const { return why_; }
  sim::Machine& machine() { return machine_; }
  driver::Api& api() { return api_; }

  // All work that was submitted ends, without a driver call.
  void let_work_end();
  // The bytes that the program would read, straight from the frames; false if some are not mapped.
  bool peek(std::uint64_t address, void* out, std::uint64_t bytes);
  // What the books say against what the machine holds; empty when they agree. Between calls only.
  std::string check_books();
  // The program's ranges and all frames go; what is left says what leaked. Empty: nothing.
  std::string bury();

 private:
  struct Held {
    std::uint64_t hbm_bytes = 0, host_bytes = 0;
  };
  Held frames_of_machine();

  sim::Machine machine_;
  driver::Api api_;
  std::unique_ptr<session::Session> session_;
  const char* why_ = "";
};

}  // namespace barswap::support
