// Finds calls that pass by us: objects whose references to the driver were bound straight to it, as
// RTLD_DEEPBIND past our dlopen or another tool's patching does. It only tells; it patches nothing.
#pragma once

namespace barswap::interpose {

// Looks at every loaded object and says once, at info, which one is bound past us. To be called
// after the first cuInit that succeeds. Takes the loader's lock, none of ours; allocates nothing.
void report_bypasses() noexcept;

}  // namespace barswap::interpose
