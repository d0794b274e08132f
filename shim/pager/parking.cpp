// Parking: a run between two addresses. The program unmapped it and still holds its handle, so that
// its bytes must be there when it is mapped again. A parked run is in no list that the mover or a
// grant walks.
#include <algorithm>
#include <utility>

#include "barswap/check.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {

Result<bool> Pager::try_park(Run* run) {
  std::unique_ptr<Run> out;
  std::vector<Frame> copies;
  {
    Lock lock(pages_);
    if (run->moving != 0) return false;
    out = take_out(run);
    std::uint64_t bytes = kAllCopies;
    take_copies(*out, bytes, copies);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  give_back_all(copies);
  count_tables(*out, false);
  out->reach = 0;
  Result<void> outcome;
  std::erase_if(out->pages, [&](Page& page) {
    if (std::exchange(page.hidden, false)) return false;
    auto unmapped = verbs_.unmap(page.address, page.frame.bytes);
    if (unmapped) return false;
    // A page that the driver will not unmap keeps its frame for good, as in unmap_all().
    outcome = unmapped.error();
    return true;
  });
  {
    Lock lock(pages_);
    parked_.push_back(std::move(out));
  }
  update_wish();
  if (!outcome) return outcome.error();
  return true;
}

std::unique_ptr<Run> Pager::take_parked(Run* run) {
  const auto found = std::find_if(parked_.begin(), parked_.end(),
                                  [&](const auto& parked) { return parked.get() == run; });
  BARSWAP_CHECK(found != parked_.end());
  std::unique_ptr<Run> out = std::move(*found);
  parked_.erase(found);
  return out;
}

Result<bool> Pager::unpark(Run* run, Address base) {
  std::unique_ptr<Run> out;
  {
    Lock lock(pages_);
    out = take_parked(run);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  Result<void> outcome;
  std::uint64_t laid_bytes = 0;
  std::size_t laid_pages = 0;
  for (Page& page : out->pages) {
    page.address = base + laid_bytes;
    outcome = verbs_.map(page.address, page.frame.bytes, page.frame.handle);
    if (!outcome) break;
    ++laid_pages;
    laid_bytes += page.frame.bytes;
  }
  // A page was lost when it was parked.
  if (outcome && laid_bytes != out->bytes) outcome = Error{Fault::invalid};
  const std::vector<Die> dies = reach(out->home);
  if (outcome) outcome = verbs_.grant(base, out->bytes, dies);
  if (!outcome) {
    const Error error = outcome.error();
    for (std::size_t i = 0; i < laid_pages; ++i)
      (void)verbs_.unmap(out->pages[i].address, out->pages[i].frame.bytes);
    Lock lock(pages_);
    parked_.push_back(std::move(out));
    return error;
  }
  out->base = base;
  for (const Die die : dies) out->reach |= 1u << index_of(die);
  count_tables(*out, true);
  return static_cast<bool>(admit(std::move(out)));
}

void Pager::drop_parked(Run* run) {
  std::unique_ptr<Run> dead;
  {
    Lock lock(pages_);
    dead = take_parked(run);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  for (const Page& page : dead->pages) frames_.give_back(page.frame);
  update_wish();
}

}  // namespace barswap::pager
