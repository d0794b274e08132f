/* A libcuda.so.1 that has almost nothing. */
__attribute__((visibility("default"))) int cuInit(unsigned flags) { return (int)flags; }
