/*
 * A disk that is told of, for a database server of many processes: preloaded before the C library (LD_PRELOAD).
 *
 * Every change to the files below one directory is appended as one record to a log that all processes share, before the call
 * returns. What one process does because of another's change therefore comes after it in the log, and what is on the disk after a
 * power cut at any moment follows from the log up to there (`tests/faults/drive.rs`). It also makes writes and syncs fail.
 *
 * SERVER_SHIM_DIR      the directory, absolute and without links
 * SERVER_SHIM_LOG      the log
 * SERVER_SHIM_CONTROL  a file of the layout of `struct control`, which the test may change at any time
 *
 * Real syncs are not made: the page cache outlives the processes, and the log says what counts. Files are named by their inode; those
 * that are opened through stdio are not followed: PostgreSQL writes nothing that way that has to last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    int64_t write_errno;   /* what writes fail with; ENOSPC concerns only those that make a file longer */
    int64_t sync_errno;    /* what syncs fail with */
    int64_t sync_failures; /* how many syncs fail; what they should have stored is dropped for good */
    int64_t failures;      /* counted: operations that were made to fail */
};

#define MARK INT64_C(0x5ee7a31db94c0f68)

enum { CREATE = 1, WRITE, TRUNCATE, GROW, SYNC, DROP, UNLINK, RENAME, LINK, MAKE, REMOVE };

struct record {
    int64_t mark; /* a process that is killed in the middle of a record leaves a part of it: the next one is found by this */
    int64_t kind;
    int64_t inode;
    int64_t offset;       /* or length */
    int64_t first_bytes;  /* of the path that follows */
    int64_t second_bytes; /* of a second path */
    int64_t bytes;        /* of what was written */
};

static volatile struct control *control;
static char directory[PATH_MAX];
static dev_t device;
static int told = -1;

__attribute__((constructor)) static void set_up(void) {
    const char *where = getenv("SERVER_SHIM_DIR"), *to = getenv("SERVER_SHIM_LOG"), *by = getenv("SERVER_SHIM_CONTROL");
    struct stat stat_of;
    if (!where || !to || !by || stat(where, &stat_of)) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, by, O_RDWR | O_CLOEXEC, 0);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int log = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (mapped == MAP_FAILED || log < 0) {
        static const char message[] = "server_shim: log or control cannot be used\n";
        (void)!syscall(SYS_write, 2, message, sizeof message - 1);
        _exit(125);
    }
    syscall(SYS_close, fd);
    control = mapped;
    device = stat_of.st_dev;
    snprintf(directory, sizeof directory, "%s", where);
    /* Out of the way of what the server counts. */
    told = fcntl(log, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, log);
}

/* The name below the directory, or nothing. */
static const char *tracked(const char *path, char *room) {
    char whole[2 * PATH_MAX];
    if (told < 0) return NULL;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (syscall(SYS_getcwd, whole, PATH_MAX) < 0) return NULL;
        size_t at = strlen(whole);
        snprintf(whole + at, sizeof whole - at, "/%s", path);
    }
    char *out = room;
    for (const char *in = whole; *in && out < room + PATH_MAX - 1; in++) {
        if (in[0] == '/' && in[1] == '/') continue;
        if (in[0] == '/' && in[1] == '.' && (in[2] == '/' || !in[2])) {
            in++;
            continue;
        }
        *out++ = *in;
    }
    *out = 0;
    size_t length = strlen(directory);
    if (strncmp(room, directory, length) || room[length] != '/') return NULL;
    return room + length + 1;
}

/* One record, by one call: those of other processes come before or after it. */
static void tell(int64_t kind, int64_t inode, int64_t offset, const char *first, const char *second, const struct iovec *written,
                 int pieces, size_t bytes) {
    int kept = errno;
    struct record record = {MARK, kind, inode, offset, first ? (int64_t)strlen(first) : 0, second ? (int64_t)strlen(second) : 0,
                            (int64_t)bytes};
    struct iovec all[IOV_MAX];
    int n = 0;
    all[n++] = (struct iovec){&record, sizeof record};
    all[n++] = (struct iovec){(void *)(first ? first : ""), (size_t)record.first_bytes};
    all[n++] = (struct iovec){(void *)(second ? second : ""), (size_t)record.second_bytes};
    size_t left = bytes;
    for (int piece = 0; piece < pieces && left > 0; piece++) {
        if (n == IOV_MAX) abort();
        size_t length = written[piece].iov_len < left ? written[piece].iov_len : left;
        all[n++] = (struct iovec){written[piece].iov_base, length};
        left -= length;
    }
    size_t whole = sizeof record + (size_t)record.first_bytes + (size_t)record.second_bytes + bytes;
    if (syscall(SYS_writev, told, all, n) != (long)whole) abort();
    errno = kept;
}

