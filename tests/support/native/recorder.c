/* Records what a process does to the files under VERVE_TEST_RECORDED, in its order, into the file
   VERVE_TEST_RECORD: a line "call name number length", where a name of another file may follow, then
   `length` bytes. Files that end in -shm are left out: SQLite makes them anew. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int record = -1;
static const char *root;

__attribute__((constructor)) static void begin(void) {
    root = getenv("VERVE_TEST_RECORDED");
    const char *path = getenv("VERVE_TEST_RECORD");
    if (root && path)
        record = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name below the recorded directory, or NULL. */
static const char *below(const char *path) {
    size_t length = root ? strlen(root) : 0;
    if (record < 0 || strncmp(path, root, length) || (path[length] && path[length] != '/'))
        return NULL;
    const char *end = strrchr(path, '-');
    if (end && !strcmp(end, "-shm"))
        return NULL;
    return path[length] ? path + length + 1 : ".";
}

static const char *below_file(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = record < 0 ? -1 : readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return NULL;
    path[length] = 0;
    return below(path);
}

static void note(const char *call, const char *name, long long number, const void *data, size_t length) {
    char head[2 * PATH_MAX + 64];
    int size = snprintf(head, sizeof head, "%s\t%s\t%lld\t%zu\n", call, name, number, length);
    struct iovec parts[2] = {{head, (size_t)size}, {(void *)data, length}};
    syscall(SYS_writev, record, parts, 2);
}

ssize_t write(int file, const void *data, size_t length) {
    char path[PATH_MAX];
    const char *name = below_file(file, path);
    long long at = name ? lseek(file, 0, SEEK_CUR) : 0;
    ssize_t done = syscall(SYS_write, file, data, length);
    if (name && done > 0)
        note("write", name, at, data, (size_t)done);
    return done;
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t at) {
    char path[PATH_MAX];
    const char *name = below_file(file, path);
    ssize_t done = syscall(SYS_pwrite64, file, data, length, at);
    if (name && done > 0)
        note("write", name, at, data, (size_t)done);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t at) {
    return pwrite64(file, data, length, at);
}

int ftruncate64(int file, off64_t length) {
    char path[PATH_MAX];
    const char *name = below_file(file, path);
    int failed = (int)syscall(SYS_ftruncate, file, length);
    if (name && !failed)
        note("truncate", name, length, NULL, 0);
    return failed;
}

int ftruncate(int file, off_t length) {
    return ftruncate64(file, length);
}

static void note_sync(int file) {
    char path[PATH_MAX];
    const char *name = below_file(file, path);
    struct stat found;
    if (name)
        note(fstat(file, &found) || !S_ISDIR(found.st_mode) ? "sync" : "sync-names", name, 0, NULL, 0);
}

int fsync(int file) {
    int failed = (int)syscall(SYS_fsync, file);
    if (!failed)
        note_sync(file);
    return failed;
}

int fdatasync(int file) {
    int failed = (int)syscall(SYS_fdatasync, file);
    if (!failed)
        note_sync(file);
    return failed;
}

static int opened(const char *path, int flags, mode_t mode) {
    const char *name = flags & (O_CREAT | O_TRUNC) ? below(path) : NULL;
    int is_new = name && syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (name && file >= 0 && is_new)
        note("create", name, 0, NULL, 0);
    else if (name && file >= 0 && flags & O_TRUNC)
        note("truncate", name, 0, NULL, 0);
    return file;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return opened(path, flags | O_LARGEFILE, mode);
}

int rename(const char *from, const char *to) {
    int failed = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (!failed && below(from) && below(to)) {
        const char *target = below(to);
        note("rename", below(from), 0, target, strlen(target));
    }
    return failed;
}

int unlink(const char *path) {
    int failed = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (!failed && below(path))
        note("unlink", below(path), 0, NULL, 0);
    return failed;
}

int mkdir(const char *path, mode_t mode) {
    int failed = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (!failed && below(path))
        note("mkdir", below(path), 0, NULL, 0);
    return failed;
}
