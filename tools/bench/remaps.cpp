// What it costs the driver to change what lies at an address, and how fast pages can come in while
// that goes on beside the copies.
#include <algorithm>
#include <array>
#include <vector>

#include "measure.hpp"
#include "pages.hpp"
#include "timing.hpp"
#include "words.hpp"

namespace barswap::bench {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::uint64_t, 3> kPageBytes{16u << 20, 32u << 20, 64u << 20};
constexpr std::size_t kPages = 12, kPagesQuick = 1;

ordered_json calls(const Die& die, Where where, std::uint64_t page_bytes, std::size_t count) {
  const Frames frames(die, where, page_bytes, count);
  Addresses addresses(page_bytes, count);
  std::vector<double> maps, grants, unmaps;
  for (std::size_t i = 0; i < count; ++i) {
    maps.push_back(seconds_of([&] { addresses.map(i, frames[i]); }));
    grants.push_back(seconds_of([&] { addresses.grant(i); }));
  }
  for (std::size_t i = 0; i < count; ++i) unmaps.push_back(seconds_of([&] { addresses.unmap(i); }));
  return {{"page_bytes", page_bytes},
          {"in", name_of(where)},
          {"map_us", median(maps) * 1e6},
          {"grant_us", median(grants) * 1e6},
          {"unmap_us", median(unmaps) * 1e6}};
}

// Pages on the host change into HBM, each when its copy has arrived and while the next is on its
// way. The frames in HBM have their aliases beforehand, and nothing leaves in exchange.
class PageIn {
 public:
  PageIn(const Die& die, std::uint64_t page_bytes, std::size_t count)
      : die_(die),
        page_bytes_(page_bytes),
        count_(count),
        near_(die, Where::hbm, page_bytes, count),
        home_(die, Where::host, page_bytes, count),
        aliases_(page_bytes, count),
        sums_(Memory::Kind::device, 2 * sizeof(std::uint64_t)),
        arrived_(count) {
    for (std::size_t i = 0; i < count; ++i) aliases_.map(i, near_[i]);
    aliases_.grant(0, count);
    die.fill(in_, home_.addresses.at(0), pieces(), 3);
    BARSWAP_NEED(cuMemsetD8, sums_.device(), 0, 2 * sizeof(std::uint64_t));
    die.wait();
  }

  ordered_json run() {
    sum(0);
    const double s = seconds_of([&] { move_all(); });
    sum(1);
    std::uint64_t sums[2] = {};
    BARSWAP_NEED(cuMemcpyDtoH, sums, sums_.device(), sizeof sums);
    if (sums[0] != sums[1]) throw DriverError("pages came into HBM with other bytes");
    return {{"page_bytes", page_bytes_}, {"rate", static_cast<double>(page_bytes_ * count_) / s}};
  }

 private:
  std::uint64_t pieces() const { return page_bytes_ * count_ / sizeof(Piece); }

  void sum(std::size_t which) {
    die_.read(in_, home_.addresses.at(0), pieces(), 1,
              sums_.device() + which * sizeof(std::uint64_t));
    die_.wait();
  }

  void move_all() {
    for (std::size_t i = 0; i < count_; ++i) {
      BARSWAP_NEED(cuMemcpyDtoDAsync, aliases_.at(i), home_.addresses.at(i), page_bytes_, in_);
      arrived_[i].record(in_);
    }
    for (std::size_t i = 0; i < count_; ++i) {
      arrived_[i].wait();
      aliases_.unmap(i);
      home_.addresses.unmap(i);
      home_.addresses.map(i, near_[i]);
      home_.addresses.grant(i);
    }
  }

  const Die& die_;
  const std::uint64_t page_bytes_;
  const std::size_t count_;
  Frames near_;
  Pages home_;
  Addresses aliases_;
  Memory sums_;
  std::vector<Event> arrived_;
  Stream in_;
};

}  // namespace

ordered_json measure_remaps(const Die& die, Effort effort) {
  ordered_json costs = ordered_json::array(), arrivals = ordered_json::array();
  for (const std::uint64_t page_bytes : kPageBytes) {
    const std::size_t count = std::clamp<std::size_t>(effort.hbm_bytes_max / page_bytes, 1,
                                                      effort.quick ? kPagesQuick : kPages);
    for (const Where where : {Where::hbm, Where::host})
      costs.push_back(calls(die, where, page_bytes, count));
    arrivals.push_back(PageIn(die, page_bytes, count).run());
  }
  return {{"remap", costs}, {"page_in", arrivals}};
}

}  // namespace barswap::bench
