// BARSWAP_TSAN is defined where the thread sanitizer watches this code, by GCC or by clang.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define BARSWAP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BARSWAP_TSAN 1
#endif
#endif
