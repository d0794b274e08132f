// Driver functions that no row names. They may submit device work, so they are handed out as
// numbered assembly stubs that call them inside the gate, whatever their prototype.
#pragma once

namespace barswap::interpose {

// The stub for this function. The same address always gets the same stub. When all stubs are taken
// the function itself is returned, and no page moves from then on. Lock-free, allocates nothing.
void* thunk_for(const char* name, void* function) noexcept;

}  // namespace barswap::interpose
