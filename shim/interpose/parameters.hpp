// Turns a row's arity into a parameter list. The types come from the function's declaration in
// CUDA's header; nobody types them.
#pragma once
#include <cstddef>
#include <tuple>

namespace barswap::interpose {

template <class F>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
  template <std::size_t I>
  using Parameter = std::tuple_element_t<I, std::tuple<A...>>;
  static constexpr std::size_t kParameters = sizeof...(A);
};

}  // namespace barswap::interpose

#define BARSWAP_P(symbol, i) \
  typename ::barswap::interpose::Signature<decltype(&::symbol)>::Parameter<i> a##i

#define BARSWAP_ARGUMENTS_0 
#define BARSWAP_ARGUMENTS_1 a0
#define BARSWAP_ARGUMENTS_2 a0, a1
#define BARSWAP_ARGUMENTS_3 a0, a1, a2
#define BARSWAP_ARGUMENTS_4 a0, a1, a2, a3
#define BARSWAP_ARGUMENTS_5 a0, a1, a2, a3, a4
#define BARSWAP_ARGUMENTS_6 a0, a1, a2, a3, a4, a5
#define BARSWAP_ARGUMENTS_7 a0, a1, a2, a3, a4, a5, a6
#define BARSWAP_ARGUMENTS_8 a0, a1, a2, a3, a4, a5, a6, a7
#define BARSWAP_ARGUMENTS_9 a0, a1, a2, a3, a4, a5, a6, a7, a8
#define BARSWAP_ARGUMENTS_10 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9
#define BARSWAP_ARGUMENTS_11 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10
#define BARSWAP_ARGUMENTS_12 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11
#define BARSWAP_ARGUMENTS_13 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12
#define BARSWAP_ARGUMENTS_14 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13
#define BARSWAP_ARGUMENTS_15 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14
#define BARSWAP_ARGUMENTS_16 a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15
#define BARSWAP_PARAMETERS_0(symbol)
#define BARSWAP_PARAMETERS_1(symbol) BARSWAP_P(symbol, 0)
#define BARSWAP_PARAMETERS_2(symbol) BARSWAP_PARAMETERS_1(symbol), BARSWAP_P(symbol, 1)
#define BARSWAP_PARAMETERS_3(symbol) BARSWAP_PARAMETERS_2(symbol), BARSWAP_P(symbol, 2)
#define BARSWAP_PARAMETERS_4(symbol) BARSWAP_PARAMETERS_3(symbol), BARSWAP_P(symbol, 3)
#define BARSWAP_PARAMETERS_5(symbol) BARSWAP_PARAMETERS_4(symbol), BARSWAP_P(symbol, 4)
#define BARSWAP_PARAMETERS_6(symbol) BARSWAP_PARAMETERS_5(symbol), BARSWAP_P(symbol, 5)
#define BARSWAP_PARAMETERS_7(symbol) BARSWAP_PARAMETERS_6(symbol), BARSWAP_P(symbol, 6)
#define BARSWAP_PARAMETERS_8(symbol) BARSWAP_PARAMETERS_7(symbol), BARSWAP_P(symbol, 7)
#define BARSWAP_PARAMETERS_9(symbol) BARSWAP_PARAMETERS_8(symbol), BARSWAP_P(symbol, 8)
#define BARSWAP_PARAMETERS_10(symbol) BARSWAP_PARAMETERS_9(symbol), BARSWAP_P(symbol, 9)
#define BARSWAP_PARAMETERS_11(symbol) BARSWAP_PARAMETERS_10(symbol), BARSWAP_P(symbol, 10)
#define BARSWAP_PARAMETERS_12(symbol) BARSWAP_PARAMETERS_11(symbol), BARSWAP_P(symbol, 11)
#define BARSWAP_PARAMETERS_13(symbol) BARSWAP_PARAMETERS_12(symbol), BARSWAP_P(symbol, 12)
#define BARSWAP_PARAMETERS_14(symbol) BARSWAP_PARAMETERS_13(symbol), BARSWAP_P(symbol, 13)
#define BARSWAP_PARAMETERS_15(symbol) BARSWAP_PARAMETERS_14(symbol), BARSWAP_P(symbol, 14)
#define BARSWAP_PARAMETERS_16(symbol) BARSWAP_PARAMETERS_15(symbol), BARSWAP_P(symbol, 15)
