/* A system that refuses what VERVE_TEST_REFUSE names, as far as it is for a segment: `locks` of its
   writer slots, or `storage`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuses(const char *what) {
    const char *named = getenv("VERVE_TEST_REFUSE");
    return named && !strcmp(named, what);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
    if (refuses("storage")) {
        errno = EDQUOT;
        return -1;
    }
    return (int)syscall(SYS_fallocate, file, mode, offset, length);
}

int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    return fallocate(file, mode, offset, length);
}

static int without_locks(int file, int command, void *argument) {
    if (refuses("locks") && command == F_OFD_SETLK && ((struct flock *)argument)->l_start >= 1LL << 62) {
        errno = ENOLCK;
        return -1;
    }
    return (int)syscall(SYS_fcntl, file, command, argument);
}

int fcntl(int file, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return without_locks(file, command, argument);
}

int fcntl64(int file, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return without_locks(file, command, argument);
}
