// Until session has a start of its own: cuInit as it came, then a look at who is bound past us.
#include "interpose/bypass.hpp"
#include "interpose/handlers.hpp"
#include "interpose/resolver.hpp"

namespace barswap::interpose::handlers {

[[gnu::weak]] CUresult cuInit(unsigned flags) {
  const CUresult result = forward<&driver::Api::cuInit>(flags);
  if (result == CUDA_SUCCESS) report_bypasses();
  return result;
}

}  // namespace barswap::interpose::handlers
