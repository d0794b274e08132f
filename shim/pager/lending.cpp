// Lending: pages of one die in the HBM of another. Over the link between dies a kernel reads them
// several times as fast as over the one to the host, so they come before the host in the order of
// tiers. What a die lends it takes back as soon as ranges of its own lack HBM.
//
// A page on a peer needs nothing there but the frame: no context, no page tables, no work. It moves
// as any other page of its own die does.
#include <algorithm>
#include <iterator>

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

// A die that lacks HBM itself lends none, and one whose memory the program uses keeps room for what
// it will ask for next.
std::vector<Pager::Room> Pager::rooms_of(Die home) const {
  std::vector<Room> rooms;
  for (const Lender& lender : lenders_[slot(home)]) {
    const Die die = lender.die;
    if (pressed(die) && (census_[slot(die)].spilled > 0 || wants_back(die))) continue;
    // What comes over the lender's link needs a place there (detours.hpp).
    const std::uint64_t detour_bytes =
        settings_.whole && frames_.host_enabled() ? detours_.missing_bytes(die) : 0;
    const std::uint64_t keep_bytes =
        std::max(contexts_.any_on(die) ? headroom(die) : 0, detour_bytes);
    const std::uint64_t free_bytes = frames_.free_hbm(die), lent_bytes = frames_.lent(die);
    const std::uint64_t room_bytes = std::min(free_bytes - std::min(free_bytes, keep_bytes),
                                              lender.most_bytes -
                                                  std::min(lender.most_bytes, lent_bytes));
    if (room_bytes > 0) rooms.push_back({die, room_bytes, keep_bytes});
  }
  return rooms;
}

// In whole pages, each of which lies with one lender.
std::uint64_t Pager::room_of_lenders(Die home, std::uint64_t page_bytes) const {
  std::uint64_t sum = 0;
  for (const Room& room : rooms_of(home)) sum += room.bytes / page_bytes * page_bytes;
  return sum;
}

// What lies on the host could lie on a peer, with some room to spare.
bool Pager::comes_nearer(Die home) const {
  const std::vector<Room> rooms = rooms_of(home);
  return census_[slot(home)].spilled_host > 0 &&
         std::any_of(rooms.begin(), rooms.end(),
                     [&](const Room& room) { return room.bytes > page_most(); });
}

std::uint64_t Pager::borrowable(Die home) const {
  Lock lock(pages_);
  return room_of_lenders(home, 2_MiB);
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
    // Others have taken what the books say is there: it is not asked again.
    if (frames_.free_hbm(room.die) >= bytes + room.keep_bytes) lends_no_more(home, room.die);
  }
  return Error{Fault::out_of_memory};
}

// For pages that have to lie on that very die. What it keeps free is there for them, too: they come
// and go.
Result<Frame> Pager::take_on(Die home, Die lender, std::uint64_t bytes) {
  if (lender == home) return frames_.take_hbm(home, bytes, 0);
  {
    Lock lock(pages_);
    const auto& lenders = lenders_[slot(home)];
    const auto known = std::find_if(lenders.begin(), lenders.end(), [&](const Lender& candidate) {
      return candidate.die == lender;
    });
    if (known == lenders.end() || frames_.lent(lender) + bytes > known->most_bytes)
      return Error{Fault::out_of_memory};
  }
  return frames_.take_lent(lender, bytes, 0);
}

// The first lender with room for a whole range, in the order of dies, so that ranges that were
// allocated one after the other lie together.
std::optional<Die> Pager::room_for_all(Die home, std::uint64_t bytes) const {
  std::optional<Die> found;
  for (const Room& room : rooms_of(home))
    if (room.bytes >= bytes && (!found || room.die < *found)) found = room.die;
  return found;
}

void Pager::lends_no_more(Die home, Die lender) {
  const std::uint64_t lent_bytes = frames_.lent(lender);
  Lock lock(pages_);
  for (Lender& known : lenders_[slot(home)])
    if (known.die == lender) known.most_bytes = std::min(known.most_bytes, lent_bytes);
}

// What a die that lent would need to have its own ranges in HBM, and to stop where they come in
// without wavering.
std::uint64_t Pager::lacking(Die lender) const {
  const std::uint64_t keep_bytes = headroom(lender), spilled = census_[slot(lender)].spilled;
  const std::uint64_t free_bytes = frames_.free_hbm(lender);
  const std::uint64_t wanted_bytes =
      spilled > 0 ? spilled + 2 * keep_bytes + page_most() : keep_bytes;
  if (spilled == 0 && free_bytes >= keep_bytes / 2) return 0;
  return wanted_bytes - std::min(wanted_bytes, free_bytes);
}

bool Pager::wants_back(Die lender) const {
  return frames_.lent(lender) > stuck_bytes_[slot(lender)] && pressed(lender) &&
         contexts_.any_on(lender) && lacking(lender) > 0;
}

// What could not go back is tried again now and then.
void Pager::forget_stuck() {
  {
    Lock lock(pages_);
    if (std::all_of(std::begin(stuck_bytes_), std::end(stuck_bytes_),
                    [](std::uint64_t bytes) { return bytes == 0; }))
      return;
    std::fill(std::begin(stuck_bytes_), std::end(stuck_bytes_), 0);
  }
  update_wish();
}

// Pages that it lent, of one other die: they go on to another peer, or to the host. Large ranges
// first; small ones that several dies reach may hold what these do atomics on, and stay.
std::vector<Pager::Job> Pager::choose_lent(Die lender, std::uint64_t bytes) {
  std::vector<Job> jobs;
  const auto take = [&](Run& run) {
    for (std::size_t i = 0; i < run.pages.size() && bytes > 0; ++i) {
      const Frame& frame = run.pages[i].frame;
      if (frame.tier != Tier::peer || frame.die != lender || jobs.size() == kJobsMax) continue;
      Job job;
      job.run = &run;
      job.page = i;
      job.cause = Cause::headroom;
      job.target = Tier::peer;
      job.address = run.pages[i].address;
      job.old = frame;
      bytes -= std::min(bytes, frame.bytes);
      jobs.push_back(job);
    }
  };
  for (const bool large : {true, false})
    for (const auto& run : runs_) {
      const auto& reached = granted_[slot(run->home)];
      const bool alone = std::count(std::begin(reached), std::end(reached), true) == 1;
      if ((run->kind == RunKind::large) != large || (!large && !alone)) continue;
      if (!run->live || run->moving != 0 || !contexts_.any_on(run->home)) continue;
      if (jobs.empty() || run->home == jobs.front().run->home) take(*run);
    }
  for (const Job& job : jobs) ++job.run->moving;
  return jobs;
}

}  // namespace barswap::pager
