// cuInit: the driver first; only if it started do we. Which dies it has is said before.
#include "interpose/bypass.hpp"
#include "interpose/call.hpp"
#include "interpose/handle_nvml.hpp"

namespace barswap::interpose::handlers {

CUresult cuInit(unsigned flags) {
  // Calls that the driver makes while it starts go straight through.
  const session::Door door;
  session::OneDie one(sights_by_nvml);
  CUresult result = forward<&driver::Api::cuInit>(flags);
  if (result == CUDA_ERROR_NO_DEVICE && one.give_up())
    result = forward<&driver::Api::cuInit>(flags);
  if (result == CUDA_SUCCESS) {
    one.started();
    session::Session::start(real(), free_by_nvml);
    report_bypasses();
  }
  return result;
}

}  // namespace barswap::interpose::handlers
