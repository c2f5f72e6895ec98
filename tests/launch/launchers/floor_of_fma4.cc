// Does nothing, on a processor that may run it: see processor_floor_test.cc.
int main() { return 0; }
