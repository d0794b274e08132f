#include "memory/extents.hpp"

#include <doctest/doctest.h>

namespace {

using barswap::memory::Extents;

TEST_CASE("stretches join when they meet, and the tightest one is taken") {
  Extents extents;
  extents.add(0, 100);
  extents.add(200, 50);
  CHECK(extents.free_bytes() == 150);
  CHECK(extents.take(50) == 200);
  extents.add(200, 50);
  extents.add(100, 100);
  CHECK(extents.take(250) == 0);
  CHECK_FALSE(extents.take(1).has_value());
  CHECK(extents.free_bytes() == 0);
}

TEST_CASE("a stretch can be taken where it lies") {
  Extents extents;
  extents.add(0, 300);
  CHECK(extents.take_at(100, 100));
  CHECK_FALSE(extents.take_at(150, 10));
  CHECK_FALSE(extents.take_at(50, 100));
  CHECK(extents.take_at(0, 100));
  CHECK(extents.take_at(200, 100));
  CHECK(extents.free_bytes() == 0);
}

}  // namespace
