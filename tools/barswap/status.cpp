// `barswap status`: statistics as text for people and as JSON for programs.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "barswap/units.hpp"
#include "commands.hpp"
#include "format.hpp"
#include "reading.hpp"

namespace barswap::tools {
namespace {

using nlohmann::ordered_json;

const char* state_of(const Reading& reading) {
  if (!reading.living) return "ended";
  switch (reading.stats.state) {
    case BARSWAP_STATE_ACTIVE: return "active";
    case BARSWAP_STATE_PLACE_ONLY: return "place-only";
    case BARSWAP_STATE_BYPASS: return "bypass";
    case BARSWAP_STATE_CLOSING: return "closing";
    default: return "starting";
  }
}

const char* kind_of(std::uint32_t kind) {
  switch (kind) {
    case BARSWAP_EVENT_MOVE_OUT: return "move-out";
    case BARSWAP_EVENT_MOVE_IN: return "move-in";
    case BARSWAP_EVENT_DRAIN_FAILED: return "drain-failed";
    case BARSWAP_EVENT_OUT_OF_MEMORY: return "out-of-memory";
    case BARSWAP_EVENT_MOVES_OFF: return "moves-off";
    default: return "?";
  }
}

const char* cause_of(std::uint32_t cause) {
  return cause < kCauses ? name_of(static_cast<Cause>(cause)) : "?";
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return std::to_string(bytes) + " B";
  return format(value < 10 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
}

std::string ms_text(std::uint64_t ns) { return format("%.1f ms", static_cast<double>(ns) / 1e6); }

std::string uuid_text(const std::uint8_t (&uuid)[16]) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += format("%02x", uuid[i]);
  }
  return text;
}

// The newest `count` events, oldest first. A slot that is being written is passed over.
std::vector<barswap_event> newest_events(const barswap_stats& stats, int count) {
  std::vector<barswap_event> events;
  for (const barswap_event& slot : stats.events)
    if (slot.time_ns != 0) events.push_back(slot);
  std::sort(events.begin(), events.end(),
            [](const barswap_event& a, const barswap_event& b) { return a.sequence < b.sequence; });
  std::size_t wanted = static_cast<std::size_t>(count);
  if (events.size() > wanted)
    events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(wanted));
  return events;
}

// ---- text ----

std::string die_text(int index, const barswap_die_stats& die) {
  std::string text;
  text += format("  die %d   %s, %s\n", index, uuid_text(die.uuid).c_str(),
                 size_text(die.vram_total).c_str());
  text += format("    limit    %s, budget %s\n", size_text(die.limit).c_str(),
                 size_text(die.budget).c_str());
  text += format("    asked    %s now, %s at most; outside our pages %s; pinned %s\n",
                 size_text(die.asked).c_str(), size_text(die.asked_peak).c_str(),
                 size_text(die.outside).c_str(), size_text(die.pinned).c_str());
  if (die.lent != 0) text += format("    lent     %s to other dies\n", size_text(die.lent).c_str());
  text += "    tier           all         small         large\n";
  text += format("    hbm     %11s   %11s   %11s\n", size_text(die.tier[0]).c_str(),
                 size_text(die.small_hbm).c_str(), size_text(die.large_hbm).c_str());
  if (die.tier[1] != 0)
    text += format("    peer    %11s   %11s   %11s\n", size_text(die.tier[1]).c_str(),
                   size_text(die.small_peer).c_str(), size_text(die.large_peer).c_str());
  text += format("    host    %11s   %11s   %11s\n", size_text(die.tier[2]).c_str(),
                 size_text(die.small_host).c_str(), size_text(die.large_host).c_str());
  return text;
}

std::string moves_text(const barswap_stats& stats) {
  std::string text;
  for (int i = 0; i < kCauses; ++i) {
    const barswap_cause_stats& cause = stats.causes[i];
    if (cause.pages_out == 0 && cause.pages_in == 0) continue;
    text += format(
        "    %-10s %7llu pages %11s    %7llu pages %11s\n", cause_of(static_cast<unsigned>(i)),
        static_cast<unsigned long long>(cause.pages_out), size_text(cause.bytes_out).c_str(),
        static_cast<unsigned long long>(cause.pages_in), size_text(cause.bytes_in).c_str());
  }
  if (text.empty()) return "  moves    none\n";
  return "  moves                        out of HBM                  into HBM\n" + text;
}