static int fails(int64_t with) {
    if (!with) return 0;
    __sync_fetch_and_add(&((struct control *)control)->failures, 1);
    errno = (int)with;
    return 1;
}

/* The inode of what counts: files of the directory's device, but for the server's own output. */
static int64_t file(int fd, off_t *length) {
    struct stat stat;
    if (told < 0 || fd <= 2 || syscall(SYS_fstat, fd, &stat)) return 0;
    if (!S_ISREG(stat.st_mode) || stat.st_dev != device) return 0;
    *length = stat.st_size;
    return (int64_t)stat.st_ino;
}

static int64_t inode_of(int fd) {
    struct stat stat;
    if (told < 0 || syscall(SYS_fstat, fd, &stat) || stat.st_dev != device) return 0;
    return S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) ? (int64_t)stat.st_ino : 0;
}

static int open_at(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int open_any(const char *path, int flags, mode_t mode) {
    char room[PATH_MAX];
    const char *name = flags & (O_CREAT | O_TRUNC) ? tracked(path, room) : NULL;
    if (!name) return open_at(path, flags, mode);
    int fd = -1;
    while (fd < 0) {
        if (!(flags & O_EXCL) || !(flags & O_CREAT)) {
            fd = open_at(path, flags & ~O_CREAT, mode);
            if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT)) break;
        }
        if (control->write_errno != EIO && fails(control->write_errno)) return -1;
        fd = open_at(path, flags | O_EXCL, mode);
        if (fd < 0 && (errno != EEXIST || (flags & O_EXCL))) return -1;
    }
    if (fd < 0) return fd;
    int64_t inode = inode_of(fd);
    if (flags & O_CREAT) tell(CREATE, inode, 0, name, NULL, NULL, 0, 0);
    if (flags & O_TRUNC) tell(TRUNCATE, inode, 0, NULL, NULL, NULL, 0, 0);
    return fd;
}

#define OPEN(function)                                   \
    int function(const char *path, int flags, ...) {     \
        mode_t mode = 0;                                 \
        if (flags & (O_CREAT | __O_TMPFILE)) {           \
            va_list arguments;                           \
            va_start(arguments, flags);                  \
            mode = va_arg(arguments, mode_t);            \
            va_end(arguments);                           \
        }                                                \
        return open_any(path, flags, mode);              \
    }
OPEN(open)
OPEN(open64)

/* Whether a write is made to fail; a disk that is full takes a part of it first. */
static int write_fails(off_t end, off_t length, size_t *bytes) {
    if (!control->write_errno || (control->write_errno == ENOSPC && end <= length)) return 0;
    if (control->write_errno == ENOSPC && *bytes > 512) {
        *bytes = 512;
        return 0;
    }
    return fails(control->write_errno);
}

