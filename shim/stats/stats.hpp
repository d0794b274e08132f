// The process's statistics: one struct of counters and a ring of recent events, memory-mapped from
// a file when one can be had. Every room may write, none reads; a reader (`barswap status`) never
// stops a writer. Without a file the counters live in a static struct and nothing else changes.
//
// All functions are lock-free, allocate nothing, print nothing and throw nothing. Counters are
// added to with relaxed atomics; texts and the list of dies are written by session alone.
#pragma once
#include <atomic>
#include <cstdint>

#include "barswap/stats.h"
#include "barswap/units.hpp"

namespace barswap::stats {

// The struct in use; always valid. Ask for it at each use: open_file changes it once.
barswap_stats& live();

// Makes this process's file and moves the counters into it. `program` is the executable's base
// name. Removes the files of ended processes first. False, without a trace on disk, when there is
// no folder of ours or not the space for the whole file: the shim runs without it. Called by
// session, under its start lock.
bool open_file(const char* program);

// The file's path, or an empty string. The string lives as long as the process.
const char* path();

// In a child after fork: the file stays the parent's alone. What was mapped becomes private memory
// of zeroes, so that references taken earlier stay valid; the descriptor that holds the lock is
// closed.
void forked_child();

// Async-signal-safe. An event that is overtaken by 256 others while it is written may come out
// mixed.
void event(barswap_event_kind kind, Cause cause, Die die, std::uint64_t bytes);

// `reason` says why the state is not active, in a sentence for the user; an empty string otherwise.
void set_state(barswap_state state, const char* reason);
void set_policy(const char* files);

inline void add(std::uint64_t& counter, std::uint64_t amount = 1) {
  std::atomic_ref<std::uint64_t>(counter).fetch_add(amount, std::memory_order_relaxed);
}
inline void subtract(std::uint64_t& counter, std::uint64_t amount) {
  std::atomic_ref<std::uint64_t>(counter).fetch_sub(amount, std::memory_order_relaxed);
}
inline void set(std::uint64_t& gauge, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(gauge).store(value, std::memory_order_relaxed);
}
inline void set(std::uint32_t& gauge, std::uint32_t value) {
  std::atomic_ref<std::uint32_t>(gauge).store(value, std::memory_order_relaxed);
}
inline std::uint64_t get(std::uint64_t& counter) {
  return std::atomic_ref<std::uint64_t>(counter).load(std::memory_order_relaxed);
}
// For peaks: the gauge never falls.
inline void raise_to(std::uint64_t& gauge, std::uint64_t value) {
  std::atomic_ref<std::uint64_t> word(gauge);
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  while (seen < value && !word.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {}
}

inline barswap_die_stats& of_die(Die die) { return live().die[index_of(die)]; }
inline std::uint64_t& bytes_in(Die die, Tier tier) {
  return of_die(die).tier[static_cast<int>(tier)];
}

// A page changed its frame: counted by cause, and an event. Out of HBM, or into it.
void moved_out(Cause cause, Die die, std::uint64_t bytes);
void moved_in(Cause cause, Die die, std::uint64_t bytes);

}  // namespace barswap::stats
