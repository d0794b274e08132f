// The exact words of every mistake a policy can hold.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "folders.hpp"

namespace barswap::policy {
namespace {

using test::Folders;

// What load() says of a file with this text after the line `schema = 1`, the file named `p`.
std::string said(const std::string& text, bool with_schema = true) {
  Folders folders;
  Request request;
  request.policy_file = folders.write("p", (with_schema ? "schema = 1\n" : "") + text);
  std::string all;
  for (Diagnostic diagnostic : load(request).diagnostics) {
    CHECK(diagnostic.file == request.policy_file);
    diagnostic.file = "p";
    all += text_of(diagnostic) + "\n";
  }
  return all;
}

std::string said_of_set(const std::vector<std::string>& sets) {
  Request request;
  request.sets = sets;
  std::string all;
  for (const Diagnostic& diagnostic : load(request).diagnostics) all += text_of(diagnostic) + "\n";
  return all;
}

TEST_CASE("an unknown key names the nearest") {
  CHECK(said("[vram]\nlimt = \"4GiB\"\n") ==
        "p:3:1: error: unknown key 'vram.limt'; did you mean 'vram.limit'?\n");
  CHECK(said("vram.limt = 3\n") ==
        "p:2:6: error: unknown key 'vram.limt'; did you mean 'vram.limit'?\n");
  CHECK(said("[vrma]\nreserve = \"1GiB\"\n") ==
        "p:3:1: error: unknown key 'vrma.reserve'; did you mean 'vram.reserve'?\n");
  CHECK(said("[tiers]\nhsot.enable = true\n") ==
        "p:3:6: error: unknown key 'tiers.hsot.enable'; did you mean 'tiers.host.enable'?\n");
  CHECK(said("[pagin]\n") == "p:2:2: error: unknown key 'pagin'; did you mean 'paging'?\n");
  CHECK(said("headrom = \"auto\"\n") ==
        "p:2:1: error: unknown key 'headrom'; did you mean 'vram.headroom'?\n");
}

TEST_CASE("a key of a later version says so") {
  CHECK(said("dies.atomics = \"drain\"\n") ==
        "p:2:6: error: 'dies.atomics' is not in this version\n");
  CHECK(said("paging.overlap = \"drain\"\n") ==
        "p:2:18: error: paging.overlap wants \"off\" or \"reach\", not \"drain\"\n");
}

TEST_CASE("kernels follow their data in a pool only") {
  CHECK(said("routing.kernels = \"data\"\ndies.present = \"pooled\"\n") == "");
  CHECK(said("routing.kernels = \"home\"\ndies.present = \"one\"\n") == "");
  CHECK(said("[dies]\npresent = \"one\"\n[routing]\nkernels = \"data\"\n") ==
        "p:5:11: error: routing.kernels = \"data\" needs dies.present = \"pooled\", which is "
        "\"one\": set that, or leave routing.kernels at \"home\"\n");
  CHECK(said_of_set({"dies.present=pooled; routing.kernels=data", "dies.present=as-is"}) ==
        "--set:2:17: error: routing.kernels = \"data\" needs dies.present = \"pooled\", which is "
        "\"as-is\": set that, or leave routing.kernels at \"home\"\n");
  // Of keys that could not be read nothing follows.
  CHECK(said("routing.kernels = \"data\"\ndies.present = \"pool\"\n") ==
        "p:3:16: error: dies.present wants \"as-is\", \"pooled\" or \"one\", not \"pool\"; did you "
        "mean 'pooled'?\n");
  // Of another program's section neither.
  CHECK(said("[[program]]\nmatch = { exe = \"nobody\" }\nrouting.kernels = \"data\"\n") == "");
}

TEST_CASE("words of routing are checked") {
  CHECK(said("[[kernel]]\nmatch = { name = \"*\" }\nroute = \"away\"\n") ==
        "p:4:9: error: kernel.route wants \"auto\" or \"home\", not \"away\"\n");
  CHECK(said("[[kernel]]\nmatch = { name = \"*\" }\nroot = \"home\"\n") ==
        "p:4:1: error: unknown key 'kernel.root'; did you mean 'kernel.route'?\n");
  CHECK(said("routing.processes = \"least-bussy\"\n") ==
        "p:2:21: error: routing.processes wants \"most-free\", \"round-robin\" or \"least-busy\", "
        "not \"least-bussy\"; did you mean 'least-busy'?\n");
}

TEST_CASE("a word of a later version says which this one knows") {
  CHECK(said("[[allocation]]\nmatch = {}\nplace = \"peer\"\n") ==
        "p:4:9: error: allocation.place = \"peer\" is not in this version, which knows only "
        "\"auto\", "
        "\"resident\" or \"stream\"\n");
}

TEST_CASE("a value of the wrong type says what is wanted") {
  CHECK(said("vram.limit = 4\n") ==
        "p:2:14: error: vram.limit wants \"auto\", a size such as \"20GiB\" or a share such as "
        "\"80%\", not an integer\n");
  CHECK(said("vram.reserve = 0.5\n") ==
        "p:2:16: error: vram.reserve wants a size such as \"20GiB\", not a number with a point\n");
  CHECK(said("tiers.host.enable = \"yes\"\n") ==
        "p:2:21: error: tiers.host.enable wants true or false, not \"yes\"\n");
  CHECK(said("paging.deadline = true\n") ==
        "p:2:19: error: paging.deadline wants a duration such as \"50ms\", not true or false\n");
  CHECK(said("paging.deadline = 1979-05-27\n") ==
        "p:2:19: error: paging.deadline wants a duration such as \"50ms\", not a date\n");
  CHECK(said("dies.use = 0\n") ==
        "p:2:12: error: dies.use wants \"all\" or a list of dies such as [0, 1] or "
        "[\"GPU-5a1b\"], not an integer\n");
  CHECK(said("dies.limit = \"4GiB\"\n") ==
        "p:2:14: error: dies.limit wants a table such as { 1 = \"12GiB\" }, not \"4GiB\"\n");
  CHECK(said("vram = 3\n") == "p:2:8: error: 'vram' is a table of keys, not an integer\n");
  CHECK(said("vram.limit.die = 3\n") ==
        "p:2:6: error: vram.limit wants \"auto\", a size such as \"20GiB\" or a share such as "
        "\"80%\", not a table\n");
}

TEST_CASE("an impossible value says what is wanted, a misspelt word the nearest") {
  CHECK(said("vram.limit = \"lots\"\n") ==
        "p:2:14: error: vram.limit wants \"auto\", a size such as \"20GiB\" or a share such as "
        "\"80%\", not \"lots\"\n");
  CHECK(said("vram.limit = \"20GB\"\n") ==
        "p:2:14: error: vram.limit wants \"auto\", a size such as \"20GiB\" or a share such as "
        "\"80%\", not \"20GB\"\n");
  CHECK(said("vram.limit = \"-4GiB\"\n") ==
        "p:2:14: error: vram.limit wants \"auto\", a size such as \"20GiB\" or a share such as "
        "\"80%\", not \"-4GiB\"\n");
  CHECK(said("paging.plan = \"steam\"\n") ==
        "p:2:15: error: paging.plan wants \"auto\", \"stream\" or \"move\", not \"steam\"; did you "
        "mean "
        "'stream'?\n");
  CHECK(said("vram.max_alloc = \"50%\"\n") ==
        "p:2:18: error: vram.max_alloc wants \"none\" or a size such as \"20GiB\", not \"50%\"\n");
}

TEST_CASE("a value out of bounds says the bounds") {
  CHECK(said("paging.page = \"1MiB\"\n") ==
        "p:2:15: error: paging.page is \"1MiB\", outside 2MiB to 64MiB in steps of 2MiB\n");
  CHECK(said("paging.page = \"3MiB\"\n") ==
        "p:2:15: error: paging.page is \"3MiB\", outside 2MiB to 64MiB in steps of 2MiB\n");
  CHECK(said("vram.limit = \"101%\"\n") ==
        "p:2:14: error: vram.limit is \"101%\", outside 64MiB to 64TiB or 1% to 100%\n");
  CHECK(said("vram.limit = \"0B\"\n") ==
        "p:2:14: error: vram.limit is \"0B\", outside 64MiB to 64TiB or 1% to 100%\n");
  CHECK(said("vram.limit = \"99999999999999999999TiB\"\n") ==
        "p:2:14: error: vram.limit is \"99999999999999999999TiB\", outside 64MiB to 64TiB or 1% to "
        "100%\n");
  CHECK(said("paging.deadline = \"11s\"\n") ==
        "p:2:19: error: paging.deadline is \"11s\", outside 1ms to 10s\n");
  CHECK(said("paging.forced = \"51%\"\n") ==
        "p:2:17: error: paging.forced is \"51%\", outside 0% to 50%\n");
  CHECK(said("dies.limit = { 1 = \"1MiB\" }\n") ==
        "p:2:20: error: dies.limit.1 is \"1MiB\", outside 64MiB to 64TiB or 1% to 100%\n");
}

TEST_CASE("dies that cannot be are told") {
  CHECK(said("dies.use = [0, 16]\n") ==
        "p:2:16: error: die 16 cannot be: dies are numbered 0 to 15\n");
  CHECK(said("dies.use = [-1]\n") ==
        "p:2:13: error: die -1 cannot be: dies are numbered 0 to 15\n");
  CHECK(said("dies.use = [1, 1]\n") == "p:2:16: error: dies.use names die 1 twice\n");
  CHECK(said("dies.use = []\n") == "p:2:12: error: dies.use names no die\n");
  CHECK(said("dies.use = [\"first\"]\n") ==
        "p:2:13: error: \"first\" names no die: a number, or \"GPU-\" and the beginning of its "
        "UUID\n");
  CHECK(said("[dies.limit]\nGPU-XY = \"4GiB\"\n") ==
        "p:3:1: error: \"GPU-XY\" names no die: a number, or \"GPU-\" and the beginning of its "
        "UUID\n");
}

TEST_CASE("a duplicate is told at its second place") {
  CHECK(said("vram.limit = \"4GiB\"\nvram.limit = \"5GiB\"\n") ==
        "p:3:14: error: duplicate key: cannot redefine existing string 'vram.limit'\n");
}

TEST_CASE("what is not TOML is told") {
  CHECK(said("vram.limit = 4GiB\n") ==
        "p:2:15: error: not TOML: decimal integer: expected digit, saw 'G' (sizes, shares and "
        "durations stand in quotes)\n");
  CHECK(said("[vram\n").starts_with("p:2:6: error: not TOML: table header: "));
  CHECK(said(std::string("\xff\xfe\x00\x01", 4)).find("error: not TOML: ") != std::string::npos);
  CHECK(said(std::string(3000, '#')) == "p:2:2001: error: the line is longer than 2000 bytes\n");
  std::string long_text;
  while (long_text.size() < 300'000) long_text += "# a line that says nothing\n";
  CHECK(said(long_text) == "p:1:1: error: the text is longer than 262144 bytes\n");
}

TEST_CASE("a text that nests without end is refused, not followed") {
  std::string dots = "a";
  for (int i = 0; i < 900; ++i) dots += ".a";
  CHECK(said(dots + " = 1\n") == "p:2:1: error: the line has more than 40 dots\n");
  CHECK(said("# " + std::string(900, '.') + "\n").empty());
  CHECK(said("a = " + std::string(500, '[') + "\n").find("error: not TOML: ") != std::string::npos);
  // Each line stays under the limit; together they would be a tower of a hundred thousand tables.
  std::string tower = "a = [\n";
  for (int i = 0; i < 3000; ++i)
    tower += "{a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = [\n";
  CHECK(said(tower).find("error: not TOML: ") != std::string::npos);
}

TEST_CASE("a file without its schema, or with another, is refused") {
  CHECK(said("", false) == "p:1:1: error: missing 'schema = 1'\n");
  CHECK(said("vram.limit = \"4GiB\"\n", false) == "p:1:1: error: missing 'schema = 1'\n");
  CHECK(said("schema = 2\n", false) ==
        "p:1:10: error: schema = 2 is not known to this version, which knows schema = 1\n");
  CHECK(said("schema = \"1\"\n", false) ==
        "p:1:10: error: schema = \"1\" is not known to this version, which knows schema = 1\n");
}

TEST_CASE("a file that cannot be read is told") {
  Folders folders;
  Request request;
  const auto said_of = [&](const std::string& path) {
    request.policy_file = path;
    const Loaded loaded = load(request);
    CHECK_FALSE(loaded.ok());
    return text_of(loaded.diagnostics.at(0));
  };
  const std::string absent = folders.path("absent.toml");
  CHECK(said_of(absent) == absent + ":1:1: error: cannot be read: no such file");
  const std::string folder = folders.path("");
  CHECK(said_of(folder) == folder + ":1:1: error: cannot be read: not a regular file");
  const std::string pipe = folders.path("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(said_of(pipe) == pipe + ":1:1: error: cannot be read: not a regular file");
  const std::string loop = folders.path("loop");
  REQUIRE(::symlink("loop", loop.c_str()) == 0);
  CHECK(said_of(loop) == loop + ":1:1: error: cannot be read: too many links");
  const std::string secret = folders.write("secret", "schema = 1\n");
  REQUIRE(::chmod(secret.c_str(), 0) == 0);
  // Root reads whatever it likes; then this part of the test has nothing to see.
  if (::access(secret.c_str(), R_OK) != 0)
    CHECK(said_of(secret) == secret + ":1:1: error: cannot be read: permission denied");
}

TEST_CASE("a file of a layer that is there but cannot be read is told") {
  Folders folders;
  const std::string path = folders.path("system/policy.toml");
  std::filesystem::create_directories(path);
  const Loaded loaded = load(folders.request());
  REQUIRE(loaded.diagnostics.size() == 1);
  CHECK(text_of(loaded.diagnostics[0]) == path + ":1:1: error: cannot be read: not a regular file");
}

TEST_CASE("rules of [[kernel]] are checked") {
  CHECK(said("[[kernel]]\nreach = \"everything\"\n") ==
        "p:2:1: error: this [[kernel]] has no 'match'\n");
  CHECK(said("[[kernel]]\nmatch = {}\n") ==
        "p:2:1: error: this [[kernel]] has no 'reach' or 'route'\n");
  CHECK(said("[[kernel]]\nmatch = {}\nreach = \"all\"\n") ==
        "p:4:9: error: kernel.reach wants \"parameters\" or \"everything\", not \"all\"\n");
  CHECK(said("[[kernel]]\nmatch = { nam = \"a\" }\nreach = \"everything\"\n") ==
        "p:3:11: error: unknown key 'kernel.match.nam'; did you mean 'kernel.match.name'?\n");
  CHECK(said("[[kernel]]\nmatch = { name = 3 }\nreach = \"everything\"\n") ==
        "p:3:18: error: kernel.match.name wants a pattern such as \"*getrf_batched*\", not an "
        "integer\n");
  CHECK(said("kernel = 3\n") == "p:2:10: error: kernel wants [[kernel]], not an integer\n");
}

TEST_CASE("rules of [[allocation]] are checked") {
  CHECK(said("[[allocation]]\nplace = \"stream\"\n") ==
        "p:2:1: error: this [[allocation]] has no 'match'\n");
  CHECK(said("[[allocation]]\nmatch = {}\n") ==
        "p:2:1: error: this [[allocation]] has no 'place'\n");
  CHECK(said("[[allocation]]\nmatch = {}\nplace = \"residant\"\n") ==
        "p:4:9: error: allocation.place wants \"auto\", \"resident\" or \"stream\", not "
        "\"residant\"; did you mean 'resident'?\n");
  CHECK(said("[[allocation]]\nmatch = { siz = 1 }\nplace = \"stream\"\n") ==
        "p:3:11: error: unknown key 'allocation.match.siz'; did you mean "
        "'allocation.match.size'?\n");
  CHECK(said("[[allocation]]\nmatch = {}\nplaces = \"stream\"\n") ==
        "p:4:1: error: unknown key 'allocation.places'; did you mean 'allocation.place'?\n");
  CHECK(said("[[allocation]]\nmatch = { size = \"big\" }\nplace = \"stream\"\n") ==
        "p:3:18: error: allocation.match.size wants a range such as \">=256MiB\", not \"big\"\n");
  CHECK(said("[[allocation]]\nmatch = { size = \"2GiB..1GiB\" }\nplace = \"stream\"\n") ==
        "p:3:18: error: allocation.match.size wants a range such as \">=256MiB\", not "
        "\"2GiB..1GiB\"\n");
  CHECK(said("[[allocation]]\nmatch = { size = \">9999999999TiB\" }\nplace = \"stream\"\n") ==
        "p:3:18: error: allocation.match.size is \">9999999999TiB\", which is too large\n");
  CHECK(said("[[allocation]]\nmatch = { order = -1 }\nplace = \"stream\"\n") ==
        "p:3:19: error: allocation.match.order wants a range such as \"<10\", not an integer\n");
  CHECK(
      said("[[allocation]]\nmatch = { library = \"\" }\nplace = \"stream\"\n") ==
      "p:3:21: error: allocation.match.library wants a pattern such as \"libtorch_cuda.so*\", not "
      "\"\"\n");
  CHECK(said("[[allocation]]\nmatch = \"all\"\nplace = \"stream\"\n") ==
        "p:3:9: error: allocation.match wants a table such as { size = \">=256MiB\" }, not "
        "\"all\"\n");
  CHECK(said("[allocation]\nplace = \"stream\"\n") ==
        "p:2:1: error: allocation wants [[allocation]], not a table\n");
}

TEST_CASE("sections for other programs are checked as well") {
  CHECK(said("[[program]]\nmatch = { exe = \"nobody\" }\nvram.limt = \"4GiB\"\n") ==
        "p:4:6: error: unknown key 'vram.limt'; did you mean 'vram.limit'?\n");
  CHECK(said("[[program]]\nmatch = { exe = \"nobody\" }\npaging.page = \"1GiB\"\n") ==
        "p:4:15: error: paging.page is \"1GiB\", outside 2MiB to 64MiB in steps of 2MiB\n");
  CHECK(said("[[program]]\nvram.limit = \"4GiB\"\n") ==
        "p:2:1: error: this [[program]] has no 'match'\n");
  CHECK(said("[[program]]\nmatch = { exec = \"a\" }\n") ==
        "p:3:11: error: unknown key 'program.match.exec'; did you mean 'program.match.exe'?\n");
  CHECK(said("[program]\nmatch = {}\n") ==
        "p:2:1: error: program wants [[program]], not a table\n");
}

TEST_CASE("set strings are told by number of item and column") {
  CHECK(said_of_set({"vram.limit=4GiB;vram.limt=5GiB"}) ==
        "--set:2:6: error: unknown key 'vram.limt'; did you mean 'vram.limit'?\n");
  CHECK(said_of_set({"vram.limit=4GiB", "  paging.page=3MiB"}) ==
        "--set:2:13: error: paging.page is \"3MiB\", outside 2MiB to 64MiB in steps of 2MiB\n");
  CHECK(said_of_set({"vram.limit"}) ==
        "--set:1:1: error: 'vram.limit' is not of the form key=value\n");
  CHECK(said_of_set({"schema=2"}) ==
        "--set:1:1: error: 'schema' stands at the head of a file only\n");
  CHECK(said_of_set({"vram.limit=\"4GiB"}).starts_with("--set:1:"));
  CHECK(said_of_set({"vram.limit="}).starts_with("--set:1:"));
  CHECK(said_of_set({"=4GiB"}).starts_with("--set:1:"));
}

TEST_CASE("letters beyond ASCII are kept in texts and told elsewhere") {
  Request request;
  request.exe = "/opt/été/app";
  request.sets = {"program=[{match={exe=\"*/été/*\"}, paging.page=\"4MiB\"}] # été"};
  const Loaded loaded = load(request);
  REQUIRE(loaded.ok());
  CHECK(loaded.options.paging_page_bytes == 4_MiB);
  CHECK(said("vram.limité = \"4GiB\"\n").find("error: not TOML: ") != std::string::npos);
  CHECK(said("vram.limit = é\n").find("error: not TOML: ") != std::string::npos);
}

TEST_CASE("an error stays one line whatever the text holds") {
  const std::string all = said("vram.limit = \"a\\nb\\u0007\"\n\"x\\ny\" = 1\n");
  CHECK(std::count(all.begin(), all.end(), '\n') == 2);
  CHECK(all.find('\a') == std::string::npos);
}

TEST_CASE("many mistakes are told up to a limit") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "key" + std::to_string(i) + " = 1\n";
  const std::string all = said(text);
  CHECK(std::count(all.begin(), all.end(), '\n') == 20);
}

}  // namespace
}  // namespace barswap::policy
