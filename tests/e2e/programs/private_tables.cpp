// Asks for one of the driver's private tables, as NVIDIA's libraries do: --mode HEX asks itself,
// --mode HEX@FILE through a shared library that has `ask_for_table`. It uses nothing of the table.
#include <dlfcn.h>

#include "program.hpp"

namespace {

CUuuid uuid_of(const std::string& text) {
  CUuuid id{};
  for (std::size_t i = 0; i < sizeof id.bytes; ++i)
    id.bytes[i] = static_cast<char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return id;
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  const e2e::Die die;
  const CUuuid id = uuid_of(options.mode);
  const void* table = nullptr;
  if (const std::size_t mark = options.mode.find('@'); mark == std::string::npos) {
    NEED(cuGetExportTable(&table, &id));
  } else {
    void* library = dlopen(options.mode.c_str() + mark + 1, RTLD_NOW);
    CHECK(library != nullptr);
    using Ask = CUresult (*)(decltype(&cuGetExportTable), const void**, const CUuuid*);
    const auto ask = reinterpret_cast<Ask>(dlsym(library, "ask_for_table"));
    CHECK(ask != nullptr);
    NEED(ask(&cuGetExportTable, &table, &id));
  }
  CHECK(table != nullptr);
  const e2e::Buffer buffer = e2e::Buffer::make(options.bytes());
  die.kernels.fill(buffer.address, buffer.words(), 1);
  NEED(cuCtxSynchronize());
  e2e::Hash hash;
  e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}
