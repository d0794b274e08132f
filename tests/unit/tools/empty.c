/* A library with nothing in it: only its name matters. */
typedef int nothing;
