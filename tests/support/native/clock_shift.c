/* Preloaded into a process, shifts its wall clock; boot time stays. By VERVE_TEST_SHIFT seconds, or by
   the nanoseconds that are in the file VERVE_TEST_SHIFT_FILE at each moment: a test sets the clock of a
   running service by writing there. Nothing is locked, so a process may be killed anywhere. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000L

static const volatile long *shift;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    static long fixed;
    const char *seconds = getenv("VERVE_TEST_SHIFT"), *path = getenv("VERVE_TEST_SHIFT_FILE");
    *(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    fixed = seconds ? SECOND * strtol(seconds, NULL, 10) : 0;
    shift = &fixed;
    if (!path) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    close(file);
    shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    /* A constructor of another library may come first. */
    if (!real_gettime) begin();
    int status = real_gettime(clock, time);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long since = time->tv_sec * SECOND + time->tv_nsec + *shift;
        time->tv_sec = since / SECOND;
        time->tv_nsec = since % SECOND;
    }
    return status;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return status;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
