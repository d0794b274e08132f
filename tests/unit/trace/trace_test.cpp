// The recorder and the reader of traces: what goes in comes out, and what ends a trace ends nothing
// else.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "tools/replay/reader.hpp"
#include "trace/encode.hpp"
#include "trace/trace.hpp"

namespace fs = std::filesystem;
namespace trace = barswap::trace;
using barswap::Cause;
using barswap::Die;
using barswap::Tier;
using barswap::replay::Trace;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/barswap-trace-XXXXXX";
    REQUIRE(mkdtemp(name));
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return path / name; }
  fs::path path;
};

// A process has one trace in its life, so each case has a process; its standard error goes to a
// file. The body returns 0 or the number of the check that failed.
int in_child(const std::string& errors, const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const int file = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDERR_FILENO);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::uint8_t> bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string text_of(const std::string& path) {
  const auto bytes = bytes_of(path);
  return {bytes.begin(), bytes.end()};
}

Trace read(const std::string& path) {
  Trace out;
  std::string trouble;
  REQUIRE_MESSAGE(barswap::replay::read(path, out, trouble), trouble);
  return out;
}

void record_one_of_each() {
  trace::die(Die{1}, 100, 200, {1, 2, 3, 4, 5});
  const Tier tiers[] = {Tier::hbm, Tier::host, Tier::host};
  trace::run({7, Die{1}, 20, 8, 2, 1}, tiers);
  trace::allocated({9, Die{1}, 19, 7, 0});
  const trace::NamedRange two[] = {{9, BARSWAP_TRACE_READS}, {10, BARSWAP_TRACE_WRITES}};
  const std::uint64_t first = trace::launch(11, 12, {Die{1}, 0xabc}, two);
  const trace::NamedRange all[] = {{trace::kEverything, 0}};
  trace::graph(13, 14, {Die{1}, 0xabc}, all);
  trace::timed(Die{1}, first, 1234);
  trace::copy({64, BARSWAP_TRACE_TO_DIE, true}, {Die{1}, 0}, std::span(two, 1));
  trace::memset(32, {Die{1}, 0}, std::span(two, 1));
  const std::uint64_t now = barswap::now_ns();
  trace::sync({Die{1}, 0}, now, now + 500);
  trace::moved(Die{1}, 7, 2, Tier::host, Tier::hbm, Cause::refill);
  trace::drained(Die{1}, now, 99);
  trace::freed(Die{1}, 9);
  trace::run_ended(Die{1}, 7);
}

}  // namespace

TEST_CASE("what goes in comes out") {
  Folder folder;
  const std::string path = folder.file("a.trace");
  CHECK(in_child(folder.file("errors"), [&] {
          if (trace::on() || !trace::open(path.c_str(), "a program", 8)) return 1;
          if (!trace::on()) return 2;
          record_one_of_each();
          trace::close();
          return trace::on() ? 3 : 0;
        }) == 0);
  CHECK(text_of(folder.file("errors")).empty());
  const Trace all = read(path);
  CHECK(std::string(all.header.program) == "a program");
  CHECK(all.header.page_bytes == 8);
  CHECK((all.ended && all.cut_bytes == 0 && all.lost == 0 && all.unknown == 0));
  std::vector<int> kinds;
  for (std::size_t i = 0; i < all.pieces.size(); ++i) kinds.push_back(all.at(i).head().kind);
  CHECK(kinds == std::vector<int>{BARSWAP_TRACE_DIE, BARSWAP_TRACE_RUN, BARSWAP_TRACE_ALLOC,
                                  BARSWAP_TRACE_LAUNCH, BARSWAP_TRACE_GRAPH, BARSWAP_TRACE_TIMED,
                                  BARSWAP_TRACE_COPY, BARSWAP_TRACE_MEMSET, BARSWAP_TRACE_SYNC,
                                  BARSWAP_TRACE_MOVE, BARSWAP_TRACE_DRAIN, BARSWAP_TRACE_FREE,
                                  BARSWAP_TRACE_RUN_END, BARSWAP_TRACE_END});
  const auto die = all.at(0).as<barswap_trace_die>();
  CHECK((die.budget_bytes == 100 && die.host_limit_bytes == 200 && die.local_rate == 5));
  const auto run = all.at(1).as<barswap_trace_run>();
  CHECK((run.run == 7 && run.bytes == 20 && run.page_bytes == 8 && run.pages == 3));
  CHECK((run.kind == 2 && run.place == 1 && run.head.die == 1));
  CHECK(all.at(1).tiers() == std::vector<std::uint8_t>{0, 2, 2});
  const auto launch = all.at(3).as<barswap_trace_launch>();
  CHECK((launch.site == 11 && launch.variant == 12 && launch.head.words == 5));
  CHECK(launch.head.stream == all.at(4).head().stream);
  CHECK(all.at(3).ranges() ==
        std::vector<std::uint32_t>{9 | BARSWAP_TRACE_READS, 10 | BARSWAP_TRACE_WRITES});
  CHECK(all.at(4).ranges() == std::vector<std::uint32_t>{BARSWAP_TRACE_EVERYTHING});
  CHECK(all.at(5).as<barswap_trace_timed>().launch == 0);
  CHECK(all.at(5).as<barswap_trace_timed>().device_ns == 1234);
  const auto copy = all.at(6).as<barswap_trace_copy>();
  CHECK((copy.bytes == 64 && copy.direction == BARSWAP_TRACE_TO_DIE && copy.blocking == 1));
  const auto sync = all.at(8).as<barswap_trace_sync>();
  CHECK(sync.after_ns - sync.head.time_ns == 500);
  const auto move = all.at(9).as<barswap_trace_move>();
  CHECK((move.run == 7 && move.page == 2 && move.from == 2 && move.to == 0 && move.cause == 2));
  CHECK(all.at(10).as<barswap_trace_drain>().closed_ns == 99);
}

