// A part of an image, of which nothing can be read that lies outside. It owns no memory: whoever
// made it keeps that alive. All numbers are little-endian and may lie at any address.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace barswap::image {

class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  Bytes(const void* at, std::uint64_t size)
      : bytes_(static_cast<const std::byte*>(at), static_cast<std::size_t>(size)) {}

  std::uint64_t size() const { return bytes_.size(); }
  const std::byte* data() const { return bytes_.data(); }

  template <class T>
  std::optional<T> read(std::uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (offset > size() || size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  // The entry of a table that fills this part. The index must be below count<T>().
  template <class T>
  T entry(std::uint64_t index) const {
    return *read<T>(index * sizeof(T));
  }
  template <class T>
  std::uint64_t count() const {
    return size() / sizeof(T);
  }
  std::optional<Bytes> part(std::uint64_t offset, std::uint64_t bytes) const {
    if (offset > size() || size() - offset < bytes) return std::nullopt;
    return Bytes(bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes)));
  }
  // Up to a zero or the end; empty if it starts beyond.
  std::string_view text(std::uint64_t offset) const {
    if (offset >= size()) return {};
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + offset;
    return {start, ::strnlen(start, static_cast<std::size_t>(size() - offset))};
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace barswap::image
