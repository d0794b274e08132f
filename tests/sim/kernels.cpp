// This file is compiled without contraction of floats: a product and a sum are two roundings.
#include "sim/kernels.hpp"

#include <algorithm>
#include <deque>

#include "pager/fingerprint_words.hpp"
#include "sim/device_access.hpp"
#include "tests/e2e/kernel_types.hpp"
#include "tools/bench/words.hpp"

namespace barswap::sim {
namespace {

using Address = std::uint64_t;

std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

std::uint32_t word_at(std::uint64_t index, std::uint32_t seed) {
  return mix(static_cast<std::uint32_t>(index) ^
             mix(static_cast<std::uint32_t>(index >> 32) + seed * 0x9e3779b9u));
}

// The number of items is a parameter of most kernels: the one at a given offset.
template <std::size_t offset, class Type = std::uint64_t>
std::uint64_t items_at(const Launch& launch) {
  Type value{};
  if (offset + sizeof value <= launch.parameters.size())
    std::memcpy(&value, launch.parameters.data() + offset, sizeof value);
  return value;
}

std::uint64_t one_item(const Launch&) { return 1; }

bool fill(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{};
  std::uint64_t n{};
  std::uint32_t seed{};
  launch.read(p, n, seed);
  for (std::uint64_t i = begin; i < end; ++i) view.store(p + i * 4, word_at(i, seed));
  return true;
}

bool fill_float(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{};
  std::uint64_t n{};
  std::uint32_t seed{};
  launch.read(p, n, seed);
  for (std::uint64_t i = begin; i < end; ++i)
    view.store(p + i * 4, static_cast<float>(word_at(i, seed) >> 16) * (1.0f / 65536.0f));
  return true;
}

bool saxpy(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  float a{};
  Address x{}, y{};
  std::uint64_t n{};
  launch.read(a, x, y, n);
  for (std::uint64_t i = begin; i < end; ++i)
    view.store(y + i * 4, a * view.load<float>(x + i * 4) + view.load<float>(y + i * 4));
  return true;
}

std::uint64_t matmul_items(const Launch& launch) {
  const std::uint64_t n = items_at<24, std::uint32_t>(launch);
  return n * n;
}

bool matmul(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address a{}, b{}, c{};
  std::uint32_t n{};
  launch.read(a, b, c, n);
  for (std::uint64_t i = begin; i < end; ++i) {
    const std::uint64_t row = i / n;
    const std::uint64_t column = i % n;
    float sum = 0.0f;
    for (std::uint64_t k = 0; k < n; ++k)
      sum += view.load<float>(a + (row * n + k) * 4) *
             view.load<float>(b + (k * n + column) * 4);
    view.store(c + i * 4, sum);
  }
  return true;
}

bool stencil(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address in{}, out{};
  std::uint64_t n{};
  launch.read(in, out, n);
  for (std::uint64_t i = begin; i < end; ++i) {
    const auto left = view.load<std::uint32_t>(in + (i == 0 ? n - 1 : i - 1) * 4);
    const auto middle = view.load<std::uint32_t>(in + i * 4);
    const auto right = view.load<std::uint32_t>(in + (i + 1 == n ? 0 : i + 1) * 4);
    view.store(out + i * 4, left * 3u + mix(middle) + right * 5u);
  }
  return true;
}

bool gather(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address table{}, index{}, out{};
  std::uint64_t n{}, table_n{};
  launch.read(table, index, out, n, table_n);
  for (std::uint64_t i = begin; i < end; ++i) {
    const auto at = view.load<std::uint32_t>(index + i * 4) % table_n;
    const auto old = view.load<std::uint32_t>(out + i * 4);
    view.store(out + i * 4, old * 31u + view.load<std::uint32_t>(table + at * 4));
  }
  return true;
}

// Items are steps, and one more that writes the result. Scratch: the node reached, the fold so far.
std::uint64_t chase_items(const Launch& launch) { return items_at<8>(launch) + 1; }

bool chase(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address head{}, out{};
  std::uint64_t steps{};
  launch.read(head, steps, out);
  if (begin == 0) launch.scratch = {head, 0, 0, 0};
  std::uint64_t& node = launch.scratch[0];
  std::uint64_t& fold = launch.scratch[1];
  for (std::uint64_t i = begin; i < end && i < steps && node != 0; ++i) {
    fold = fold * 31u + view.load<std::uint32_t>(node + offsetof(BarswapNode, value));
    const Address visits = node + offsetof(BarswapNode, visits);
    view.store(visits, view.load<std::uint32_t>(visits) + 1u);
    node = view.load<Address>(node + offsetof(BarswapNode, next));
  }
  if (end == steps + 1) view.store(out, view.load<std::uint64_t>(out) * 31u + fold);
  return true;
}

std::uint64_t table_items(const Launch& launch) {
  return items_at<8>(launch) * items_at<16>(launch);
}

bool table(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address pointers{};
  std::uint64_t count{}, words{};
  std::uint32_t add{};
  launch.read(pointers, count, words, add);
  for (std::uint64_t i = begin; i < end; ++i) {
    const Address word = view.load<Address>(pointers + i / words * 8) + i % words * 4;
    view.store(word, view.load<std::uint32_t>(word) + add);
  }
  return true;
}

bool xorshift_update(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{};
  std::uint64_t n{};
  std::uint32_t salt{};
  launch.read(p, n, salt);
  for (std::uint64_t i = begin; i < end; ++i) {
    auto x = view.load<std::uint32_t>(p + i * 4);
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    view.store(p + i * 4, x + salt);
  }
  return true;
}

bool checksum(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{}, out{};
  std::uint64_t n{};
  launch.read(p, n, out);
  std::uint64_t sum = 0;
  for (std::uint64_t i = begin; i < end; ++i) {
    const auto word = view.load<std::uint32_t>(p + i * 4);
    sum += (static_cast<std::uint64_t>(word_at(i, word)) << 32) +
           mix(word + static_cast<std::uint32_t>(i));
  }
  if (sum != 0) view.store(out, view.load<std::uint64_t>(out) + sum);
  return true;
}

bool persistent(View& view, Launch& launch, std::uint64_t, std::uint64_t) {
  Address stop{}, out{};
  launch.read(stop, out);
  const auto seen = view.load<std::uint32_t>(stop);
  if (seen == 0) return false;
  view.store(out, seen);
  return true;
}

bool spin(View& view, Launch& launch, std::uint64_t, std::uint64_t) {
  Address flag{};
  launch.read(flag);
  return view.load<std::uint32_t>(flag) != 0;
}

bool atomic(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address counters{};
  launch.read(counters);
  for (std::uint64_t i = begin; i < end; ++i) {
    const Address counter = counters + (word_at(i, 0) & 255u) * 4;
    view.store(counter, view.load<std::uint32_t>(counter) + 1u);
  }
  return true;
}

bool writer(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  BarswapWriterJob job{};
  launch.read(job);
  const auto first = reinterpret_cast<Address>(job.first);
  const auto second = reinterpret_cast<Address>(job.second);
  for (std::uint64_t i = begin; i < end; ++i) {
    if (first != 0) view.store(first + i * 4, word_at(i, job.seed));
    if (second != 0) view.store(second + i * 4, word_at(i, ~job.seed));
  }
  return true;
}

// An item is a block, with the words that its threads read.
std::uint64_t block_items(const Launch& launch) { return launch.blocks; }

BARSWAP_SIM_DEVICE_ACCESS bool fingerprint(View& view, Launch& launch, std::uint64_t begin,
                                           std::uint64_t end) {
  Address data{}, partial{};
  std::uint64_t words{};
  pager::FingerprintKey key;
  launch.read(data, words, key.a, key.b, partial);
  const std::uint64_t block_words = 2 * launch.threads;
  for (std::uint64_t block = begin; block < end; ++block) {
    pager::FingerprintSums sums;
    for (std::uint64_t row = block * block_words; row < words; row += launch.blocks * block_words)
      for (std::uint64_t i = row, last = std::min(row + block_words, words); i < last;)
        for (const std::uint64_t word : view.load_words(data + i * 8, last - i))
          sums.add_word(word, i++, key);
    view.store(partial + block * 16, sums.a);
    view.store(partial + block * 16 + 8, sums.b);
  }
  return true;
}

// The shim remaps other pages beside it.
bool fingerprint_reads(const Launch& launch, std::uintptr_t base, std::size_t bytes) {
  Address data{};
  std::uint64_t words{};
  launch.read(data, words);
  const auto first = static_cast<std::uintptr_t>(data);
  return first < base + bytes && base < first + words * 8;
}

// What `barswap bench` measures with.
using bench::Piece;

Piece load_piece(View& view, Address at) {
  return {view.load<std::uint32_t>(at), view.load<std::uint32_t>(at + 4),
          view.load<std::uint32_t>(at + 8), view.load<std::uint32_t>(at + 12)};
}

void store_piece(View& view, Address at, Piece piece) {
  view.store(at, piece.x);
  view.store(at + 4, piece.y);
  view.store(at + 8, piece.z);
  view.store(at + 12, piece.w);
}

bool bench_fill(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{};
  std::uint64_t count{};
  std::uint32_t seed{};
  launch.read(p, count, seed);
  for (std::uint64_t i = begin; i < end; ++i)
    store_piece(view, p + i * 16, bench::piece_at(static_cast<std::uint32_t>(i), seed));
  return true;
}

// What is read again is the same: it is loaded once.
bool bench_read(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address p{}, out{};
  std::uint64_t count{};
  std::uint32_t times{};
  launch.read(p, count, times, out);
  std::uint64_t sum = 0;
  for (std::uint64_t i = begin; i < end; ++i) {
    const Piece piece = load_piece(view, p + i * 16);
    for (std::uint32_t pass = 0; pass < times; ++pass)
      sum += bench::fold(piece, static_cast<std::uint32_t>(i) + pass);
  }
  view.store(out, view.load<std::uint64_t>(out) + sum);
  return true;
}

bool bench_step(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address in{}, io{};
  std::uint64_t count{};
  launch.read(in, io, count);
  const std::uint64_t words = count * 4;
  for (std::uint64_t i = begin * 4; i < end * 4; ++i) {
    const auto left = view.load<std::uint32_t>(in + (i == 0 ? words - 1 : i - 1) * 4);
    const auto middle = view.load<std::uint32_t>(in + i * 4);
    const auto right = view.load<std::uint32_t>(in + (i + 1 == words ? 0 : i + 1) * 4);
    const auto old = view.load<std::uint32_t>(io + i * 4);
    view.store(io + i * 4, bench::stepped(left, middle, right, old));
  }
  return true;
}

std::uint64_t bench_gather_items(const Launch& launch) {
  return items_at<16>(launch) * bench::kRowPieces;
}

bool bench_gather(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end) {
  Address table{}, out{};
  std::uint32_t rows{}, seed{};
  std::uint64_t draws{};
  launch.read(table, rows, draws, seed, out);
  std::uint64_t sum = 0;
  for (std::uint64_t i = begin; i < end; ++i) {
    const std::uint64_t row =
        bench::row_of(static_cast<std::uint32_t>(i / bench::kRowPieces), seed, rows);
    const Address at = table + (row * bench::kRowPieces + i % bench::kRowPieces) * 16;
    sum += bench::fold(load_piece(view, at), static_cast<std::uint32_t>(i));
  }
  view.store(out, view.load<std::uint64_t>(out) + sum);
  return true;
}

std::deque<KernelTwin>& twins() {
  static auto& all = *new std::deque<KernelTwin>{
      {"barswap_fill", items_at<8>, fill},
      {"barswap_fill_float", items_at<8>, fill_float},
      {"barswap_saxpy", items_at<24>, saxpy},
      {"barswap_matmul", matmul_items, matmul, 1u << 12},
      {"barswap_stencil", items_at<16>, stencil},
      {"barswap_gather", items_at<24>, gather},
      {"barswap_chase", chase_items, chase},
      {"barswap_table", table_items, table},
      {"barswap_xorshift_update", items_at<8>, xorshift_update},
      {"barswap_checksum", items_at<8>, checksum},
      {"barswap_persistent", one_item, persistent},
      {"barswap_spin", one_item, spin},
      {"barswap_atomic", items_at<8>, atomic},
      {"barswap_writer", items_at<16>, writer},
      {"barswap_fingerprint", block_items, fingerprint, 32, fingerprint_reads},
      {"barswap_bench_fill", items_at<8>, bench_fill},
      {"barswap_bench_read", items_at<8>, bench_read},
      {"barswap_bench_step", items_at<16>, bench_step},
      {"barswap_bench_gather", bench_gather_items, bench_gather},
  };
  return all;
}

}  // namespace

const KernelTwin* find_twin(std::string_view name) {
  for (const KernelTwin& twin : twins())
    if (twin.name == name) return &twin;
  return nullptr;
}

void add_twin(KernelTwin twin) { twins().push_back(twin); }

}  // namespace barswap::sim
