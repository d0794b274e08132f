// Events: snapshots of where streams stand.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult find_event(CUevent handle, Event*& event) {
  event = look_up(objects().events, handle);
  return event == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult record_in_capture(Event& event, Stream& stream) {
  if (stream.capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  event.capture = stream.capture;
  event.capture_tail = stream.capture_tail;
  event.recorded = true;
  event.after.clear();
  return CUDA_SUCCESS;
}

// A stream that waits for an event of a capture joins the capture.
CUresult join_capture(Stream& stream, const Event& event) {
  if (event.capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (stream.capture != nullptr && stream.capture != event.capture)
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  if (stream.legacy) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  if (stream.capture == nullptr) {
    stream.capture = event.capture;
    stream.capture->members.push_back(&stream);
  }
  for (const std::size_t node : event.capture_tail)
    if (std::find(stream.capture_tail.begin(), stream.capture_tail.end(), node) ==
        stream.capture_tail.end())
      stream.capture_tail.push_back(node);
  return CUDA_SUCCESS;
}

CUresult elapsed(float* milliseconds, CUevent start, CUevent end) {
  Event* first = nullptr;
  Event* last = nullptr;
  if (milliseconds == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_event(start, first));
  BARSWAP_SIM_TRY(find_event(end, last));
  if (!first->recorded || !last->recorded ||
      ((first->flags | last->flags) & CU_EVENT_DISABLE_TIMING))
    return CUDA_ERROR_INVALID_HANDLE;
  if (!first->ready() || !last->ready()) return CUDA_ERROR_NOT_READY;
  *milliseconds = static_cast<float>(
      (static_cast<double>(*last->stamp_ns) - static_cast<double>(*first->stamp_ns)) / 1e6);
  return CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuEventCreate(CUevent* result, unsigned flags) {
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  auto event = std::make_unique<Event>();
  event->context = context;
  event->flags = flags;
  *result = reinterpret_cast<CUevent>(adopt(objects().events, std::move(event)));
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent handle) {
  return objects().events.erase(handle) == 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent handle) { return body::cuEventDestroy_v2(handle); }

CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
  Event* event = nullptr;
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(find_event(handle, event));
  BARSWAP_SIM_TRY(machine().stream_of(stream_handle, stream));
  if (stream->context != event->context) return CUDA_ERROR_INVALID_HANDLE;
  if (stream->capture != nullptr) return record_in_capture(*event, *stream);
  auto stamp = std::make_shared<std::uint64_t>(0);
  auto op = std::make_unique<MarkOp>();
  op->stamp_ns = stamp;
  BARSWAP_SIM_TRY(submit(stream, std::move(op)));
  event->recorded = true;
  event->capture.reset();
  event->after = {{stream, stream->submitted}};
  event->stamp_ns = stamp;
  event->late_left = machine().config().late_queries;
  return CUDA_SUCCESS;
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) {
  return body::cuEventRecord(event, stream);
}

CUresult cuEventQuery(CUevent handle) {
  Event* event = nullptr;
  BARSWAP_SIM_TRY(find_event(handle, event));
  if (event->context->error != CUDA_SUCCESS) return event->context->error;
  if (event->capture != nullptr) {
    event->capture->invalidated = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  BARSWAP_SIM_TRY(refuse_beside_capture());
  if (!event->ready()) return CUDA_ERROR_NOT_READY;
  if (event->late_left > 0) {
    --event->late_left;
    return CUDA_ERROR_NOT_READY;
  }
  for (const Dependency& dependency : event->after)
    machine().advance_clock(dependency.stream->ready_ns);
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent handle) {
  Event* event = nullptr;
  BARSWAP_SIM_TRY(find_event(handle, event));
  if (event->capture != nullptr) {
    event->capture->invalidated = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  Context& context = *event->context;
  const std::vector<Dependency> targets = event->after;
  return machine().wait_for(context, targets);
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return elapsed(milliseconds, start, end);
}
CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
  return elapsed(milliseconds, start, end);
}

CUresult cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned) {
  Event* event = nullptr;
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(find_event(handle, event));
  BARSWAP_SIM_TRY(machine().stream_of(stream_handle, stream));
  if (event->capture != nullptr) return join_capture(*stream, *event);
  if (stream->capture != nullptr) {
    stream->capture->invalidated = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  auto op = std::make_unique<MarkOp>();
  for (const Dependency& dependency : event->after)
    if (!dependency.met()) op->after.push_back(dependency);
  return submit(stream, std::move(op));
}

}  // namespace body
}  // namespace barswap::sim
