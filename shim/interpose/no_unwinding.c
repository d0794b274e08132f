/* The static unwinder asks the C library where an object's tables are, by a function of GLIBC_2.35.
 * The shim must run on older ones, and never unwinds: nothing of ours throws, and where the C++
 * library would, "no tables" makes it end the process at once. Hidden, so the program's unwinder is
 * not concerned. */
int _dl_find_object(void *address, void *answer);
int _dl_find_object(void *address, void *answer) {
  (void)address;
  (void)answer;
  return -1;
}