TEST_CASE("without a trace nothing is written, and nothing breaks") {
  Folder folder;
  CHECK(in_child(folder.file("errors"), [] {
          record_one_of_each();
          trace::close();
          trace::forked_child();
          return trace::on() ? 1 : 0;
        }) == 0);
  CHECK(text_of(folder.file("errors")).empty());
}

TEST_CASE("a trace that was cut anywhere gives the whole records before the cut") {
  Folder folder;
  const std::string path = folder.file("a.trace");
  REQUIRE(in_child(folder.file("errors"), [&] {
            if (!trace::open(path.c_str(), "p", 8)) return 1;
            record_one_of_each();
            trace::close();
            return 0;
          }) == 0);
  const auto whole = bytes_of(path);
  const Trace all = read(path);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Trace part;
    std::string trouble;
    const bool good = barswap::replay::parse(
        {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}, part, trouble);
    CHECK(good == (size >= sizeof(barswap_trace_header)));
    if (!good) continue;
    CHECK_FALSE(part.ended);
    CHECK(part.pieces.size() < all.pieces.size());
    const std::size_t taken = part.pieces.empty()
                                  ? sizeof(barswap_trace_header)
                                  : part.pieces.back().offset + part.pieces.back().size;
    CHECK(taken + part.cut_bytes == size);
  }
}

TEST_CASE("foreign files are told apart, and broken sizes end the reading") {
  Trace out;
  std::string trouble;
  CHECK_FALSE(barswap::replay::parse({'E', 'L', 'F'}, out, trouble));
  CHECK(trouble.find("no trace") != std::string::npos);
  barswap_trace_header header{};
  header.magic = BARSWAP_TRACE_MAGIC;
  header.version = 99;
  header.header_bytes = sizeof header;
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
  CHECK_FALSE(barswap::replay::parse({raw, raw + sizeof header}, out, trouble));
  CHECK(trouble.find("99") != std::string::npos);
  header.version = BARSWAP_TRACE_VERSION;
  std::vector<std::uint8_t> bytes(raw, raw + sizeof header);
  bytes.resize(bytes.size() + 64, 0);  // a record of no words
  CHECK(barswap::replay::parse(bytes, out, trouble));
  CHECK(out.pieces.empty());
  CHECK(out.cut_bytes == 64);
  // A kind of a later version is passed over.
  bytes[sizeof header] = 200;
  bytes[sizeof header + 2] = 8;
  CHECK(barswap::replay::parse(bytes, out, trouble));
  CHECK((out.unknown == 1 && out.cut_bytes == 0));
}

TEST_CASE("threads write whole records") {
  Folder folder;
  const std::string path = folder.file("a.trace");
  constexpr std::uint64_t kThreads = 4, kEach = 5000;
  REQUIRE(in_child(folder.file("errors"), [&] {
            if (!trace::open(path.c_str(), "p", 8)) return 1;
            std::vector<std::thread> threads;
            for (std::uint64_t thread = 0; thread < kThreads; ++thread)
              threads.emplace_back([thread] {
                for (std::uint64_t i = 0; i < kEach; ++i) {
                  const std::vector<trace::NamedRange> ranges(i % 7, {thread + 1, 0});
                  (void)trace::launch(thread, i, {}, ranges);
                }
              });
            for (std::thread& thread : threads) thread.join();
            trace::close();
            return 0;
          }) == 0);
  const Trace all = read(path);
  CHECK(all.ended);
  CHECK(all.pieces.size() == kThreads * kEach + 1);
  std::vector<std::uint64_t> next(kThreads, 0);
  for (std::size_t i = 0; i + 1 < all.pieces.size(); ++i) {
    const auto launch = all.at(i).as<barswap_trace_launch>();
    REQUIRE(launch.site < kThreads);
    REQUIRE(launch.variant == next[launch.site]++);
    const auto ranges = all.at(i).ranges();
    REQUIRE(ranges.size() == launch.variant % 7);
    for (const std::uint32_t word : ranges) REQUIRE(word == launch.site + 1);
  }
}

