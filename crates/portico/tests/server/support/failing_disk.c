/* Makes the disk under a write-ahead log fail, for tests: loaded with LD_PRELOAD.
 *
 * While the file that FAILING_DISK names is there, what it says goes wrong with every file whose
 * name ends with "-wal":
 * "sync": what was written stays in the system's memory, and each sync fails with EIO.
 * "write": each write fails with ENOSPC, as on a full disk.
 * "read-only": each write fails with EROFS, as on a disk that the system has set to read-only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name);
    return length > 4 && memcmp(name + length - 4, "-wal", 4) == 0;
}

static int fails(int fd, const char *how) {
    const char *path = getenv("FAILING_DISK");
    char word[16] = "";
    int is_told, before = errno;
    int control = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (control < 0) {
        errno = before;
        return 0;
    }
    is_told = read(control, word, sizeof word - 1) > 0 && strcmp(word, how) == 0;
    close(control);
    errno = before;
    return is_told && is_log(fd);
}

/* The error with which a write fails, or 0. */
static int write_error(int fd) {
    if (fails(fd, "write")) return ENOSPC;
    if (fails(fd, "read-only")) return EROFS;
    return 0;
}

#define REAL(type, name, ...)                                      \
    static type (*real)(__VA_ARGS__);                              \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int fsync(int fd) {
    REAL(int, "fsync", int);
    if (fails(fd, "sync")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    if (fails(fd, "sync")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int why = write_error(fd);
    if (why) {
        errno = why;
        return -1;
    }
    return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    int why = write_error(fd);
    if (why) {
        errno = why;
        return -1;
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    int why = write_error(fd);
    if (why) {
        errno = why;
        return -1;
    }
    return real(fd, bytes, count, at);
}
