/* Uses two copies of libcuda, by path: argv[1] first. With "closed", the first is only looked at.
 */
#include "program.h"

typedef CUresult (*Init)(unsigned);

int main(int argc, char **argv) {
  void *first = dlopen(argv[1], RTLD_NOW);
  require(first != NULL, "the first copy");
  say("first", dlsym(first, "cuInit"));
  if (argc > 3 && strcmp(argv[3], "closed") == 0) dlclose(first);
  else printf("init=%d\n", ((Init)dlsym(first, "cuInit"))(0));
  void *second = dlopen(argv[2], RTLD_NOW);
  require(second != NULL, "the second copy");
  say("second", dlsym(second, "cuInit"));
  printf("second.init=%d\n", ((Init)dlsym(second, "cuInit"))(0));
  printf("again=%d\n", ((Init)dlsym(RTLD_DEFAULT, "cuInit") ? 1 : 0));
  return 0;
}
