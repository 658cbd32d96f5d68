// A shared object that is no backend.
extern "C" __attribute__((visibility("default"))) int lm_something_else();
int lm_something_else() {
  return 1;
}
