#include "play.hpp"

#include <vector>

#include "../barswap/format.hpp"
#include "timing.hpp"
#include "words.hpp"

namespace barswap::bench {
namespace {

using nlohmann::ordered_json;

// Warming up ends here, so that what reads the host again and again stays short. What carries from
// cycle to cycle is spared: its hash depends on the number of cycles.
constexpr double kWarmMaxS = 6;

class Player {
 public:
  explicit Player(const Task& task)
      : task_(task),
        workload_(task.workload),
        keeper_(make_keeper(task.keeping, task.workload, task.cap_bytes)),
        // One sum for each step of a cycle and each range, and one that nobody asks for.
        sums_(Memory::Kind::device, (slots() + 1) * sizeof(std::uint64_t)) {
    BARSWAP_NEED(cuMemsetD8, sums_.device(), 0, (slots() + 1) * sizeof(std::uint64_t));
    for (std::uint32_t i = 0; i < workload_.ranges; ++i)
      run({Step::Kind::fill, kNoRange, i, 1, 0}, slots(), i + 1);
    if (task.spoil) run({Step::Kind::fill, kNoRange, 0, 1, sizeof(Piece)}, slots(), ~0u);
    die_.wait();
  }

  ordered_json play() {
    const double start_s = now_s();
    std::uint32_t warmed = 0;
    while (warmed < task_.warm_cycles && (workload_.carries || now_s() - start_s < kWarmMaxS)) {
      cycle(false, warmed);
      ++warmed;
    }
    const double took_s = seconds_of([&] {
      for (std::uint32_t i = 0; i < task_.timed_cycles; ++i) cycle(true, i);
    });
    for (std::uint32_t i = 0; i < workload_.ranges; ++i)
      run({Step::Kind::read, i, kNoRange, 1, 0}, workload_.cycle.size() + i, 0);
    die_.wait();
    return {{"hash", tools::format("%016llx", static_cast<unsigned long long>(hash()))},
            {"bytes", workload_.bytes()},
            {"cycle_s", took_s / task_.timed_cycles},
            {"warm_cycles", warmed},
            {"timed_cycles", task_.timed_cycles}};
  }

 private:
  std::size_t slots() const { return workload_.cycle.size() + workload_.ranges; }

  // A program that waits for each of its results, as one does that makes tokens.
  void cycle(bool timed, std::uint32_t number) {
    for (std::size_t i = 0; i < workload_.cycle.size(); ++i)
      run(workload_.cycle[i], timed ? i : slots(), number);
    die_.wait();
  }

  void run(const Step& step, std::size_t slot, std::uint32_t seed) {
    const CUdeviceptr sum = sums_.device() + slot * sizeof(std::uint64_t);
    if (step.kind == Step::Kind::churn) return churn(step, sum);
    const Keeper::Place at = keeper_->enter(step);
    const std::uint64_t bytes = step.bytes == 0 ? workload_.range_bytes : step.bytes;
    const std::uint64_t pieces = bytes / sizeof(Piece);
    switch (step.kind) {
      case Step::Kind::fill: die_.fill(at.stream, at.io, pieces, seed); break;
      case Step::Kind::read: die_.read(at.stream, at.in, pieces, step.times, sum); break;
      case Step::Kind::wave: die_.step(at.stream, at.in, at.io, pieces); break;
      case Step::Kind::gather: gather(at, seed * workload_.ranges + step.in, sum); break;
      case Step::Kind::churn: break;
    }
    keeper_->leave(step);
  }

  void gather(const Keeper::Place& at, std::uint32_t seed, CUdeviceptr sum) const {
    const std::uint64_t rows = workload_.range_bytes / (kRowPieces * sizeof(Piece));
    die_.gather(at.stream, at.in, static_cast<std::uint32_t>(rows), rows / kRowsOfDraw, seed, sum);
  }

  void churn(const Step& step, CUdeviceptr sum) const {
    const Memory memory(Memory::Kind::device, step.bytes);
    const std::uint64_t pieces = step.bytes / sizeof(Piece);
    die_.fill(churn_stream_, memory.device(), pieces, static_cast<std::uint32_t>(pieces));
    die_.read(churn_stream_, memory.device(), pieces, 1, sum);
    // Memory is given back with nothing on its way to it.
    BARSWAP_NEED(cuStreamSynchronize, churn_stream_);
  }

  std::uint64_t hash() const {
    std::vector<std::uint64_t> sums(slots());
    BARSWAP_NEED(cuMemcpyDtoH, sums.data(), sums_.device(), slots() * sizeof(std::uint64_t));
    std::uint64_t value = 0x452821e638d01377ull;
    for (const std::uint64_t sum : sums) {
      value = (value ^ sum) * 0x9fb21c651e98df25ull;
      value = (value << 29 | value >> 35) ^ value >> 17;
    }
    return value;
  }

  const Task& task_;
  const Workload& workload_;
  Die die_;
  std::unique_ptr<Keeper> keeper_;
  Memory sums_;
  Stream churn_stream_;
};

}  // namespace

void play(const Task& task, const std::function<void(const ordered_json&)>& hold) {
  Player player(task);
  hold(player.play());
}

}  // namespace barswap::bench
