/* Sets the wall clock of one process: adds the microseconds that the file named by CLOCKSET holds.
 * Clocks that go on by themselves stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long offset_micros(void) {
    const char *path = getenv("CLOCKSET");
    char text[32];
    int file;
    ssize_t length;
    if (!path)
        return 0;
    file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (length <= 0)
        return 0;
    text[length] = 0;
    return atoll(text);
}

static void set(struct timespec *at) {
    long long nanos = (long long)at->tv_nsec + (offset_micros() % 1000000) * 1000;
    at->tv_sec += offset_micros() / 1000000;
    while (nanos < 0) {
        nanos += 1000000000;
        at->tv_sec -= 1;
    }
    at->tv_sec += nanos / 1000000000;
    at->tv_nsec = nanos % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        set(at);
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
