// The commands behind `barswap`. Each returns the exit status: 0; 1 for "no such process", and for
// a bench whose runs disagree; 2 when the command refuses, with cause and cure on standard error;
// 126 and 127 as env(1) has them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace barswap::tools {

constexpr int kRefused = 2;

// One line on standard error.
int refuse(const std::string& line);

struct PolicyArguments {
  std::string file;               // --policy
  std::vector<std::string> sets;  // --set, each key=value
};

struct RunArguments {
  PolicyArguments policy;
  std::string library;  // instead of the libbarswap.so beside this command
  std::vector<std::string> command;
};
int run(const RunArguments& arguments);
// The variables that `run` would set, for a shell to eval.
int print_environment(const RunArguments& arguments);

struct VerifyArguments {
  RunArguments run;
  std::string write;  // empty: NAME.toml in the current folder
  int runs = 20;      // at most
  int clean = 2;      // in a row, before a policy is written
  bool force = false;
};
int verify(const VerifyArguments& arguments);

struct CheckArguments {
  PolicyArguments policy;
  std::string program;  // --for: which program's sections and files apply
  std::string argv;
  bool explain = false;
};
int check(const CheckArguments& arguments);

struct StatusArguments {
  int pid = 0;  // 0: all processes
  bool json = false;
  bool watch = false;
  int events = 0;
};
int status(const StatusArguments& arguments);

// Where a number is not given (0, or below 0 for remaps), the trace's or the default holds.
struct ReplayArguments {
  std::string trace;
  std::string budget;                 // a size, or a share of what the program held at most
  std::vector<std::string> policies;  // empty: all
  double copy_in = 0, copy_out = 0, in_place = 0;  // GB/s
  double duplex = 0;
  double remap_in_us = -1, remap_out_us = -1;  // of one page
  std::string plot;
  bool json = false;
};
int replay(const ReplayArguments& arguments);

struct BenchArguments {
  PolicyArguments policy;  // of the runs under Barswap
  std::string library;
  std::string cap;                     // empty: by what is free
  std::vector<double> ratios;          // empty: 1.5 and 2, or 1.5 alone if quick
  std::vector<std::string> workloads;  // empty: all
  std::string python = "python3";      // for the workload decode
  int rounds = 3;
  int limit_s = 120;  // of one run
  bool quick = false;
  bool json = false;
  std::string spoil;  // WORKLOAD:PLAN, for tests: that run works on other bytes
};
int bench(const BenchArguments& arguments);

// One run of the above, in a process of its own: one JSON object on a line, then everything is held
// until standard input ends.
struct BenchChildArguments {
  std::string what;  // "measure", or a workload
  std::string keeping;
  std::uint64_t cap_bytes = 0;
  double ratio = 0;
  unsigned warm_cycles = 0, timed_cycles = 1;
  bool quick = false;
  bool spoil = false;
};
int bench_child(const BenchChildArguments& arguments);

}  // namespace barswap::tools
