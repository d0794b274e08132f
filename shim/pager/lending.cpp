// Lending: pages of one die in the HBM of another. A die reads them over the link between the two,
// which is several times as fast as the one to the host, so they come before the host in the order
// of tiers. What a die lends it takes back as soon as ranges of its own lack HBM.
//
// A page on a peer needs nothing there but the frame: no context, no page tables, no work. It moves
// as any other page of its own die does.
#include <algorithm>

#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

}  // namespace

void Pager::lend(Die home, std::span<const Lender> lenders) {
  {
    Lock lock(pages_);
    lenders_[slot(home)].assign(lenders.begin(), lenders.end());
  }
  update_wish();
}

bool Pager::has_lenders(Die home) const { return !lenders_[slot(home)].empty(); }

// There is a tier that pages of this die may leave its HBM for.
bool Pager::may_leave(Die home) const { return frames_.host_enabled() || has_lenders(home); }

// A die that has no room for ranges of its own lends none, and one whose memory the program uses
// keeps room for what it will ask for next.
std::vector<Pager::Room> Pager::rooms_of(Die home) const {
  std::vector<Room> rooms;
  for (const Lender& lender : lenders_[slot(home)]) {
    const Die die = lender.die;
    if (census_[slot(die)].spilled > 0 && pressed(die)) continue;
    const std::uint64_t keep_bytes = contexts_.on(die) ? headroom(die) : 0;
    const std::uint64_t free_bytes = frames_.free_hbm(die), lent_bytes = frames_.lent(die);
    const std::uint64_t room_bytes = std::min(free_bytes - std::min(free_bytes, keep_bytes),
                                              lender.most_bytes -
                                                  std::min(lender.most_bytes, lent_bytes));
    if (room_bytes > 0) rooms.push_back({die, room_bytes, keep_bytes});
  }
  return rooms;
}

std::uint64_t Pager::room_of_lenders(Die home) const {
  std::uint64_t sum = 0;
  for (const Room& room : rooms_of(home)) sum += room.bytes;
  return sum;
}

std::uint64_t Pager::borrowable(Die home) const {
  Lock lock(pages_);
  return room_of_lenders(home);
}

std::uint64_t Pager::borrowed(Die home) const {
  Lock lock(pages_);
  const Census& census = census_[slot(home)];
  return census.small(Tier::peer) + census.large(Tier::peer);
}

// From whoever has most to spare, so that several links share the reading.
Result<Frame> Pager::take_peer(Die home, std::uint64_t bytes) {
  std::vector<Room> rooms;
  {
    Lock lock(pages_);
    rooms = rooms_of(home);
  }
  std::stable_sort(rooms.begin(), rooms.end(),
                   [](const Room& left, const Room& right) { return left.bytes > right.bytes; });
  for (const Room& room : rooms) {
    if (room.bytes < bytes) break;
    auto frame = frames_.take_lent(room.die, bytes, room.keep_bytes);
    if (frame) return frame;
  }
  return Error{Fault::out_of_memory};
}

// Ranges of its own are out of HBM, or the next would be.
bool Pager::wants_back(Die lender) const {
  return frames_.lent(lender) > 0 && pressed(lender) &&
         (census_[slot(lender)].spilled > 0 ||
          frames_.free_hbm(lender) < headroom(lender) / 2);
}

// Pages that it lent, of one other die: they go on to another peer, or to the host.
std::vector<Pager::Job> Pager::choose_lent(Die lender, std::uint64_t bytes) {
  std::vector<Job> jobs;
  for (const auto& run : runs_) {
    if (!run->live || run->moving != 0 || !contexts_.on(run->home)) continue;
    if (!jobs.empty() && run->home != jobs.front().run->home) continue;
    for (std::size_t i = 0; i < run->pages.size() && bytes > 0; ++i) {
      const Frame& frame = run->pages[i].frame;
      if (frame.tier != Tier::peer || frame.die != lender || jobs.size() == kJobsMax) continue;
      Job job;
      job.run = run.get();
      job.page = i;
      job.cause = Cause::headroom;
      job.target = Tier::peer;
      job.address = run->pages[i].address;
      job.old = frame;
      bytes -= std::min(bytes, frame.bytes);
      jobs.push_back(job);
    }
  }
  for (const Job& job : jobs) ++job.run->moving;
  return jobs;
}

}  // namespace barswap::pager
