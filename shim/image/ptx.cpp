#include "image/ptx.hpp"

#include <unordered_map>
#include <unordered_set>

#include "image/names.hpp"

namespace barswap::image {
namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

// Hands out words and single signs, without comments and strings.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : rest_(text) {}

  // Empty at the end.
  std::string_view next() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (rest_.starts_with("//")) skip_past("\n", 2);
      else if (rest_.starts_with("/*")) skip_past("*/", 2);
      else if (c == '"') skip_past("\"", 1);
      else if (c <= ' ') rest_.remove_prefix(1);
      else return take(is_word(c) ? word_size() : 1);
    }
    return {};
  }

 private:
  void skip_past(std::string_view end, std::size_t from) {
    const std::size_t at = rest_.find(end, from);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + end.size());
  }
  std::size_t word_size() const {
    std::size_t size = 1;
    while (size < rest_.size() && is_word(rest_[size])) ++size;
    return size;
  }
  std::string_view take(std::size_t size) {
    const std::string_view token = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return token;
  }

  std::string_view rest_;
};

bool is_name(std::string_view token) {
  const char c = token.front();
  return is_word(c) && c != '.' && c != '%' && (c < '0' || c > '9');
}

// Follows the text statement by statement. A statement ends with a semicolon, and so does what
// stands before a body and the body itself.
class Reader {
 public:
  void take(std::string_view token) {
    if (token == "(" || token == ")") nested_ += token == "(" ? 1 : -1;
    else if (token == "{") open();
    else if (token == "}") close();
    else if (token == ";") begin_statement();
    else if (token == "=") take_values();
    else if (token == ",") take_comma();
    else if (token.front() == '.') take_directive(token);
    else if (is_name(token)) take_name(token);
    else if (calls_ && nested_ == 0 && token.front() == '%') states_ |= kPointer;
  }
  // When all of the text was taken.
  States states() const {
    States states = states_;
    for (const std::string_view name : used_)
      if (const auto found = declared_.find(name); found != declared_.end())
        states |= found->second;
    return states;
  }
  // It has a version, as all PTX, and was not cut off in a body.
  bool is_whole() const { return has_version_ && bodies_ == 0; }
  const std::vector<std::string_view>& kernels() const { return kernels_; }

 private:
  enum class Kind { none, variable, function, kernel };

  // A list of values is no body.
  void open() {
    if (values_) {
      ++lists_;
      return;
    }
    if (kind_ == Kind::kernel) kernels_.push_back(name_);
    ++bodies_;
    begin_statement();
  }
  void close() {
    if (lists_ > 0) --lists_;
    else if (bodies_ > 0) --bodies_, begin_statement();
  }
  void begin_statement() {
    kind_ = Kind::none;
    what_ = 0;
    nested_ = lists_ = 0;
    values_ = named_ = calls_ = outside_ = false;
    name_ = {};
  }
  void take_values() {
    values_ = true;
    const auto declared = declared_.find(name_);
    if (kind_ == Kind::variable && declared != declared_.end() && declared->second == kGlobal)
      declared->second = kInitialised;
  }
  // Another variable of the same kind.
  void take_comma() {
    if (nested_ != 0 || lists_ != 0 || kind_ != Kind::variable) return;
    named_ = values_ = false;
  }

  void take_directive(std::string_view token) {
    has_version_ |= token == ".version";
    outside_ |= token == ".extern";
    // In parentheses stand parameters, which may say that they point to ".global".
    if (nested_ != 0) return;
    if (token == ".texref" || token == ".surfref" || token == ".tex") declare(kTexture);
    if (kind_ != Kind::none) return;
    if (token == ".entry") kind_ = Kind::kernel;
    else if (token == ".func") kind_ = Kind::function;
    else if (token == ".global") declare(kGlobal);
    else if (token == ".const") declare(kConstant);
  }
  void declare(States what) {
    kind_ = Kind::variable;
    what_ = what;
  }

  void take_name(std::string_view token) {
    calls_ |= token == "call" || token.starts_with("call.");
    // That is an instruction.
    if (token.find('.') != std::string_view::npos) return;
    if (kind_ == Kind::none || named_ || nested_ != 0) {
      used_.insert(token);
      return;
    }
    named_ = true;
    name_ = token;
    if (kind_ == Kind::variable) declared_[token] = is_literal(token) ? States{0} : what_;
    else if (outside_) declared_[token] = states_of_undefined(token);
  }

  std::unordered_map<std::string_view, States> declared_;
  std::unordered_set<std::string_view> used_;
  std::vector<std::string_view> kernels_;
  States states_ = 0;
  bool has_version_ = false;
  int bodies_ = 0;

  // Of the statement.
  Kind kind_ = Kind::none;
  States what_ = 0;
  std::string_view name_;
  int nested_ = 0, lists_ = 0;
  bool values_ = false;  // behind "="
  bool named_ = false;   // what it declares has got its name
  bool calls_ = false;
  bool outside_ = false;  // declares what is defined elsewhere
};

}  // namespace

bool read_ptx(std::string_view text, std::string_view only, Facts& facts) {
  Reader reader;
  Tokens tokens(text);
  for (auto token = tokens.next(); !token.empty(); token = tokens.next()) reader.take(token);
  if (!reader.is_whole()) return false;
  for (const std::string_view kernel : reader.kernels())
    if (only.empty() || kernel == only)
      facts.kernels.push_back({std::string(kernel), reader.states()});
  return true;
}

}  // namespace barswap::image
