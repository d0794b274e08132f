/* Another preload whose dlvsym finds nothing. */
__attribute__((visibility("default"))) void *dlvsym(void *handle, const char *name,
                                                    const char *version) {
  (void)handle;
  (void)name;
  (void)version;
  return 0;
}
