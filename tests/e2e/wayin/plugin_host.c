/* Opens argv[1] with RTLD_DEEPBIND and runs it; with a second argument, in a namespace of its own.
 */
#include "program.h"

int main(int argc, char **argv) {
  void *plugin = argc > 2 ? dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW)
                          : dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
  require(plugin != NULL, dlerror());
  int (*run)(void) = (int (*)(void))dlsym(plugin, "run_plugin");
  require(run != NULL, "run_plugin");
  printf("plugin=%d\n", run());
  return 0;
}
