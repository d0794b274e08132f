// From a value of the text to a field of Options, and back. One overload for each type that
// schema.def names. Pure; a problem comes back as a value and leaves the field as it was.
#pragma once
#include <optional>
#include <string>

#include "policy/schema.hpp"
#include "policy/values.hpp"

namespace barswap::policy {

std::optional<Problem> read(const Key& key, const Value& value, Amount& amount);
std::optional<Problem> read(const Key& key, const Value& value, Bytes& bytes);
std::optional<Problem> read(const Key& key, const Value& value, Share& share);
std::optional<Problem> read(const Key& key, const Value& value, Milliseconds& ms);
std::optional<Problem> read(const Key& key, const Value& value, bool& toggle);
std::optional<Problem> read(const Key& key, const Value& value, Present& present);
std::optional<Problem> read(const Key& key, const Value& value, Kernels& kernels);
std::optional<Problem> read(const Key& key, const Value& value, Processes& processes);
std::optional<Problem> read(const Key& key, const Value& value, Plan& plan);
std::optional<Problem> read(const Key& key, const Value& value, Overlap& overlap);
std::optional<Problem> read(const Key& key, const Value& value, DieSet& dies);
// Merges: dies that the value does not name keep their limit.
std::optional<Problem> read(const Key& key, const Value& value, DieLimits& limits);

std::string write(const Key& key, const Amount& amount);
std::string write(const Key& key, Bytes bytes);
std::string write(const Key& key, Share share);
std::string write(const Key& key, Milliseconds ms);
std::string write(const Key& key, bool toggle);
std::string write(const Key& key, Present present);
std::string write(const Key& key, Kernels kernels);
std::string write(const Key& key, Processes processes);
std::string write(const Key& key, Plan plan);
std::string write(const Key& key, Overlap overlap);
std::string write(const Key& key, const DieSet& dies);
std::string write(const Key& key, const DieLimits& limits);

// The place of a text among the words that are accepted; -1 if it is none of them.
int word_index(const Accepts& accepts, const Value& value);
// The value is of no form that `name` accepts.
Problem unfit(const std::string& name, const Accepts& accepts, const Value& value);
// A value as an error shows it: a text itself, else what it is.
std::string seen(const Value& value);

// One [[allocation]] or [[kernel]], and the `match` of a [[program]].
struct ProgramMatch {
#define BARSWAP_PROGRAM(leaf, type, example, sentence) type leaf = {};
#include "policy/schema.def"
};
std::optional<Problem> read_rule(const Value& value, AllocationRule& rule);
std::optional<Problem> read_rule(const Value& value, KernelRule& rule);
std::optional<Problem> read_match(const Value& value, ProgramMatch& match);
bool meets(const ProgramMatch& match, std::string_view exe, std::string_view argv);
std::string write_rule(const AllocationRule& rule);
std::string write_rule(const KernelRule& rule);
// As a section of a policy file, with an end of line.
std::string write_section(const KernelRule& rule);

// A text with its control characters written out, so that it stays one line on a terminal.
std::string printable(std::string_view text);
// `text` as a quoted TOML string.
std::string in_quotes(std::string_view text);

// An unknown key, with the nearest of those that would have been known.
Problem unknown_key(std::string_view key, Position at);

}  // namespace barswap::policy
