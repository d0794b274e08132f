// Rates between HBM and the host in pieces of 32 MiB, and what kernels pay that read a byte more
// than once.
#include <algorithm>
#include <array>

#include "measure.hpp"
#include "pages.hpp"
#include "timing.hpp"
#include "words.hpp"

namespace barswap::bench {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kPieceBytes = std::uint64_t{32} << 20;
// Beyond the caches of any die: what is read again must come from memory again.
constexpr std::size_t kPieces = 32, kPiecesQuick = 2;
// A bound must not be slower than what the link can do: the best of so many passes counts.
constexpr int kPasses = 5, kPassesQuick = 1;
constexpr std::array<std::uint32_t, 3> kTimes{1, 2, 8};

class Links {
 public:
  Links(const Die& die, Effort effort)
      : die_(die),
        pieces_(std::clamp<std::size_t>(effort.hbm_bytes_max / kPieceBytes, 1,
                                        effort.quick ? kPiecesQuick : kPieces)),
        passes_(effort.quick ? kPassesQuick : kPasses),
        near_(die, Where::hbm, kPieceBytes, pieces_),
        far_(die, Where::host, kPieceBytes, pieces_),
        sum_(Memory::Kind::device, sizeof(std::uint64_t)) {
    die.fill(in_, near_.addresses.at(0), bytes() / sizeof(Piece), 1);
    die.wait();
  }

  ordered_json rates() {
    const CUdeviceptr far = far_.addresses.at(0);
    ordered_json all;
    // Out first: it gives the host pages the bytes that are read in place.
    all["d"] = rate([&] { copy_out(0, pieces_); });
    all["h"] = rate([&] { copy_in(0, pieces_); });
    all["both"] = rate([&] { copy_both_ways(); });
    all["z"] = rate([&] { read(Where::host, 1); });
    all["w"] = rate([&] { die_.fill(in_, far, bytes() / sizeof(Piece), 2); });
    all["hbm"] = rate([&] { read(Where::hbm, 1); });
    return all;
  }

  ordered_json rereads() {
    const double once_s = best_s([&] { read(Where::hbm, 1); });
    ordered_json all = ordered_json::array();
    all.push_back({{"in", "hbm"}, {"times", 1}, {"s", once_s}, {"factor", 1.0}});
    for (const std::uint32_t times : kTimes) {
      const double s = best_s([&] { read(Where::host, times); });
      all.push_back({{"in", "host"}, {"times", times}, {"s", s}, {"factor", s / once_s}});
    }
    return all;
  }

 private:
  std::uint64_t bytes() const { return kPieceBytes * pieces_; }

  void copy(const Pages& to, const Pages& from, std::size_t i, CUstream stream) const {
    BARSWAP_NEED(cuMemcpyDtoDAsync, to.addresses.at(i), from.addresses.at(i), kPieceBytes, stream);
  }
  void copy_in(std::size_t first, std::size_t last) const {
    for (std::size_t i = first; i < last; ++i) copy(near_, far_, i, in_);
  }
  void copy_out(std::size_t first, std::size_t last) const {
    for (std::size_t i = first; i < last; ++i) copy(far_, near_, i, out_);
  }
  // Half of the pieces each way, so that together it is as many bytes as one way alone.
  void copy_both_ways() const {
    copy_in(0, pieces_ / 2);
    copy_out(pieces_ / 2, pieces_);
  }
  void read(Where where, std::uint32_t times) const {
    const Pages& pages = where == Where::hbm ? near_ : far_;
    die_.read(in_, pages.addresses.at(0), bytes() / sizeof(Piece), times, sum_.device());
  }

  template <class Work>
  double best_s(Work work) const {
    // Once before, for what happens at first use.
    if (passes_ > 1) work();
    die_.wait();
    double best = 1e9;
    for (int pass = 0; pass < passes_; ++pass)
      best = std::min(best, seconds_of([&] {
                        work();
                        die_.wait();
                      }));
    return best;
  }
  // Bytes a second, both directions together where there are two.
  template <class Work>
  double rate(Work work) const {
    return static_cast<double>(bytes()) / best_s(work);
  }

  const Die& die_;
  const std::size_t pieces_;
  const int passes_;
  Pages near_, far_;
  Memory sum_;
  Stream in_, out_;
};

}  // namespace

ordered_json measure_links(const Die& die, Effort effort) {
  Links links(die, effort);
  ordered_json rates = links.rates();
  return {{"links", rates}, {"reread", links.rereads()}};
}

}  // namespace barswap::bench
