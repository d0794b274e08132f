// `barswap verify`: runs a program until no kernel reaches what its parameters do not name, and
// writes down what it learnt. In each run the shim maps only what a piece of work names
// (shim/pager/veil.hpp); whoever strays faults, the driver writes a core dump, and the next run has
// a rule for that kernel.
#include <cxxabi.h>
#include <fcntl.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../barswap/commands.hpp"
#include "../barswap/executable.hpp"
#include "../barswap/policy_request.hpp"
#include "barswap/verify.h"
#include "core_dump.hpp"
#include "policy/load.hpp"
#include "policy/read.hpp"

namespace barswap::tools {
namespace {

namespace fs = std::filesystem;

// A program whose context is gone may clean up for so long; a core dump that does not grow for so
// long is whole.
constexpr auto kGrace = std::chrono::seconds(3), kKill = std::chrono::seconds(8),
               kStill = std::chrono::seconds(10);

volatile std::sig_atomic_t interrupted = 0;

// While one lives, an interrupt is noted, so that the folder is removed and nobody is left behind.
class Interrupts {
 public:
  Interrupts() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &old_[i]);
    // A program that is waited for must not be reaped by anybody else.
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, &old_child_);
  }
  ~Interrupts() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &old_[i], nullptr);
    sigaction(SIGCHLD, &old_child_, nullptr);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction old_[3]{}, old_child_{};
};

void say(const std::string& line) { std::fprintf(stderr, "barswap verify: %s\n", line.c_str()); }

// A folder of its own, removed with all that processes and driver left in it.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "barswap-verify-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::runtime_error("cannot make a folder in " + fs::temp_directory_path().string());
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

using Record = std::unique_ptr<barswap_verify>;

// Of every process of the run that used CUDA.
std::vector<Record> records_in(const fs::path& folder) {
  std::vector<Record> records;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".verify") continue;
    auto record = std::make_unique<barswap_verify>();
    std::ifstream file(entry.path(), std::ios::binary);
    file.read(reinterpret_cast<char*>(record.get()), sizeof *record);
    if (file.gcount() != sizeof *record || record->magic != BARSWAP_VERIFY_MAGIC ||
        record->version != BARSWAP_VERIFY_VERSION || record->size != sizeof *record)
      continue;
    for (char* text : {record->reason, record->kernel, record->site})
      text[BARSWAP_VERIFY_TEXT - 1] = '\0';
    record->range_count = std::min(record->range_count, BARSWAP_VERIFY_RANGES);
    records.push_back(std::move(record));
  }
  return records;
}

fs::path dump_of(const fs::path& folder, const barswap_verify& record) {
  return folder / ("core." + std::to_string(record.pid));
}

bool faulted(const fs::path& folder, const barswap_verify& record) {
  return record.state == BARSWAP_VERIFY_FAULT || fs::exists(dump_of(folder, record));
}

bool any_told_a_fault(const fs::path& folder) {
  const auto records = records_in(folder);
  return std::any_of(records.begin(), records.end(),
                     [](const Record& record) { return record->state == BARSWAP_VERIFY_FAULT; });
}

// The program and, where it is a script, those of its processes that keep a record.
void signal_all(pid_t child, const fs::path& folder, int number) {
  kill(child, number);
  for (const Record& record : records_in(folder)) {
    const auto pid = static_cast<pid_t>(record->pid);
    if (pid != child && record->state != BARSWAP_VERIFY_ENDED) kill(pid, number);
  }
}

std::uintmax_t dumped_bytes(const fs::path& folder) {
  std::uintmax_t sum = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code gone;
    const std::uintmax_t bytes = entry.file_size(gone);
    if (!gone && entry.path().extension() != ".verify") sum += bytes;
  }
  return sum;
}

std::string readable(const std::string& kernel) {
  int failed = 0;
  char* text = abi::__cxa_demangle(kernel.c_str(), nullptr, nullptr, &failed);
  const std::string out = failed == 0 && text != nullptr ? text : kernel;
  std::free(text);
  return out;
}

struct Finding {
  std::string kernel;  // as the driver knows it
  std::string text;    // what it reached, and who launched it
};

