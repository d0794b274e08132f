/* A library that asks for a private table in its own name; see private_tables.cpp. */
#include <cuda.h>

typedef CUresult (*GetTable)(const void** table, const CUuuid* id);

CUresult ask_for_table(GetTable get, const void** table, const CUuuid* id) {
  const CUresult result = get(table, id);
  return result; /* not a jump: the caller must be seen to be here */
}
