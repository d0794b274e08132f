// The whole of doctest, compiled once for all unit tests.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