const char* const kKept[BARSWAP_STATS_KEPT] = {
    "state",   "unknown", "function", "kind",    "policy",
    "streams", "outside", "capture",  "refused", "small"};

// Nothing, where no launch was worth routing.
std::string routing_text(const barswap_stats& stats) {
  std::string kept;
  for (int i = 0; i < BARSWAP_STATS_KEPT; ++i)
    if (stats.kept[i] != 0)
      kept += format("%s%llu %s", kept.empty() ? "" : ", ",
                     static_cast<unsigned long long>(stats.kept[i]), kKept[i]);
  if (stats.routed == 0 && kept.empty()) return "";
  return format("  routing  %llu launches ran on another die, %llu changes of die\n",
                static_cast<unsigned long long>(stats.routed),
                static_cast<unsigned long long>(stats.die_changes)) +
         (kept.empty() ? "" : "    kept at home though more lay elsewhere: " + kept + "\n");
}

ordered_json routing_json(const barswap_stats& stats) {
  ordered_json kept = ordered_json::object();
  for (int i = 0; i < BARSWAP_STATS_KEPT; ++i) kept[kKept[i]] = stats.kept[i];
  return {{"routed", stats.routed}, {"die_changes", stats.die_changes}, {"kept", kept}};
}

std::string events_text(const barswap_stats& stats, int count) {
  std::string text;
  for (const barswap_event& event : newest_events(stats, count))
    text += format("    %8llu   %12.3f s   %-13s die %d   %-8s   %s\n",
                   static_cast<unsigned long long>(event.sequence),
                   static_cast<double>(event.time_ns) / 1e9, kind_of(event.kind), event.die,
                   cause_of(event.cause), size_text(event.bytes).c_str());
  return text.empty() ? "" : "  events   number, monotonic time, what, where, cause, size\n" + text;
}

std::string counters_text(const barswap_stats& stats) {
  auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::string text;
  text +=
      format("  host     %s of at most %s, %s of it ready and unused, %s copies of pages in HBM\n",
             size_text(stats.host_bytes).c_str(), size_text(stats.host_limit).c_str(),
             size_text(stats.host_prepared).c_str(), size_text(stats.host_copies).c_str());
  text += format("  clean    %s left HBM for such a copy, unchanged and not copied\n",
                 size_text(stats.clean_bytes).c_str());
  if (stats.beside_bytes > 0)
    text += format("  beside   %s came into HBM while other work ran (paging.overlap)\n",
                   size_text(stats.beside_bytes).c_str());
  text += format(
      "  calls    %llu allocations, %llu frees, %llu out of memory, %llu driver calls "
      "repeated after making room\n",
      number(stats.allocations), number(stats.frees), number(stats.out_of_memory),
      number(stats.driver_retries));
  text += format("  drains   %llu, %llu given up, gate closed for %s\n", number(stats.drains),
                 number(stats.drains_failed), ms_text(stats.drain_ns).c_str());
  text += format("  stalls   %llu submissions waited, %s in all\n", number(stats.stalls),
                 ms_text(stats.stall_ns).c_str());
  if (stats.unknown_functions != 0)
    text += format("  unknown  %llu driver functions that this version does not know\n",
                   number(stats.unknown_functions));
  if (stats.moves_off != 0) text += "  moves are off since a driver error; the log names it\n";
  return text;
}

std::string text_of(const Reading& reading, int events) {
  if (!reading.trouble.empty()) return reading.path + " " + reading.trouble + "\n";
  const barswap_stats& stats = reading.stats;
  std::string text = format("%u   %s   %s", stats.pid, stats.program, state_of(reading));
  if (stats.reason[0] != '\0') text += std::string(": ") + stats.reason;
  text += '\n';
  if (stats.policy[0] != '\0') text += std::string("  policy   ") + stats.policy + "\n";
  for (std::uint32_t i = 0; i < stats.dies; ++i)
    text += die_text(static_cast<int>(i), stats.die[i]);
  return text + counters_text(stats) + routing_text(stats) + moves_text(stats) +
         events_text(stats, events);
}

// ---- JSON ----

