// operator new and delete of the shim, on a hidden mimalloc: the program's heap may be the caller
// that brought us here, so we never allocate from it. Linked into the shim alone and never
// exported; tests and sanitizer builds keep their own.
#include <mimalloc.h>

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
void* take(std::size_t size) {
  void* memory = mi_malloc(size);
  // A shim that cannot get a few bytes of bookkeeping can promise nothing any more.
  if (!memory) std::abort();
  return memory;
}
}  // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  void* memory = mi_malloc_aligned(size, static_cast<std::size_t>(alignment));
  if (!memory) std::abort();
  return memory;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return mi_malloc(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return mi_malloc(size); }
void operator delete(void* memory) noexcept { mi_free(memory); }
void operator delete[](void* memory) noexcept { mi_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { mi_free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { mi_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { mi_free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { mi_free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { mi_free(memory); }
