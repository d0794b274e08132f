// The table of keys, and the pages made from it.
#include "policy/schema.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "policy/load.hpp"

namespace barswap::policy {
namespace {

TEST_CASE("every key has a name of its own and words that explain it") {
  std::set<std::string> names;
  for (const Key& key : keys()) {
    CAPTURE(key.name.string());
    CHECK(names.insert(key.name.string()).second);
    CHECK(key.name.string().find('_') != 0);
    CHECK(std::string_view(key.sentence).ends_with('.'));
    CHECK_FALSE(forms_of(key.accepts).empty());
  }
  CHECK(names.count("vram.max_alloc") == 1);
  CHECK(names.count("tiers.host.prepare") == 1);
}

TEST_CASE("every default is a value that its key takes") {
  for (const Key& key : keys()) {
    CAPTURE(key.name.string());
    Request request;
    request.sets = {key.name.string() + " = " + key.write(key, Options{})};
    const Loaded loaded = load(request);
    for (const Diagnostic& diagnostic : loaded.diagnostics) MESSAGE(text_of(diagnostic));
    CHECK(loaded.ok());
    CHECK(loaded.options == Options{});
  }
}

TEST_CASE("the bounds of every key are taken, and what lies beyond is not") {
  const auto takes = [](const Key& key, const std::string& value) {
    Request request;
    request.sets = {key.name.string() + "=" + value};
    return load(request).ok();
  };
  for (const Key& key : keys()) {
    CAPTURE(key.name.string());
    const Accepts& accepts = key.accepts;
    if (accepts.is_table_of_dies) continue;
    const auto size = [](Bytes bytes) { return std::to_string(bytes) + "B"; };
    CHECK(takes(key, size(accepts.size_lowest)) == accepts.is_size);
    CHECK(takes(key, size(accepts.size_highest)) == accepts.is_size);
    CHECK_FALSE(takes(key, size(accepts.size_highest + accepts.size_step)));
    if (accepts.size_lowest > 0) CHECK_FALSE(takes(key, size(accepts.size_lowest - 1)));
    CHECK(takes(key, std::to_string(std::lround(accepts.share_highest * 100)) + "%") ==
          accepts.is_share);
    CHECK_FALSE(takes(key, std::to_string(std::lround(accepts.share_highest * 100)) + ".1%"));
    CHECK(takes(key, std::to_string(accepts.highest_ms) + "ms") == accepts.is_duration);
    CHECK_FALSE(takes(key, std::to_string(accepts.highest_ms + 1) + "ms"));
    for (const char* word : {"auto", "none", "physical", "virtual", "all", "as-is", "stream"}) {
      CAPTURE(word);
      bool named = false;
      for (const char* known : accepts.word)
        named = named || (known != nullptr && std::string_view(known) == word);
      CHECK(takes(key, word) == named);
    }
    CHECK(takes(key, "true") == accepts.is_toggle);
    CHECK(takes(key, "[0]") == accepts.is_dies);
  }
}

TEST_CASE("words stand in the order of the enumerators") {
  const auto options_of = [](const char* item) {
    Request request;
    request.sets = {item};
    return load(request).options;
  };
  CHECK(options_of("paging.plan=auto").paging_plan == Plan::automatic);
  CHECK(options_of("paging.plan=stream").paging_plan == Plan::stream);
  CHECK(options_of("dies.present=pooled").dies_present == Present::pooled);
  CHECK(options_of("dies.present=one").dies_present == Present::one);
  CHECK(options_of("dies.present=pooled;routing.kernels=data").routing_kernels == Kernels::data);
  CHECK(options_of("routing.processes=most-free").routing_processes == Processes::most_free);
  CHECK(options_of("routing.processes=round-robin").routing_processes == Processes::round_robin);
  CHECK(options_of("routing.processes=least-busy").routing_processes == Processes::least_busy);
  CHECK(options_of("vram.advertise=virtual").vram_advertise.kind == Amount::Kind::virtual_);
  CHECK(options_of("vram.advertise=physical").vram_advertise.kind == Amount::Kind::physical);
  CHECK(options_of("allocation=[{match={},place=\"resident\"}]").allocations.at(0).place ==
        Place::resident);
}

TEST_CASE("the sample is a policy, and changes nothing") {
  Request request;
  request.policy_file = BARSWAP_DOCS "/policy.sample.toml";
  const Loaded loaded = load(request);
  for (const Diagnostic& diagnostic : loaded.diagnostics) MESSAGE(text_of(diagnostic));
  CHECK(loaded.ok());
  CHECK(loaded.options == Options{});
  for (const Setting& setting : loaded.settings) CHECK(setting.source == request.policy_file);
}

}  // namespace
}  // namespace barswap::policy
