// Kernels as the emulation knows them: by the address that launches name, with what it takes to
// call them. The dialect's twin registers each before it is launched.
#pragma once

#include <cstdlib>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace leasehold::emulation {

struct KernelSignature {
  // Copies the arguments that the pointers point at; they live until destroy().
  void* (*pack)(void** pointers);
  void (*destroy)(void* arguments);
  // Calls the kernel, for one thread.
  void (*invoke)(const void* kernel, const void* arguments);
};

// Takes effect for launches of this kernel, from any thread. `signature` lives for ever.
void register_kernel(const void* kernel, const KernelSignature* signature);

template <typename... Parameters>
struct SignatureOf {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "a kernel's arguments are copied to the device byte by byte");
  using Arguments = std::tuple<Parameters...>;

  template <size_t... Index>
  static Arguments* copy(void** pointers, std::index_sequence<Index...>) {
    return new (std::malloc(sizeof(Arguments)))
        Arguments(*static_cast<Parameters*>(pointers[Index])...);
  }
  static void* pack(void** pointers) {
    return copy(pointers, std::index_sequence_for<Parameters...>());
  }
  static void destroy(void* arguments) {
    static_cast<Arguments*>(arguments)->~Arguments();
    std::free(arguments);
  }
  static void invoke(const void* kernel, const void* arguments) {
    std::apply(reinterpret_cast<void (*)(Parameters...)>(const_cast<void*>(kernel)),
               *static_cast<const Arguments*>(arguments));
  }
  static constexpr KernelSignature kSignature{&pack, &destroy, &invoke};
};

}  // namespace leasehold::emulation
