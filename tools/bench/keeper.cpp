#include "keeper.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace barswap::bench {
namespace {

constexpr Keeping kKeepings[] = {Keeping::plain, Keeping::in_place, Keeping::double_buffer};

// Ranges that stay where they were made, the first of them in HBM.
class Still : public Keeper {
 public:
  Still(const Workload& workload, std::uint64_t hbm_bytes) {
    for (std::uint64_t i = 0; i < workload.ranges; ++i)
      ranges_.emplace_back(
          (i + 1) * workload.range_bytes <= hbm_bytes ? Memory::Kind::device : Memory::Kind::pinned,
          workload.range_bytes);
  }
  Place enter(const Step& step) override { return {at(step.in), at(step.io), stream_}; }
  void leave(const Step&) override {}

 private:
  CUdeviceptr at(std::uint32_t range) const {
    return range == kNoRange ? 0 : ranges_[range].device();
  }
  std::vector<Memory> ranges_;
  Stream stream_;
};

}  // namespace

std::string_view name_of(Keeping keeping) {
  switch (keeping) {
    case Keeping::plain: return "plain";
    case Keeping::in_place: return "in-place";
    case Keeping::double_buffer: return "double-buffer";
  }
  return "?";
}

Keeping keeping_named(std::string_view name) {
  for (const Keeping keeping : kKeepings)
    if (name_of(keeping) == name) return keeping;
  throw std::invalid_argument("there is no way of keeping called " + std::string(name));
}

std::unique_ptr<Keeper> make_keeper(Keeping keeping, const Workload& workload,
                                    std::uint64_t cap_bytes) {
  switch (keeping) {
    case Keeping::plain: return std::make_unique<Still>(workload, workload.bytes());
    case Keeping::in_place: return std::make_unique<Still>(workload, cap_bytes);
    case Keeping::double_buffer: return make_double_buffer(workload, cap_bytes);
  }
  return nullptr;
}

}  // namespace barswap::bench
