__attribute__((visibility("default"))) int inner(void) { return 42; }
