// The `barswap` command: its arguments, nothing else.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "commands.hpp"

namespace barswap::tools {
namespace {

constexpr const char* kAbout =
    "Barswap gives an unmodified CUDA program more device memory than the GPU has.\n"
    "Sizes are written 512MiB, 20GiB or 80% in policies and printed in units of 1024.";

constexpr const char* kAboutRun =
    "Start a program under Barswap, after checking that the policy is good, that there is a CUDA\n"
    "driver and that the program can be preloaded. Refuses otherwise, with exit status 2.\n"
    "The program's own exit status comes back unchanged.\n"
    "  barswap run [OPTIONS] [--] PROGRAM [ARGUMENTS...]";

constexpr const char* kAboutCheck =
    "Check the policy that applies here: the shipped one, /etc/barswap, $XDG_CONFIG_HOME/barswap\n"
    "(default ~/.config/barswap), BARSWAP_POLICY, BARSWAP_SET, and what is given here. Later "
    "wins.\n"
    "Exit status 2 if anything is wrong.";

constexpr const char* kAboutStatus =
    "Show what went where in your processes under Barswap: bytes per tier, moves by cause, drains\n"
    "and stalls. Files of ended processes are shown if asked for by PID, and removed.\n"
    "Sizes are in units of 1024, times in milliseconds since the process began.";

constexpr const char* kAboutEnvironment =
    "Print the variables that `barswap run` would set, for `eval \"$(barswap env)\"`.";

constexpr const char* kAboutReplay =
    "Run a trace, recorded with BARSWAP_TRACE=FILE, under other policies in a simulator: their\n"
    "time, also over the physical bound T*, their bytes, moves and stalls. Needs no GPU.";

constexpr const char* kAboutBench =
    "Measure links, remaps and re-reads of this machine, then run a suite of workloads bare,\n"
    "under Barswap at a cap, and in the two ways that one would write by hand, in paired order,\n"
    "against the bound T*. Exit status 1 if any two runs differ in a byte, or one fails.";

constexpr const char* kAboutVerify =
    "Run a program again and again and find the kernels that follow pointers: each piece of work\n"
    "finds only those large allocations mapped that it names. Writes a policy with\n"
    "paging.overlap = \"reach\" and a rule for each such kernel. Clean runs are evidence, not "
    "proof.\n"
    "Exit status 1 if no clean run was reached. The program must not depend on how often it ran.\n"
    "  barswap verify [OPTIONS] [--] PROGRAM [ARGUMENTS...]";

void add_policy_options(CLI::App& command, PolicyArguments& policy) {
  command.add_option("--policy", policy.file,
                     "A policy file (TOML), after all others (default: $BARSWAP_POLICY)");
  command
      .add_option("--set", policy.sets,
                  "One key, such as vram.limit=4GiB; may be repeated; after --policy and "
                  "$BARSWAP_SET")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
}

void add_library_option(CLI::App& command, RunArguments& arguments) {
  command.add_option("--library", arguments.library,
                     "The libbarswap.so to preload (default: the one beside this command)");
}

void add_replay_options(CLI::App& command, ReplayArguments& replay) {
  command.add_option("TRACE", replay.trace, "The file that was recorded")->required();
  command.add_option("--budget", replay.budget,
                     "What pages may hold of each die: 8GiB, or 50% of what the program held at "
                     "most (default: as recorded)");
  command
      .add_option("--policy", replay.policies,
                  "Which policies, separated by commas: recorded, lru, fifo, clock, bip, min, "
                  "stream, place, auto, move, all-host, resident (default: all but the last)")
      ->delimiter(',')
      ->expected(1)
      ->take_all();
  const auto rate = [&](const char* name, double& value, const char* what) {
    command.add_option(name, value, what)->type_name("GB/s")->check(CLI::PositiveNumber);
  };
  rate("--h", replay.copy_in, "Copies into HBM (default: as measured, else 55.2)");
  rate("--d", replay.copy_out, "Copies out of HBM (default: as measured, else 55.2)");
  rate("--z", replay.in_place, "Kernels on host pages (default: as measured, else 51.3)");
  command
      .add_option("--duplex", replay.duplex,
                  "What both directions reach together, over one alone (default: 1.826)")
      ->check(CLI::Range(1.001, 2.0));
  const auto remap = [&](const char* name, double& value, const char* what) {
    command.add_option(name, value, what)->type_name("US")->check(CLI::NonNegativeNumber);
  };
  remap("--remap-in", replay.remap_in_us, "Remapping one page into HBM (default: by its size)");
  remap("--remap-out", replay.remap_out_us, "Remapping one page out of HBM (default: by its size)");
  command.add_option("--plot", replay.plot, "Also draw time, bytes and stalls into this PNG file");
  command.add_flag("--json", replay.json, "One JSON object; sizes in bytes, times in ns");
}

void add_bench_options(CLI::App& command, BenchArguments& bench) {
  command.add_option("--cap", bench.cap,
                     "HBM of the capped runs, such as 4GiB (default: a quarter of what is free, "
                     "4GiB at most; 64MiB with --quick)");
  command
      .add_option("--ratio", bench.ratios,
                  "What a workload holds over the cap, separated by commas (default: 1.5,2; with "
                  "--quick 1.5)")
      ->delimiter(',')
      ->expected(1)
      ->take_all()
      ->check(CLI::Range(1.1, 8.0));
  command
      .add_option("--workloads", bench.workloads,
                  "Which, separated by commas: fits, sweep, reread, stencil, gather, phases, "
                  "decode (default: all; with --quick all but decode)")
      ->delimiter(',')
      ->expected(1)
      ->take_all();
  command.add_option("--python", bench.python,
                     "For decode: a Python with torch, transformers and accelerate (default: "
                     "python3)");
  command.add_option("--rounds", bench.rounds, "Runs of each; medians are shown (default: 3)")
      ->check(CLI::Range(1, 99));
  command.add_option("--limit", bench.limit_s, "Seconds that one run may take (default: 120)")
      ->check(CLI::Range(1, 3600));
  command.add_flag("--quick", bench.quick,
                   "Few and short passes, one round: shows that all works, not how fast");
  command.add_flag("--json", bench.json,
                   "One JSON object; sizes in bytes, rates in bytes a second, times in seconds");
  command.add_option("--spoil", bench.spoil)->group("");
}

void add_bench_child(CLI::App& command, BenchChildArguments& child) {
  command.add_option("WHAT", child.what)->required();
  command.add_option("--keeping", child.keeping);
  command.add_option("--cap", child.cap_bytes);
  command.add_option("--ratio", child.ratio);
  command.add_option("--warm", child.warm_cycles);
  command.add_option("--cycles", child.timed_cycles)->check(CLI::PositiveNumber);
  command.add_flag("--quick", child.quick);
  command.add_flag("--spoil", child.spoil);
}

// Cuts the program and its arguments off `barswap run ...` or `barswap verify ...`. They begin
// behind `--`, or at the first word that is neither an option of ours nor an option's value. Done
// here because the parser would look for our options among the program's.
std::vector<std::string> cut_command(int& argc, char** argv) {
  std::vector<std::string> command;
  if (argc < 2) return command;
  const std::string first = argv[1];
  if (first != "run" && first != "verify") return command;
  for (int i = 2; i < argc; ++i) {
    std::string word = argv[i];
    bool separator = word == "--";
    if (separator || word.empty() || word.front() != '-') {
      command.assign(argv + i + (separator ? 1 : 0), argv + argc);
      argc = i;
      break;
    }
    bool takes_value = word == "--policy" || word == "--set" || word == "--library" ||
                       (first == "verify" &&
                        (word == "--write" || word == "--runs" || word == "--clean"));
    if (takes_value) ++i;
  }
  return command;
}

int dispatch(int argc, char** argv) {
  std::vector<std::string> command = cut_command(argc, argv);
  CLI::App app{kAbout, "barswap"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("barswap ") + BARSWAP_VERSION);
  int result = 0;

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", kAboutRun);
  add_policy_options(*run_command, run_arguments.policy);
  add_library_option(*run_command, run_arguments);
  run_command->callback([&] {
    run_arguments.command = command;
    result =
        command.empty()
            ? refuse("no program given. Usage: barswap run [OPTIONS] [--] PROGRAM [ARGUMENTS...]")
            : run(run_arguments);
  });

  VerifyArguments verify_arguments;
  CLI::App* verify_command = app.add_subcommand("verify", kAboutVerify);
  add_policy_options(*verify_command, verify_arguments.run.policy);
  add_library_option(*verify_command, verify_arguments.run);
  verify_command->add_option("--write", verify_arguments.write,
                             "The policy file to write (default: NAME.toml in this folder)");
  verify_command->add_option("--runs", verify_arguments.runs, "At most so many (default: 20)")
      ->check(CLI::Range(1, 1000));
  verify_command
      ->add_option("--clean", verify_arguments.clean,
                   "Clean runs in a row before the policy is written (default: 2)")
      ->check(CLI::Range(1, 1000));
  verify_command->add_flag("--force", verify_arguments.force, "Overwrite a file that is there");
  verify_command->callback([&] {
    verify_arguments.run.command = command;
    result = command.empty() ? refuse("no program given. Usage: barswap verify [OPTIONS] [--] "
                                      "PROGRAM [ARGUMENTS...]")
                             : verify(verify_arguments);
  });

  CheckArguments check_arguments;
  CLI::App* check_command = app.add_subcommand("check", kAboutCheck);
  add_policy_options(*check_command, check_arguments.policy);
  check_command->add_flag("--explain", check_arguments.explain,
                          "Show each key, its value, and which file and line set it");
  check_command->add_option("--for", check_arguments.program,
                            "The program (name or path) whose sections and apps/NAME.toml apply "
                            "(default: none)");
  check_command->add_option("--argv", check_arguments.argv,
                            "Its command line, for sections that match on it (default: --for)");
  check_command->callback([&] { result = check(check_arguments); });

  StatusArguments status_arguments;
  CLI::App* status_command = app.add_subcommand("status", kAboutStatus);
  status_command->add_option("PID", status_arguments.pid, "Only this process (default: all)")
      ->check(CLI::PositiveNumber);
  status_command->add_flag("--json", status_arguments.json,
                           "One JSON array; sizes in bytes, times in ns");
  status_command->add_flag("--watch", status_arguments.watch,
                           "Repeat every second until interrupted");
  status_command
      ->add_option("--events", status_arguments.events,
                   "Show as many of the newest events, at most 256 (default: 0)")
      ->check(CLI::Range(0, 256));
  status_command->callback([&] { result = status(status_arguments); });

  ReplayArguments replay_arguments;
  CLI::App* replay_command = app.add_subcommand("replay", kAboutReplay);
  add_replay_options(*replay_command, replay_arguments);
  replay_command->callback([&] { result = replay(replay_arguments); });

  BenchArguments bench_arguments;
  CLI::App* bench_command = app.add_subcommand("bench", kAboutBench);
  add_policy_options(*bench_command, bench_arguments.policy);
  bench_command->add_option("--library", bench_arguments.library,
                            "The libbarswap.so to preload (default: the one beside this command)");
  add_bench_options(*bench_command, bench_arguments);
  bench_command->callback([&] { result = bench(bench_arguments); });

  // Not for people: no group, so that no help names it.
  BenchChildArguments bench_child_arguments;
  CLI::App* bench_child_command = app.add_subcommand("bench-child")->group("");
  add_bench_child(*bench_child_command, bench_child_arguments);
  bench_child_command->callback([&] { result = bench_child(bench_child_arguments); });

  RunArguments environment_arguments;
  CLI::App* environment_command = app.add_subcommand("env", kAboutEnvironment);
  add_policy_options(*environment_command, environment_arguments.policy);
  add_library_option(*environment_command, environment_arguments);
  environment_command->callback([&] { result = print_environment(environment_arguments); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kRefused;
  }
  return result;
}

}  // namespace

int refuse(const std::string& line) {
  std::fprintf(stderr, "barswap: %s\n", line.c_str());
  return kRefused;
}

}  // namespace barswap::tools

int main(int argc, char** argv) {
  try {
    return barswap::tools::dispatch(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "barswap: %s\n", error.what());
    return barswap::tools::kRefused;
  }
}
