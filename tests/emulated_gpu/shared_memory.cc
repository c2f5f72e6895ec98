#include "tests/emulated_gpu/shared_memory.h"

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/processor.h"

namespace leasehold::emulation {
namespace {

constexpr size_t kRedZone = 512;
constexpr size_t kGuardAlignment = 128;
constexpr size_t kDynamicLimit = size_t{228} << 10;
constexpr size_t kMemory = kDynamicLimit + SharedMemory::kStaticLimit +
                           (SharedMemory::kMaxArrays + 3) * (kRedZone + 2 * kGuardAlignment + 128);
// As a float or bf16 a large negative number, which no test takes for a result.
constexpr unsigned char kPattern = 0xFB;

char* align_up(char* at, size_t alignment) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  return at + ((address + alignment - 1) / alignment * alignment - address);
}

}  // namespace

SharedMemory::SharedMemory() {
  // Not by mmap(), which the thread sanitizer takes for a write.
  const int64_t address = syscall(SYS_mmap, nullptr, kMemory, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address < 0) throw std::bad_alloc();
  memory_ = std::bit_cast<char*>(address);
  poison(memory_, kMemory);
}

SharedMemory::~SharedMemory() {
  unpoison(memory_, kMemory);
  syscall(SYS_munmap, memory_, kMemory);
}

const char* SharedMemory::end() const { return memory_ + kMemory; }

char* SharedMemory::guard(char* at) {
  char* end = align_up(at + kRedZone, kGuardAlignment);
  if (kAsan) {
    poison(at, static_cast<size_t>(end - at));
  } else {
    fill_bytes(at, kPattern, static_cast<size_t>(end - at));
  }
  return end;
}

void SharedMemory::start_block(size_t dynamic_bytes) {
  num_places_ = 0;
  static_bytes_ = 0;
  dynamic_ = guard(memory_);
  free_ = dynamic_;
  if (dynamic_bytes == 0) return;
  unpoison(dynamic_, dynamic_bytes);
  fill_bytes(dynamic_, 0xFF, dynamic_bytes);
  places_[num_places_++] = Place{nullptr, dynamic_, dynamic_bytes};
  free_ = guard(dynamic_ + dynamic_bytes);
}

void* SharedMemory::array(const SharedArray& array) {
  for (int i = 0; i < num_places_; ++i) {
    if (places_[i].array == &array) return places_[i].start;
  }
  // Not better aligned than its type: a wider access to it is a mistake that shows here.
  char* start = free_ + (array.alignment < kGuardAlignment ? array.alignment : 0);
  static_bytes_ = (static_bytes_ + array.alignment - 1) / array.alignment * array.alignment;
  static_bytes_ += array.bytes;
  if (static_bytes_ > kStaticLimit || num_places_ > kMaxArrays) return nullptr;
  if (!kAsan) fill_bytes(free_, kPattern, static_cast<size_t>(start - free_));
  unpoison(start, array.bytes);
  fill_bytes(start, 0xFF, array.bytes);
  places_[num_places_++] = Place{&array, start, array.bytes};
  free_ = guard(start + array.bytes);
  return start;
}

bool SharedMemory::zone_changed(const char* zone, size_t bytes, size_t* first) const {
  if (static_cast<unsigned char>(zone[0]) == kPattern && memcmp(zone, zone + 1, bytes - 1) == 0) {
    return false;
  }
  for (size_t i = 0; i < bytes; ++i) {
    if (static_cast<unsigned char>(zone[i]) != kPattern) {
      *first = i;
      return true;
    }
  }
  return false;
}

bool SharedMemory::overrun(char* message, size_t message_bytes) const {
  if (kAsan) return false;
  const char* before = memory_;
  for (int i = 0; i < num_places_; ++i) {
    const Place& place = places_[i];
    const char* after = place.start + place.bytes;
    const char* next = i + 1 < num_places_ ? places_[i + 1].start : free_;
    const char* name = place.array == nullptr ? "the dynamic part" : place.array->name;
    size_t first = 0;
    if (i == 0 && zone_changed(before, static_cast<size_t>(place.start - before), &first)) {
      snprintf(message, message_bytes, "shared memory written %zu bytes before %s (%zu bytes)",
               static_cast<size_t>(place.start - before) - first, name, place.bytes);
      return true;
    }
    if (zone_changed(after, static_cast<size_t>(next - after), &first)) {
      snprintf(message, message_bytes,
               "shared memory written %zu bytes after %s (%zu bytes), %zu before what follows",
               first, name, place.bytes, static_cast<size_t>(next - after) - first);
      return true;
    }
  }
  return false;
}

}  // namespace leasehold::emulation