std::string hex(std::uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

// Which page the threads that faulted were on, as far as their registers say.
std::string page_text(const fs::path& dump, const barswap_verify& record) {
  std::vector<verify::Span> spans;
  std::uint64_t page_bytes = 0;
  for (std::uint32_t i = 0; i < record.range_count; ++i) {
    const barswap_verify_range& range = record.ranges[i];
    if (range.hidden == 0 || range.page_bytes == 0) continue;
    spans.push_back({range.base, range.bytes});
    page_bytes = page_bytes == 0 ? range.page_bytes : std::min(page_bytes, range.page_bytes);
  }
  if (!fs::exists(dump)) return "a page that the driver does not tell (it wrote no core dump)";
  const auto core =
      verify::read_core_dump(dump.string(), spans, std::max<std::uint64_t>(page_bytes, 1));
  if (!core) return "a page that is not known (the core dump is cut short)";
  if (core->candidates.empty())
    return "a page that is not known (no register of a thread that faulted points to one)";
  const verify::Candidate& most = core->candidates.front();
  for (std::uint32_t i = 0; i < record.range_count; ++i) {
    const barswap_verify_range& range = record.ranges[i];
    if (range.hidden == 0 || most.address < range.base || most.address - range.base >= range.bytes)
      continue;
    const std::uint64_t page = (most.address - range.base) / range.page_bytes;
    const std::uint64_t pages = (range.bytes + range.page_bytes - 1) / range.page_bytes;
    return "page " + std::to_string(page) + " of " + std::to_string(pages) + " of allocation " +
           std::to_string(range.number) + " (" + std::to_string(range.bytes >> 20) + " MiB at " +
           hex(range.base) + "), near " + hex(most.address) + ", by the registers of " +
           std::to_string(most.threads) + " of " + std::to_string(core->faulted) +
           " threads that faulted";
  }
  return "a page that is not known";
}

Finding finding_of(const fs::path& folder, const barswap_verify& record) {
  const std::string site = record.site[0] != '\0' ? record.site : "an unknown place";
  return {record.kernel, "reached " + page_text(dump_of(folder, record), record) +
                             "; launched from " + policy::printable(site)};
}

// Environment variables of CUDA-GDB's manual; a dump without memory is some megabytes.
void prepare_environment(const fs::path& folder) {
  const std::string dump = (folder / "core.%p").string();
  setenv("BARSWAP_VERIFY", folder.c_str(), 1);
  setenv("CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "1", 1);
  setenv("CUDA_COREDUMP_FILE", dump.c_str(), 1);
  setenv("CUDA_COREDUMP_GENERATION_FLAGS",
         "skip_nonrelocated_elf_images,skip_global_memory,skip_shared_memory,skip_local_memory,"
         "skip_constbank_memory,skip_abort",
         1);
  unsetenv("CUDA_COREDUMP_PIPE");
}

// A name that was cut short is completed by a pattern.
policy::KernelRule rule_of(const Finding& finding) {
  const bool cut = finding.kernel.size() == BARSWAP_VERIFY_TEXT - 1;
  policy::KernelRule rule;
  rule.name = finding.kernel + (cut ? "*" : "");
  rule.reach = policy::KernelReach::everything;
  return rule;
}

std::string rules_text(const std::vector<Finding>& findings) {
  std::string all;
  for (const Finding& finding : findings)
    all += (all.empty() ? "" : ", ") + policy::write_rule(rule_of(finding));
  return "kernel=[" + all + "]";
}

// The rules that hold in the runs already: a policy that is written has to repeat them, since it
// may be used in the place of the one that they came from.
std::string rules_in_force(const VerifyArguments& arguments) {
  const policy::Loaded loaded =
      policy::load(request_for(arguments.run.policy, find_program(arguments.run.command.front()),
                               command_line(arguments.run.command)));
  std::string all;
  for (const policy::KernelRule& rule : loaded.options.kernels)
    all += "\n# Held in the runs.\n" + policy::write_section(rule);
  return all;
}

// The exit status; -1 if a signal ended it.
int run_once(const VerifyArguments& arguments, const std::vector<Finding>& findings,
             const fs::path& folder) {
  RunArguments run_arguments = arguments.run;
  if (!findings.empty()) run_arguments.policy.sets.push_back(rules_text(findings));
  const Interrupts interrupts;
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error(std::string("cannot fork: ") + std::strerror(errno));
  if (child == 0) {
    prepare_environment(folder);
    _exit(run(run_arguments));
  }
  int status = 0;
  std::optional<std::chrono::steady_clock::time_point> fault;
  bool stopped = false, killed = false;
  std::uintmax_t dumped = 0;
  auto grown = std::chrono::steady_clock::now();
  pid_t reaped = 0;
  while ((reaped = waitpid(child, &status, WNOHANG)) == 0 || (reaped < 0 && errno == EINTR)) {
    const auto now = std::chrono::steady_clock::now();
    if (!fault && any_told_a_fault(folder)) fault = now;
    // The driver is given the time that its dump needs; and a program that waits for what a kernel
    // that faulted should have done never tells.
    if (const std::uintmax_t bytes = dumped_bytes(folder); bytes != dumped) {
      dumped = bytes;
      grown = now;
      if (fault) fault = now;
    }
    if (!fault && dumped > 0 && now - grown > kStill) fault = now;
    if (interrupted != 0 && !fault) fault = now - kGrace;
    if (fault && now - *fault >= kGrace && !stopped) {
      stopped = true;
      signal_all(child, folder, SIGTERM);
    }
    if (fault && now - *fault > kKill && !killed) {
      killed = true;
      signal_all(child, folder, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return reaped == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool write_policy(const VerifyArguments& arguments, const std::vector<Finding>& findings,
                  const std::string& evidence) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  std::string text =
      std::string("# Written by `barswap verify` on ") + date + " for:\n#   " +
      policy::printable(command_line(arguments.run.command)) + "\n# " + evidence +
      "\n# Clean runs are evidence, not proof: where a kernel finds its pointers may "
      "depend on data. A\n# kernel that strays later ends with an illegal address, "
      "never with wrong bytes.\nschema = 1\n\n[paging]\noverlap = \"reach\"\n";
  for (const Finding& finding : findings)
    text += "\n# " + policy::printable(readable(finding.kernel)) + "\n# " + finding.text + "\n" +
            policy::write_section(rule_of(finding));
  text += rules_in_force(arguments);
  std::ofstream file(arguments.write, std::ios::trunc);
  file << text;
  file.close();
  return file.good();
}

}  // namespace

int verify(const VerifyArguments& given) {
  VerifyArguments arguments = given;
  if (arguments.write.empty())
    arguments.write = fs::path(arguments.run.command.front()).filename().string() + ".toml";
  if (fs::exists(arguments.write) && !arguments.force)
    return refuse("there is a file " + arguments.write +
                  " already. Name another with --write, or give --force.");
  std::vector<Finding> findings;
  std::uint64_t checked = 0, open = 0, waited = 0;
  int clean = 0;
  for (int number = 1; number <= arguments.runs; ++number) {
    const std::string run_text = "run " + std::to_string(number) + ": ";
    const Folder folder;
    const int status = run_once(arguments, findings, folder.path);
    if (interrupted != 0) return refuse("interrupted; nothing was written.");
    const auto records = records_in(folder.path);
    if (records.empty() && status != 0)
      return refuse("the program did not come to use CUDA; its exit status is " +
                    std::to_string(status) + ".");
    if (records.empty()) return refuse("the program ended without a use of CUDA that Barswap saw.");
    bool strayed = false;
    for (const Record& record : records) {
      // What came after that was not watched, so that a fault of it tells nothing.
      if (record->state == BARSWAP_VERIFY_GAVE_UP) {
        say(run_text + "cannot be verified: " + record->reason + ".");
        return 1;
      }
    }
    for (const Record& record : records) {
      if (!faulted(folder.path, *record)) continue;
      strayed = true;
      const std::string kernel = record->kernel;
      if (record->everything != 0) {
        say(run_text + "a fault in " +
            (kernel.empty() ? "work that is no kernel" : readable(kernel)) +
            ", which found all of the program's memory: that is the program's own fault.");
        return 1;
      }
      if (kernel.empty()) {
        say(run_text +
            "a fault in a copy or fill that found what it named. That is a fault of "
            "Barswap or of the program; no rule can name it.");
        return 1;
      }
      if (std::any_of(findings.begin(), findings.end(),
                      [&](const Finding& known) { return known.kernel == kernel; })) {
        say(run_text + readable(kernel) +
            " faulted again, although a rule names it. Nothing was "
            "written.");
        return 1;
      }
      findings.push_back(finding_of(folder.path, *record));
      say(run_text + readable(kernel) + " " + findings.back().text +
          ". It follows pointers: a rule "
          "for it is added.");
      break;
    }
    if (strayed) {
      clean = 0;
      checked = open = waited = 0;
      continue;
    }
    if (status != 0) {
      say(run_text + "the program failed without a fault of a kernel, with status " +
          std::to_string(status) + ". Verify a command that succeeds.");
      return 1;
    }
    for (const Record& record : records) {
      checked += record->checked;
      open += record->open;
      waited += record->captured + record->waited;
    }
    ++clean;
    const std::string figures =
        std::to_string(checked) + " pieces of work found only what they named, " +
        std::to_string(open) + " could not say and found everything, " + std::to_string(waited) +
        " could not be checked (captures, work that did not end)";
    say(run_text + "clean. So far " + figures + ".");
    if (clean < arguments.clean) continue;
    if (checked == 0) {
      say("nothing of it could be checked, so nothing was written: what is not checked is no "
          "evidence.");
      return 1;
    }
    const std::string evidence = std::to_string(clean) + " clean runs in a row: " + figures + ".";
    if (!write_policy(arguments, findings, evidence))
      return refuse("cannot write " + arguments.write + ".");
    say("wrote " + arguments.write + ". Use it with `barswap run --policy " + arguments.write +
        "`, or as apps/NAME.toml. Clean runs are evidence, not proof.");
    return 0;
  }
  say("not clean after " + std::to_string(arguments.runs) +
      " runs; nothing was written. More: --runs.");
  return 1;
}

}  // namespace barswap::tools
