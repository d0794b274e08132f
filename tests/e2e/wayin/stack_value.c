/* The bottom of a chain of interposers. */
__attribute__((visibility("default"))) int wayin_value(void) { return 1; }