ordered_json json_of(const barswap_die_stats& die) {
  return {{"uuid", uuid_text(die.uuid)},
          {"vram_total", die.vram_total},
          {"limit", die.limit},
          {"budget", die.budget},
          {"tier", {{"hbm", die.tier[0]}, {"peer", die.tier[1]}, {"host", die.tier[2]}}},
          {"small", {{"hbm", die.small_hbm}, {"peer", die.small_peer}, {"host", die.small_host}}},
          {"large", {{"hbm", die.large_hbm}, {"peer", die.large_peer}, {"host", die.large_host}}},
          {"asked", die.asked},
          {"asked_peak", die.asked_peak},
          {"outside", die.outside},
          {"lent", die.lent},
          {"pinned", die.pinned}};
}

ordered_json moves_json(const barswap_stats& stats) {
  ordered_json moves = ordered_json::object();
  for (int i = 0; i < kCauses; ++i) {
    const barswap_cause_stats& cause = stats.causes[i];
    moves[name_of(static_cast<Cause>(i))] = {{"pages_out", cause.pages_out},
                                             {"bytes_out", cause.bytes_out},
                                             {"pages_in", cause.pages_in},
                                             {"bytes_in", cause.bytes_in}};
  }
  return moves;
}

ordered_json events_json(const barswap_stats& stats, int count) {
  ordered_json events = ordered_json::array();
  for (const barswap_event& event : newest_events(stats, count))
    events.push_back({{"sequence", event.sequence},
                      {"time_ns", event.time_ns},
                      {"kind", kind_of(event.kind)},
                      {"cause", cause_of(event.cause)},
                      {"die", event.die},
                      {"bytes", event.bytes}});
  return events;
}

ordered_json json_of(const Reading& reading, int events) {
  if (!reading.trouble.empty()) return {{"path", reading.path}, {"trouble", reading.trouble}};
  const barswap_stats& stats = reading.stats;
  ordered_json all = {{"pid", stats.pid},
                      {"program", stats.program},
                      {"state", state_of(reading)},
                      {"reason", stats.reason},
                      {"policy", stats.policy},
                      {"path", reading.path},
                      {"start_time_ns", stats.start_time_ns},
                      {"page_bytes", stats.page_bytes},
                      {"dies", ordered_json::array()}};
  for (std::uint32_t i = 0; i < stats.dies; ++i) all["dies"].push_back(json_of(stats.die[i]));
  all["host"] = {{"limit", stats.host_limit},
                 {"bytes", stats.host_bytes},
                 {"prepared", stats.host_prepared},
                 {"copies", stats.host_copies}};
  all["clean_bytes"] = stats.clean_bytes;
  all["beside_bytes"] = stats.beside_bytes;
  all["routing"] = routing_json(stats);
  all["allocations"] = stats.allocations;
  all["frees"] = stats.frees;
  all["out_of_memory"] = stats.out_of_memory;
  all["driver_retries"] = stats.driver_retries;
  all["drains"] = stats.drains;
  all["drains_failed"] = stats.drains_failed;
  all["drain_ns"] = stats.drain_ns;
  all["stalls"] = stats.stalls;
  all["stall_ns"] = stats.stall_ns;
  all["unknown_functions"] = stats.unknown_functions;
  all["moves_off"] = stats.moves_off != 0;
  all["moves"] = moves_json(stats);
  all["event_count"] = stats.event_count;
  all["events"] = events_json(stats, events);
  return all;
}

int print_once(const StatusArguments& arguments) {
  std::vector<Reading> readings = read_all(arguments.pid);
  std::string text;
  if (arguments.json) {
    ordered_json all = ordered_json::array();
    for (const Reading& reading : readings) all.push_back(json_of(reading, arguments.events));
    // A program's name may hold any bytes.
    text = all.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  } else {
    for (const Reading& reading : readings)
      text += (text.empty() ? "" : "\n") + text_of(reading, arguments.events);
  }
  if (arguments.watch && isatty(STDOUT_FILENO) != 0) std::fputs("\033[H\033[2J", stdout);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
  if (!readings.empty()) return 0;
  if (arguments.pid != 0) {
    std::fprintf(stderr,
                 "barswap: process %d of yours has no statistics: it does not run under Barswap, or"
                 " found no place for its file.\n",
                 arguments.pid);
    return 1;
  }
  if (!arguments.json) std::fputs("No process of yours runs under Barswap.\n", stdout);
  return 0;
}

}  // namespace

int status(const StatusArguments& arguments) {
  for (;;) {
    int result = print_once(arguments);
    if (!arguments.watch || result != 0) return result;
    const timespec second{1, 0};
    nanosleep(&second, nullptr);
  }
}

}  // namespace barswap::tools
