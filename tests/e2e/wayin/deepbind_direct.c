/* Linked against libcuda itself, so that its cuInit is ours; opens a plugin past us before. */
#include "program.h"

int main(int argc, char **argv) {
  void *plugin = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_DEEPBIND);
  require(plugin != NULL, "plugin");
  int (*run)(void) = (int (*)(void))dlsym(plugin, "run_plugin");
  require(run != NULL && run() == 0, "run_plugin");
  printf("init=%d\n", cuInit(0));
  return 0;
}
