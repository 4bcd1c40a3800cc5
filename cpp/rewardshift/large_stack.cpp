#include "rewardshift/large_stack.h"

#include <string>

#include "rewardshift/error.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif

namespace rewardshift {
namespace {

#ifdef _WIN32
DWORD WINAPI enter(void* work) {
  (*static_cast<const std::function<void()>*>(work))();
  return 0;
}
#else
void* enter(void* work) {
  (*static_cast<const std::function<void()>*>(work))();
  return nullptr;
}
#endif

}  // namespace

void run_on_large_stack(std::size_t stack_bytes, const std::function<void()>& work) {
  void* argument = const_cast<std::function<void()>*>(&work);
#ifdef _WIN32
  HANDLE thread = CreateThread(nullptr, stack_bytes, enter, argument,
                               STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  const bool started = thread != nullptr;
  if (started) {
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
  }
#else
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_t thread{};
  const bool started = pthread_create(&thread, &attributes, enter, argument) == 0;
  pthread_attr_destroy(&attributes);
  if (started) pthread_join(thread, nullptr);
#endif
  if (!started) {
    throw Error("no thread with a stack of " + std::to_string(stack_bytes >> 20) +
                " MiB can be had");
  }
}

}  // namespace rewardshift