static ssize_t write_all_of(int fd, int64_t inode, const struct iovec *pieces, int n, off_t offset, off_t length) {
    size_t bytes = 0;
    for (int piece = 0; piece < n; piece++) bytes += pieces[piece].iov_len;
    size_t asked = bytes;
    if (write_fails(offset + (off_t)bytes, length, &bytes)) return -1;
    ssize_t done;
    if (bytes < asked) {
        size_t first = pieces[0].iov_len < bytes ? pieces[0].iov_len : bytes;
        done = syscall(SYS_pwrite64, fd, pieces[0].iov_base, first, offset);
    } else if (n == 1) {
        done = syscall(SYS_pwrite64, fd, pieces[0].iov_base, pieces[0].iov_len, offset);
    } else {
        done = syscall(SYS_pwritev, fd, pieces, n, (long)offset, 0L);
    }
    if (done > 0) tell(WRITE, inode, offset, NULL, NULL, pieces, n, (size_t)done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    off_t length;
    int64_t inode = file(fd, &length);
    if (!inode) return syscall(SYS_write, fd, bytes, count);
    off_t offset = fcntl(fd, F_GETFL) & O_APPEND ? length : (off_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR);
    struct iovec piece = {(void *)bytes, count};
    ssize_t done = write_all_of(fd, inode, &piece, 1, offset, length);
    int kept = errno;
    if (done > 0) syscall(SYS_lseek, fd, (long)(offset + done), SEEK_SET);
    errno = kept;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    off_t length;
    int64_t inode = file(fd, &length);
    if (!inode) return syscall(SYS_pwrite64, fd, bytes, count, offset);
    struct iovec piece = {(void *)bytes, count};
    return write_all_of(fd, inode, &piece, 1, offset, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }

ssize_t pwritev64(int fd, const struct iovec *pieces, int n, off64_t offset) {
    off_t length;
    int64_t inode = file(fd, &length);
    if (!inode) return syscall(SYS_pwritev, fd, pieces, n, (long)offset, 0L);
    return write_all_of(fd, inode, pieces, n, offset, length);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int n, off_t offset) { return pwritev64(fd, pieces, n, offset); }

static int truncate_fd(int fd, off_t to) {
    off_t length;
    int64_t inode = file(fd, &length);
    if (inode && (control->write_errno == ENOSPC ? to > length && fails(ENOSPC) : fails(control->write_errno))) return -1;
    int result = (int)syscall(SYS_ftruncate, fd, (long)to);
    if (inode && !result) tell(TRUNCATE, inode, to, NULL, NULL, NULL, 0, 0);
    return result;
}

int ftruncate(int fd, off_t to) { return truncate_fd(fd, to); }
int ftruncate64(int fd, off64_t to) { return truncate_fd(fd, to); }

int truncate(const char *path, off_t to) {
    int fd = open_at(path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = truncate_fd(fd, to);
    int kept = errno;
    syscall(SYS_close, fd);
    errno = kept;
    return result;
}
int truncate64(const char *path, off64_t to) { return truncate(path, to); }

int posix_fallocate(int fd, off_t offset, off_t bytes) {
    off_t length;
    int64_t inode = file(fd, &length);
    if (inode && offset + bytes > length && fails(control->write_errno)) return (int)control->write_errno;
    if (syscall(SYS_fallocate, fd, 0, (long)offset, (long)bytes)) return errno;
    if (inode) tell(GROW, inode, offset + bytes, NULL, NULL, NULL, 0, 0);
    return 0;
}
int posix_fallocate64(int fd, off64_t offset, off64_t bytes) { return posix_fallocate(fd, offset, bytes); }

static int sync_any(int fd) {
    int64_t inode = inode_of(fd);
    if (!inode) return (int)syscall(SYS_fsync, fd);
    off_t length;
    if (control->sync_failures > 0 && file(fd, &length) &&
        __sync_fetch_and_sub(&((struct control *)control)->sync_failures, 1) > 0) {
        /* The kernel marks the pages clean: a later sync succeeds without them. */
        tell(DROP, inode, 0, NULL, NULL, NULL, 0, 0);
        fails(control->sync_errno);
        return -1;
    }
    tell(SYNC, inode, 0, NULL, NULL, NULL, 0, 0);
    return 0;
}

int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }

/* Names change all of a sudden, or not at all. */
static int name_fails(void) { return control && fails(control->write_errno == EROFS ? EROFS : 0); }

int unlink(const char *path) {
    char room[PATH_MAX];
    const char *name = tracked(path, room);
    if (name && name_fails()) return -1;
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (name && !result) tell(UNLINK, 0, 0, name, NULL, NULL, 0, 0);
    return result;
}

int rename(const char *from, const char *to) {
    char first[PATH_MAX], second[PATH_MAX];
    const char *old = tracked(from, first), *new = tracked(to, second);
    if (old && name_fails()) return -1;
    int result = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (old && new && !result) tell(RENAME, 0, 0, old, new, NULL, 0, 0);
    return result;
}

int link(const char *from, const char *to) {
    char first[PATH_MAX], second[PATH_MAX];
    const char *old = tracked(from, first), *new = tracked(to, second);
    if (old && name_fails()) return -1;
    int result = (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (old && new && !result) tell(LINK, 0, 0, old, new, NULL, 0, 0);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    char room[PATH_MAX];
    const char *name = tracked(path, room);
    if (name && name_fails()) return -1;
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (name && !result) {
        struct stat stat_of;
        if (stat(path, &stat_of)) abort();
        tell(MAKE, (int64_t)stat_of.st_ino, 0, name, NULL, NULL, 0, 0);
    }
    return result;
}

int rmdir(const char *path) {
    char room[PATH_MAX];
    const char *name = tracked(path, room);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    if (name && !result) tell(REMOVE, 0, 0, name, NULL, NULL, 0, 0);
    return result;
}
