#include <doctest/doctest.h>

#include "policy/load.hpp"
#include "policy/read.hpp"

namespace barswap::policy {
namespace {

Options options_of(const std::string& rules) {
  Request request;
  request.sets = {"allocation=[" + rules + "]"};
  const Loaded loaded = load(request);
  for (const Diagnostic& diagnostic : loaded.diagnostics) MESSAGE(text_of(diagnostic));
  REQUIRE(loaded.ok());
  return loaded.options;
}

TEST_CASE("without a matching rule the place is automatic") {
  CHECK(place_of(Options{}, {1_GiB, 0, {}, {}}) == Place::automatic);
  CHECK(place_of(options_of("{match={size=\"<1MiB\"}, place=\"stream\"}"), {1_MiB, 0, {}, {}}) ==
        Place::automatic);
}

TEST_CASE("the first matching rule counts") {
  const Options options = options_of(
      "{match={size=\">=1GiB\"}, place=\"stream\"}, {match={size=\">=1MiB\"}, place=\"resident\"}, "
      "{match={}, place=\"stream\"}");
  CHECK(place_of(options, {2_GiB, 0, {}, {}}) == Place::stream);
  CHECK(place_of(options, {1_GiB - 1, 0, {}, {}}) == Place::resident);
  CHECK(place_of(options, {1_MiB, 0, {}, {}}) == Place::resident);
  CHECK(place_of(options, {1_MiB - 1, 0, {}, {}}) == Place::stream);
}

TEST_CASE("a rule may keep automatic what a later one would take") {
  const Options options =
      options_of("{match={order=\"<2\"}, place=\"auto\"}, {match={}, place=\"stream\"}");
  CHECK(place_of(options, {1_MiB, 1, {}, {}}) == Place::automatic);
  CHECK(place_of(options, {1_MiB, 2, {}, {}}) == Place::stream);
}

TEST_CASE("all conditions of a rule must hold") {
  const Options options = options_of(
      "{match={library=\"libtorch*\", symbol=\"*kv*\", order=3, size=\"1MiB..2MiB\"}, "
      "place=\"stream\"}");
  const AllocationFacts all{1_MiB, 3, "/x/libtorch_cuda.so", "alloc_kv_cache"};
  CHECK(place_of(options, all) == Place::stream);
  AllocationFacts facts = all;
  facts.library = "/x/libother.so";
  CHECK(place_of(options, facts) == Place::automatic);
  facts = all, facts.symbol = "alloc";
  CHECK(place_of(options, facts) == Place::automatic);
  facts = all, facts.order = 4;
  CHECK(place_of(options, facts) == Place::automatic);
  facts = all, facts.size_bytes = 2_MiB + 1;
  CHECK(place_of(options, facts) == Place::automatic);
}

TEST_CASE("what is not known matches only what matches everything") {
  CHECK(place_of(options_of("{match={library=\"lib*\"}, place=\"stream\"}"), {1, 0, {}, {}}) ==
        Place::automatic);
  CHECK(place_of(options_of("{match={library=\"*\"}, place=\"stream\"}"), {1, 0, {}, {}}) ==
        Place::stream);
}

TEST_CASE("a kernel touches what its parameters name, unless a rule says otherwise") {
  CHECK(reach_of(Options{}, "gather") == KernelReach::parameters);
  Request request;
  request.sets = {"kernel=[{match={name=\"*safe*\"}, reach=\"parameters\"}]",
                  "allocation=[{match={}, place=\"auto\"}]",
                  "kernel=[{match={name=\"*chase*\"}, reach=\"everything\"}]"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  CHECK(reach_of(loaded.options, "pointer_chase") == KernelReach::everything);
  // The later layer is asked first.
  CHECK(reach_of(loaded.options, "safe_chase") == KernelReach::everything);
  CHECK(reach_of(loaded.options, "safe") == KernelReach::parameters);
  CHECK(reach_of(loaded.options, "") == KernelReach::parameters);
  REQUIRE(loaded.options.kernels.size() == 2);
  CHECK(loaded.settings.back().value ==
        "{ match = { name = \"*safe*\" }, reach = \"parameters\" }");
  CHECK(write_section(loaded.options.kernels.back()) ==
        "[[kernel]]\nmatch = { name = \"*safe*\" }\nreach = \"parameters\"\n");
  CHECK(loaded.settings.back().key == "kernel");
}

TEST_CASE("a kernel goes where its data is, unless a rule says otherwise") {
  CHECK(route_of(Options{}, "gather") == KernelRoute::automatic);
  Request request;
  request.sets = {"kernel=[{match={name=\"*\"}, reach=\"everything\", route=\"home\"}]",
                  "kernel=[{match={name=\"*gather*\"}, route=\"auto\"}, {match={name=\"*chase*\"}, "
                  "reach=\"parameters\"}]"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  CHECK(route_of(loaded.options, "gather") == KernelRoute::automatic);
  // What a rule does not say is left to the next.
  CHECK(reach_of(loaded.options, "gather") == KernelReach::everything);
  CHECK(route_of(loaded.options, "chase") == KernelRoute::home);
  CHECK(reach_of(loaded.options, "chase") == KernelReach::parameters);
  CHECK(route_of(loaded.options, "") == KernelRoute::home);
  CHECK(loaded.settings.back().value ==
        "{ match = { name = \"*\" }, reach = \"everything\", route = \"home\" }");
  CHECK(write_section(loaded.options.kernels.front()) ==
        "[[kernel]]\nmatch = { name = \"*gather*\" }\nroute = \"auto\"\n");
}

TEST_CASE("callers are wanted only by rules that ask for them") {
  CHECK_FALSE(wants_callers(Options{}));
  CHECK_FALSE(wants_callers(options_of("{match={size=\"<1MiB\"}, place=\"stream\"}")));
  CHECK(wants_callers(options_of("{match={library=\"a\"}, place=\"stream\"}")));
  CHECK(wants_callers(options_of("{match={symbol=\"a\"}, place=\"stream\"}")));
}

}  // namespace
}  // namespace barswap::policy
