#include "sim/image.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

namespace barswap::sim {
namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }

std::string_view read_name(std::string_view text, std::size_t& at) {
  while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at]))) ++at;
  const std::size_t start = at;
  while (at < text.size() && is_name(text[at])) ++at;
  return text.substr(start, at - start);
}

std::size_t number_after(std::string_view text, std::string_view word, std::size_t fallback) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) return fallback;
  std::size_t start = at + word.size();
  while (start < text.size() && text[start] == ' ') ++start;
  std::size_t value = fallback;
  std::from_chars(text.data() + start, text.data() + text.size(), value);
  return value;
}

// The bytes of an element type: ".u64", ".b8", ".f32", ".pred".
std::size_t element_bytes(std::string_view declaration) {
  for (const auto& [word, bytes] : {std::pair{"64", 8}, {"32", 4}, {"16", 2}, {"8", 1}})
    for (const char* kind : {".u", ".s", ".b", ".f"})
      if (declaration.find(std::string(kind) + word + " ") != std::string_view::npos)
        return static_cast<std::size_t>(bytes);
  return 4;
}

// One declaration: ".param .align 8 .b8 name[64]" or ".global .u32 name".
struct Declared {
  std::size_t size_bytes = 0;
  std::size_t alignment = 0;
};

Declared measure(std::string_view declaration) {
  const std::size_t element = element_bytes(declaration);
  Declared declared;
  const std::size_t bracket = declaration.find('[');
  declared.size_bytes =
      element *
      (bracket == std::string_view::npos ? 1 : number_after(declaration.substr(bracket), "[", 1));
  declared.alignment = number_after(declaration, ".align ", element);
  return declared;
}

void read_parameters(std::string_view list, Function& function) {
  std::size_t end = 0;
  for (std::size_t at = list.find(".param"); at != std::string_view::npos;
       at = list.find(".param", end)) {
    end = std::min(list.find(',', at), list.size());
    const Declared declared = measure(list.substr(at, end - at));
    const std::size_t offset = round_up(function.parameter_bytes, declared.alignment);
    function.parameters.push_back({offset, declared.size_bytes});
    function.parameter_bytes = offset + declared.size_bytes;
  }
}

void read_globals(std::string_view text, std::string_view space, ImageContent& content) {
  for (std::size_t at = text.find(space); at != std::string_view::npos;
       at = text.find(space, at + 1)) {
    // A load or store names the space too, with the dot inside a longer word.
    if (at > 0 && is_name(text[at - 1])) continue;
    const std::size_t line = text.rfind('\n', at) + 1;
    const std::string_view before = text.substr(line, at - line);
    if (before.find_first_not_of(" \t") != std::string_view::npos && before.find(".visible") != 0 &&
        before.find(".extern") != 0)
      continue;
    const std::size_t end = std::min(text.find(';', at), text.size());
    const std::string_view declaration = text.substr(at, std::min(text.find('=', at), end) - at);
    const std::size_t bracket = std::min(declaration.find('['), declaration.size());
    std::size_t last = bracket;
    while (last > 0 && !is_name(declaration[last - 1])) --last;
    std::size_t first = last;
    while (first > 0 && is_name(declaration[first - 1])) --first;
    content.globals.push_back(
        {std::string(declaration.substr(first, last - first)), measure(declaration).size_bytes, 0});
  }
}

}  // namespace

std::string image_text(const void* image) {
  const auto* bytes = static_cast<const unsigned char*>(image);
  std::uint32_t magic = 0;
  std::memcpy(&magic, bytes, sizeof magic);
  if (magic == 0x466243b1u) {  // the wrapper: magic, version, pointer to the fat binary
    std::memcpy(&image, bytes + 8, sizeof image);
    return image_text(image);
  }
  if (magic == 0xba55ed50u) {
    std::uint64_t size = 0;
    std::memcpy(&size, bytes + 8, sizeof size);
    const std::string_view content(static_cast<const char*>(image) + 16, size);
    const std::size_t start = content.find(".version ");
    if (start == std::string_view::npos) return {};
    return std::string(content.substr(start, content.find('\0', start) - start));
  }
  if (magic == 0x464c457fu) return {};  // a cubin carries no text
  std::string text(static_cast<const char*>(image));
  return text.find(".version") == std::string::npos ? std::string() : text;
}

ImageContent parse_image(std::string_view text) {
  ImageContent content;
  for (std::size_t at = text.find(".entry"); at != std::string_view::npos;
       at = text.find(".entry", at)) {
    at += 6;
    Function function;
    function.name = std::string(read_name(text, at));
    const std::size_t open = text.find_first_of("({", at);
    if (open != std::string_view::npos && text[open] == '(')
      read_parameters(text.substr(open, text.find(')', open) - open), function);
    function.twin = find_twin(function.name);
    content.functions.push_back(std::move(function));
  }
  for (const std::string_view space : {".global ", ".const "}) read_globals(text, space, content);
  return content;
}

}  // namespace barswap::sim
