// Layers, precedence, sections for programs, set strings, and what load() tells about them.
#include <doctest/doctest.h>

#include "folders.hpp"

namespace barswap::policy {
namespace {

using test::Folders;

std::string limit(std::string_view size) {
  return "schema = 1\nvram.limit = \"" + std::string(size) + "\"\n";
}

const Setting& setting(const Loaded& loaded, std::string_view key) {
  for (const Setting& setting : loaded.settings)
    if (setting.key == key) return setting;
  FAIL("no such key: " << key);
  return loaded.settings.front();
}

TEST_CASE("without any file or string the policy is the built-in one") {
  Folders folders;
  const Loaded loaded = load(folders.request());
  CHECK(loaded.ok());
  CHECK(loaded.options == Options{});
  CHECK(loaded.files.empty());
  for (const Setting& setting : loaded.settings) CHECK(setting.source == "built-in");
  CHECK(load(Request{}).ok());
}

TEST_CASE("the built-in policy is the designed one") {
  const Options options;
  CHECK(options.vram_limit == kAutomatic);
  CHECK(options.vram_reserve_bytes == 1_GiB);
  CHECK(options.vram_headroom == kAutomatic);
  CHECK(options.vram_advertise == kAutomatic);
  CHECK(options.vram_max_alloc == kNone);
  CHECK(options.dies_use.all);
  CHECK(options.dies_present == Present::as_is);
  CHECK(options.dies_limit.empty());
  CHECK(options.tiers_host_enable);
  CHECK(options.tiers_host_limit == share_of(0.75));
  CHECK(options.tiers_host_prepare_bytes == 1_GiB);
  CHECK(options.paging_page_bytes == 16_MiB);
  CHECK(options.paging_forced_share == 0.02);
  CHECK(options.paging_deadline_ms == 50);
  CHECK(options.paging_plan == Plan::automatic);
}

// The layers from the least to the most; each test removes the strongest and looks who wins.
TEST_CASE("a later layer wins") {
  Folders folders;
  Request request = folders.request();
  request.policy_file = folders.write("explicit.toml", limit("9GiB"));
  request.sets = {"vram.limit=10GiB"};
  const std::string system =
      folders.write("system/policy.toml",
                    limit("2GiB") + "[[program]]\nmatch.exe = \"app\"\nvram.limit = \"3GiB\"\n");
  const std::string user =
      folders.write("user/policy.toml",
                    limit("5GiB") + "[[program]]\nmatch.exe = \"app\"\nvram.limit = \"6GiB\"\n");
  const std::string shipped = folders.write("shipped/app.toml", limit("1GiB"));
  const std::string system_app = folders.write("system/apps/app.toml", limit("4GiB"));
  const std::string user_app = folders.write("user/apps/app.toml", limit("7GiB"));

  const auto expect = [&](std::uint64_t gib, const std::string& source) {
    const Loaded loaded = load(request);
    CHECK(loaded.ok());
    CHECK(loaded.options.vram_limit == size_of(gib << 30));
    CHECK(setting(loaded, "vram.limit").source == source);
  };
  CHECK(load(request).files ==
        std::vector<std::string>{shipped, system, system_app, user, user_app, request.policy_file});
  expect(10, "--set");
  request.sets.clear();
  expect(9, request.policy_file);
  request.policy_file.clear();
  expect(7, user_app);
  std::filesystem::remove(user_app);
  expect(6, user);
  folders.write("user/policy.toml", limit("5GiB"));
  expect(5, user);
  std::filesystem::remove(user);
  expect(4, system_app);
  std::filesystem::remove(system_app);
  expect(3, system);
  folders.write("system/policy.toml", limit("2GiB"));
  expect(2, system);
  std::filesystem::remove(system);
  expect(1, shipped);
}

TEST_CASE("layers add up: a file changes only what it names") {
  Folders folders;
  Request request = folders.request();
  folders.write("system/policy.toml", limit("2GiB") + "paging.page = \"16MiB\"\n");
  folders.write("user/policy.toml", limit("5GiB") + "[dies.limit]\n0 = \"1GiB\"\n1 = \"50%\"\n");
  request.sets = {"dies.limit.1 = 3GiB; paging.deadline=2s\npaging.plan=stream;",
                  "dies.use=[0, 1]"};
  const Loaded loaded = load(request);
  CHECK(loaded.ok());
  CHECK(loaded.options.vram_limit == size_of(5_GiB));
  CHECK(loaded.options.paging_page_bytes == 16_MiB);
  CHECK(loaded.options.paging_deadline_ms == 2000);
  CHECK(loaded.options.paging_plan == Plan::stream);
  CHECK(loaded.options.dies_use == DieSet{false, {{0, {}}, {1, {}}}});
  CHECK(loaded.options.dies_limit ==
        DieLimits{{{0, {}}, size_of(1_GiB)}, {{1, {}}, size_of(3_GiB)}});
}

TEST_CASE("settings tell who set what, and where") {
  Folders folders;
  Request request = folders.request();
  const std::string file = folders.write("system/policy.toml",
                                         "schema = 1\n[vram]\nlimit = \"80%\"\n[[allocation]]\n"
                                         "match.size = \">=1GiB\"\nplace = \"stream\"\n");
  request.sets = {"paging.page=4MiB;tiers.host.enable=false"};
  const Loaded loaded = load(request);
  CHECK(loaded.ok());
  const auto expect = [&](const char* key, const char* value, const std::string& source,
                          std::uint32_t line, std::uint32_t column) {
    const Setting& found = setting(loaded, key);
    CHECK(found.value == value);
    CHECK(found.source == source);
    CHECK(found.line == line);
    CHECK(found.column == column);
  };
  expect("vram.limit", "\"80%\"", file, 3, 9);
  expect("vram.reserve", "\"1GiB\"", "built-in", 0, 0);
  expect("paging.page", "\"4MiB\"", "--set", 1, 13);
  expect("tiers.host.enable", "false", "--set", 2, 19);
  expect("allocation", "{ match = { size = \">=1GiB\" }, place = \"stream\" }", file, 4, 1);
}

TEST_CASE("a section counts for the programs that match it") {
  Folders folders;
  const std::string section = "[[program]]\nmatch = { ";
  const auto counts = [&](const std::string& match, const std::string& exe,
                          const std::string& argv) {
    Request request;
    request.exe = exe;
    request.argv = argv;
    request.policy_file =
        folders.write("p.toml", limit("2GiB") + section + match + " }\nvram.limit = \"3GiB\"\n");
    const Loaded loaded = load(request);
    CHECK(loaded.ok());
    return loaded.options.vram_limit == size_of(3_GiB);
  };
  CHECK(counts("", "/usr/bin/app", "app"));
  CHECK(counts("exe = \"app\"", "/usr/bin/app", "app"));
  CHECK(counts("exe = \"python3*\"", "/usr/bin/python3.11", "python3 a.py"));
  CHECK_FALSE(counts("exe = \"python3\"", "/usr/bin/python3.11", "python3 a.py"));
  CHECK(counts("exe = \"/opt/*/app\"", "/opt/x/y/app", "app"));
  CHECK_FALSE(counts("exe = \"/opt/*/app\"", "/usr/bin/app", "app"));
  CHECK(counts("exe = \"app\", argv = \"*bench.py*\"", "app", "app bench.py -n 4"));
  CHECK_FALSE(counts("exe = \"app\", argv = \"*bench.py*\"", "app", "app train.py"));
  CHECK_FALSE(counts("exe = \"other\", argv = \"*bench.py*\"", "app", "app bench.py"));
}

TEST_CASE("sections come after the keys of their file, later ones after earlier") {
  Folders folders;
  Request request = folders.request();
  request.policy_file = folders.write(
      "p.toml",
      "schema = 1\n[[program]]\nmatch.exe = \"app\"\nvram.limit = \"3GiB\"\nvram.reserve = "
      "\"2GiB\"\n"
      "[[program]]\nmatch.exe = \"a*\"\nvram.limit = \"4GiB\"\n[vram]\nlimit = \"2GiB\"\n");
  const Loaded loaded = load(request);
  CHECK(loaded.ok());
  CHECK(loaded.options.vram_limit == size_of(4_GiB));
  CHECK(loaded.options.vram_reserve_bytes == 2_GiB);
}

TEST_CASE("only the program's own app file is read") {
  Folders folders;
  Request request = folders.request();
  folders.write("shipped/other.toml", "this is no policy");
  folders.write("user/apps/app.toml.bak", "this is no policy");
  CHECK(load(request).ok());
  CHECK(load(request).files.empty());
  folders.write("shipped/app.toml", "this is no policy");
  CHECK_FALSE(load(request).ok());
}

TEST_CASE("a folder of a layer may be a file") {
  Folders folders;
  Request request = folders.request();
  folders.write("system", "");
  CHECK(load(request).ok());
}

TEST_CASE("rules are asked from the last layer to the first, in order inside each") {
  Folders folders;
  Request request = folders.request();
  const auto rule = [](const char* head, const char* library) {
    return std::string("[[") + head + "]]\nmatch.library = \"" + library +
           "\"\nplace = \"stream\"\n";
  };
  folders.write("system/policy.toml",
                "schema = 1\n" + rule("allocation", "s1") + rule("allocation", "s2") +
                    "[[program]]\nmatch.exe = \"app\"\n" + rule("program.allocation", "p1"));
  folders.write("user/policy.toml", "schema = 1\n" + rule("allocation", "u1"));
  request.sets = {"allocation=[{match={library=\"set\"}, place=\"resident\"}]"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  std::string order;
  for (const AllocationRule& known : loaded.options.allocations) order += known.library + " ";
  CHECK(order == "set u1 p1 s1 s2 ");
  const std::size_t first = loaded.settings.size() - loaded.options.allocations.size();
  CHECK(loaded.settings[first].source == "--set");
  CHECK(loaded.settings[first + 1].source == folders.path("user/policy.toml"));
}

TEST_CASE("rules of kernels are asked in the same order") {
  Folders folders;
  Request request = folders.request();
  const auto rule = [](const char* head, const char* name) {
    return std::string("[[") + head + "]]\nmatch.name = \"" + name +
           "\"\nreach = \"everything\"\n";
  };
  folders.write("system/policy.toml",
                "schema = 1\n" + rule("kernel", "s1") + rule("kernel", "s2") +
                    "[[program]]\nmatch.exe = \"app\"\n" + rule("program.kernel", "p1") +
                    "[[program]]\nmatch.exe = \"other\"\n" + rule("program.kernel", "q1"));
  folders.write("user/policy.toml", "schema = 1\n" + rule("kernel", "u1"));
  request.sets = {"kernel=[{match={name=\"set\"}, reach=\"parameters\"}]"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  std::string order;
  for (const KernelRule& known : loaded.options.kernels) order += known.name + " ";
  CHECK(order == "set u1 p1 s1 s2 ");
}

TEST_CASE("set strings take quotes or none, and split only outside of them") {
  Request request;
  request.sets = {"vram.limit = \"4GiB\" ; tiers.host.limit=50%;;\n",
                  "allocation=[{match={symbol=\"a;b\"}, place=\"stream\"}];vram.reserve='2GiB'"};
  const Loaded loaded = load(request);
  for (const Diagnostic& diagnostic : loaded.diagnostics) MESSAGE(text_of(diagnostic));
  REQUIRE(loaded.ok());
  CHECK(loaded.options.vram_limit == size_of(4_GiB));
  CHECK(loaded.options.vram_reserve_bytes == 2_GiB);
  CHECK(loaded.options.tiers_host_limit == share_of(0.5));
  REQUIRE(loaded.options.allocations.size() == 1);
  CHECK(loaded.options.allocations[0].symbol == "a;b");
}

TEST_CASE("an escaped quote ends nothing, and no item is lost after it") {
  Request request;
  request.sets = {R"(allocation=[{match={symbol="a\";b"}, place="stream"}];vram.limit=4GiB)"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  CHECK(loaded.options.allocations.at(0).symbol == "a\";b");
  CHECK(loaded.options.vram_limit == size_of(4_GiB));
  request.sets = {"vram.limit=\"4GiB\\"};
  CHECK_FALSE(load(request).ok());
}

TEST_CASE("of the same key set twice the later wins") {
  Request request;
  request.sets = {"vram.limit=4GiB", "vram.limit=5GiB"};
  CHECK(load(request).options.vram_limit == size_of(5_GiB));
}

}  // namespace
}  // namespace barswap::policy
