/**
 * Shifts the wall clock of one process. Preloaded before the process's libraries, it adds the milliseconds in the file SKEW_FILE to every
 * reading of CLOCK_REALTIME; the file may change while the process runs. Monotonic clocks stay unchanged, as they do when a user sets the
 * time of a machine.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static const volatile long long *skew_ms;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("SKEW_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  if (file < 0) return;
  void *at = mmap(NULL, sizeof *skew_ms, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (at != MAP_FAILED) skew_ms = at;
}

int clock_gettime(clockid_t id, struct timespec *to) {
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(id, to);
  if (failed || !skew_ms || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return failed;
  long long nanoseconds = to->tv_nsec + *skew_ms % 1000 * 1000000;
  to->tv_sec += *skew_ms / 1000 + (nanoseconds < 0 ? -1 : nanoseconds / 1000000000);
  to->tv_nsec = (nanoseconds + 1000000000) % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone) {
  struct timespec now;
  (void)zone;
  int failed = clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