TEST_CASE("a full disk ends the trace with one line, and not the program") {
  Folder folder;
  CHECK(in_child(folder.file("errors"), [] {
          // The device takes nothing, not even the header.
          if (trace::open("/dev/full", "p", 8) || trace::on()) return 1;
          record_one_of_each();
          return 0;
        }) == 0);
  std::string said = text_of(folder.file("errors"));
  CHECK(said.find("No space left") != std::string::npos);
  CHECK(std::count(said.begin(), said.end(), '\n') == 1);

  const std::string path = folder.file("a.trace");
  CHECK(in_child(folder.file("errors"), [&] {
          const rlimit limit{100'000, 100'000};  // a byte more would raise SIGXFSZ
          setrlimit(RLIMIT_FSIZE, &limit);
          if (!trace::open(path.c_str(), "p", 8)) return 1;
          for (int i = 0; i < 10'000; ++i) (void)trace::launch(1, 1, {}, {});
          return trace::on() ? 2 : 0;
        }) == 0);
  said = text_of(folder.file("errors"));
  CHECK(said.find("ends here") != std::string::npos);
  CHECK(std::count(said.begin(), said.end(), '\n') == 1);
  CHECK(read(path).pieces.size() > 1000);
}

TEST_CASE("a file that cannot be made is named") {
  Folder folder;
  CHECK(in_child(folder.file("errors"),
                 [] { return trace::open("/no/such/folder/a.trace", "p", 8) ? 1 : 0; }) == 0);
  CHECK(text_of(folder.file("errors")).find("/no/such/folder/a.trace") != std::string::npos);
}

TEST_CASE("a descriptor that the program closed is never written to again") {
  Folder folder;
  const std::string other = folder.file("other");
  CHECK(in_child(folder.file("errors"), [&] {
          if (!trace::open(folder.file("a.trace").c_str(), "p", 8)) return 1;
          for (int file = 3; file < 64; ++file) ::close(file);
          for (int i = 0; i < 20; ++i) (void)::open(other.c_str(), O_WRONLY | O_CREAT, 0600);
          for (int i = 0; i < 10'000; ++i) (void)trace::launch(1, 1, {}, {});
          return trace::on() ? 2 : 0;
        }) == 0);
  CHECK(bytes_of(other).empty());
}

TEST_CASE("a child writes nothing, and its parent goes on") {
  Folder folder;
  const std::string path = folder.file("a.trace");
  CHECK(in_child(folder.file("errors"), [&] {
          if (!trace::open(path.c_str(), "p", 8)) return 1;
          (void)trace::launch(1, 1, {}, {});
          const pid_t child = fork();
          if (child == 0) {
            trace::forked_child();
            for (int i = 0; i < 10'000; ++i) (void)trace::launch(2, 2, {}, {});
            trace::close();
            _exit(trace::on() ? 1 : 0);
          }
          int status = 0;
          waitpid(child, &status, 0);
          if (status != 0) return 2;
          (void)trace::launch(1, 1, {}, {});
          trace::close();
          return 0;
        }) == 0);
  const Trace all = read(path);
  CHECK(all.pieces.size() == 3);
  CHECK(all.ended);
}

TEST_CASE("two processes with one path get two files, and %p names a process") {
  Folder folder;
  const std::string path = folder.file("a.trace");
  CHECK(in_child(folder.file("errors"), [&] {
          const int held = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
          if (flock(held, LOCK_EX) != 0) return 1;
          if (!trace::open(path.c_str(), "p", 8)) return 2;
          trace::close();
          return fs::exists(path + "." + std::to_string(getpid())) ? 0 : 3;
        }) == 0);
  CHECK(bytes_of(path).empty());
  CHECK(in_child(folder.file("errors"), [&] {
          if (!trace::open(folder.file("b-%p.trace").c_str(), "p", 8)) return 1;
          return fs::exists(folder.file(("b-" + std::to_string(getpid()) + ".trace").c_str())) ? 0
                                                                                               : 2;
        }) == 0);
}

TEST_CASE("a list that is too long for a record says everything") {
  struct Bytes {
    std::vector<std::uint8_t> bytes;
    void append(const void* from, std::size_t size) {
      const auto* first = static_cast<const std::uint8_t*>(from);
      bytes.insert(bytes.end(), first, first + size);
    }
  } sink;
  const std::vector<trace::NamedRange> many(200'000, {5, 0});
  trace::put_ranges(sink, barswap_trace_launch{}, BARSWAP_TRACE_GRAPH, many);
  const barswap::replay::Record record(sink.bytes);
  CHECK(record.ranges() == std::vector<std::uint32_t>{BARSWAP_TRACE_EVERYTHING});
  CHECK(record.head().words * 8u == sink.bytes.size());
}
