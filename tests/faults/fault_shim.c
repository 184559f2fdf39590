/*
 * A disk and a clock that fail, for a process under test: preloaded before the C library (LD_PRELOAD).
 *
 * It follows every write to the files of one directory and keeps, in a shadow directory, what would be there after a power
 * cut: `NAME` is what was synced, `NAME.pending` the writes since then, `NAME.named` says that the directory entry was
 * synced, `.names` holds the creations and removals that were not. It also makes writes and syncs fail, ends the process
 * at a chosen operation, and shifts the time of day.
 *
 * FAULT_SHIM_DIR      the directory, absolute
 * FAULT_SHIM_SHADOW   the shadow directory
 * FAULT_SHIM_CONTROL  a file of the layout of `struct control`, which the test may change at any time
 *
 * Real syncs are not made: the page cache outlives the process, and the shadow says what counts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t clock_offset_ms; /* added to the time of day */
    int64_t cut_after;       /* operations left until the process kills itself; negative: never */
    int64_t write_errno;     /* what writes fail with; ENOSPC concerns only those that make a file longer */
    int64_t sync_errno;      /* what syncs fail with */
    int64_t sync_failures;   /* how many syncs fail; what they should have stored is dropped for good */
    int64_t operations;      /* counted: writes, syncs, truncations, removals */
    int64_t failures;        /* counted: operations that were made to fail */
};

struct record {
    int64_t kind; /* 0: bytes follow, 1: the file was cut to `offset` */
    int64_t offset;
    int64_t length;
};

enum { NAME_MAX_BYTES = 64, FDS = 65536 };
enum { NONE = 0, FILE_FD, DIRECTORY_FD };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static volatile struct control *control;
static char directory[4096], shadow[4096];
static struct { int kind; char name[NAME_MAX_BYTES]; } fds[FDS];

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void set_up(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("FAULT_SHIM_CONTROL");
    int fd = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        static const char message[] = "fault_shim: FAULT_SHIM_CONTROL cannot be used\n";
        (void)!real_write(2, message, sizeof message - 1);
        _exit(125);
    }
    real_close(fd);
    control = mapped;
    if (getenv("FAULT_SHIM_DIR") && getenv("FAULT_SHIM_SHADOW")) {
        snprintf(directory, sizeof directory, "%s", getenv("FAULT_SHIM_DIR"));
        snprintf(shadow, sizeof shadow, "%s", getenv("FAULT_SHIM_SHADOW"));
    }
}

/* The name below the directory, if the file's contents count: shared memory and locks are made anew by every process. */
static const char *tracked(const char *path) {
    size_t length = strlen(directory), whole = strlen(path);
    if (!length || strncmp(path, directory, length) || path[length] != '/') return NULL;
    const char *name = path + length + 1;
    if (strchr(name, '/') || strlen(name) >= NAME_MAX_BYTES) return NULL;
    if (whole > 4 && !strcmp(path + whole - 4, "-shm")) return NULL;
    if (whole > 5 && !strcmp(path + whole - 5, ".lock")) return NULL;
    return name;
}

static int shadow_open(const char *name, const char *suffix, int flags) {
    char path[8192];
    snprintf(path, sizeof path, "%s/%s%s", shadow, name, suffix);
    return real_open(path, flags | O_CLOEXEC, 0644);
}

static void shadow_remove(const char *name, const char *suffix) {
    char path[8192];
    snprintf(path, sizeof path, "%s/%s%s", shadow, name, suffix);
    real_unlink(path);
}

static void store(int fd, const void *bytes, size_t length, off_t offset) {
    while (length > 0) {
        ssize_t done = real_pwrite(fd, bytes, length, offset);
        if (done <= 0) abort();
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
        offset += done;
    }
}

static void pend(const char *name, int64_t kind, off_t offset, const void *bytes, size_t length) {
    struct record record = {kind, offset, (int64_t)length};
    char *whole = malloc(sizeof record + length);
    memcpy(whole, &record, sizeof record);
    if (length) memcpy(whole + sizeof record, bytes, length);
    int fd = shadow_open(name, ".pending", O_WRONLY | O_CREAT);
    store(fd, whole, sizeof record + length, lseek(fd, 0, SEEK_END));
    real_close(fd);
    free(whole);
}

/* Makes what is pending durable. Killed half-way it has made a part durable, as a real disk would have. */
static void settle(const char *name) {
    int pending = shadow_open(name, ".pending", O_RDWR | O_CREAT);
    int durable = shadow_open(name, "", O_RDWR | O_CREAT);
    struct record record;
    off_t at = 0;
    while (pread(pending, &record, sizeof record, at) == (ssize_t)sizeof record) {
        at += (off_t)sizeof record;
        if (record.kind == 1) {
            if (real_ftruncate(durable, record.offset)) abort();
            continue;
        }
        char *bytes = malloc((size_t)record.length + 1);
        if (pread(pending, bytes, (size_t)record.length, at) == record.length)
            store(durable, bytes, (size_t)record.length, record.offset);
        free(bytes);
        at += record.length;
    }
    if (real_ftruncate(pending, 0)) abort();
    real_close(pending);
    real_close(durable);
}

static void drop(const char *name) {
    int pending = shadow_open(name, ".pending", O_RDWR | O_CREAT);
    if (real_ftruncate(pending, 0)) abort();
    real_close(pending);
}

static void name_change(char kind, const char *name) {
    char line[NAME_MAX_BYTES + 2];
    int length = snprintf(line, sizeof line, "%c%s\n", kind, name);
    int fd = shadow_open(".names", "", O_WRONLY | O_CREAT);
    store(fd, line, (size_t)length, lseek(fd, 0, SEEK_END));
    real_close(fd);
}

/* Makes creations and removals durable. */
static void settle_names(void) {
    static char names[65536];
    int fd = shadow_open(".names", "", O_RDWR | O_CREAT);
    ssize_t length = pread(fd, names, sizeof names - 1, 0);
    names[length > 0 ? length : 0] = 0;
    char *rest = names;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        if (*line == '+') real_close(shadow_open(line + 1, ".named", O_WRONLY | O_CREAT));
        if (*line == '-') shadow_remove(line + 1, ".named");
    }
    if (real_ftruncate(fd, 0)) abort();
    real_close(fd);
}

/* Counts an operation on what is tracked; the process ends here when its time has come. */
static void begin(void) {
    control->operations++;
    if (control->cut_after == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (control->cut_after > 0) control->cut_after--;
}

static int fails(int64_t with) {
    if (!with) return 0;
    control->failures++;
    errno = (int)with;
    return 1;
}

static int is_tracked(int fd, int kind) {
    return fd >= 0 && fd < FDS && fds[fd].kind == kind;
}

static int open_any(const char *path, int flags, mode_t mode) {
    pthread_once(&once, set_up);
    const char *name = tracked(path);
    int is_directory = directory[0] && !strcmp(path, directory);
    if (!name && !is_directory) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = name && (flags & O_CREAT) && access(path, F_OK);
    int fd = -1;
    if (is_new && (control->write_errno == EROFS || control->write_errno == ENOSPC)) {
        begin();
        fails(control->write_errno);
    } else {
        fd = real_open(path, flags, mode);
    }
    if (fd >= 0 && fd < FDS) {
        fds[fd].kind = name ? FILE_FD : DIRECTORY_FD;
        if (name) snprintf(fds[fd].name, NAME_MAX_BYTES, "%s", name);
        if (is_new) {
            begin();
            shadow_remove(name, "");
            drop(name);
            name_change('+', name);
        }
    }
    pthread_mutex_unlock(&lock);
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

int close(int fd) {
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS) fds[fd].kind = NONE;
    int result = real_close(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset) {
    struct stat stat;
    begin();
    int is_longer = !fstat(fd, &stat) && offset + (off_t)length > stat.st_size;
    if (control->write_errno && (control->write_errno != ENOSPC || is_longer)) {
        /* A disk that fills up takes a part first. */
        if (control->write_errno != ENOSPC || length < 1024) return fails(control->write_errno) ? -1 : 0;
        length = 512;
    }
    ssize_t done = real_pwrite(fd, bytes, length, offset);
    if (done > 0) pend(fds[fd].name, 0, offset, bytes, (size_t)done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    pthread_once(&once, set_up);
    if (!is_tracked(fd, FILE_FD)) return real_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = write_at(fd, bytes, length, offset);
    int kept = errno;
    if (done > 0) lseek(fd, offset + done, SEEK_SET);
    pthread_mutex_unlock(&lock);
    errno = kept;
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    pthread_once(&once, set_up);
    if (!is_tracked(fd, FILE_FD)) return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = write_at(fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

static int truncate_to(int fd, off_t length) {
    pthread_once(&once, set_up);
    if (!is_tracked(fd, FILE_FD)) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    begin();
    int result = -1;
    if (!fails(control->write_errno == ENOSPC ? 0 : control->write_errno)) {
        result = real_ftruncate(fd, length);
        if (!result) pend(fds[fd].name, 1, length, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_to(fd, length); }

static int sync_any(int fd) {
    pthread_once(&once, set_up);
    if (!is_tracked(fd, FILE_FD) && !is_tracked(fd, DIRECTORY_FD)) return real_fsync(fd);
    pthread_mutex_lock(&lock);
    begin();
    int result = 0;
    if (control->sync_failures > 0 && fds[fd].kind == FILE_FD && fails(control->sync_errno)) {
        /* The kernel marks the pages clean: a later sync succeeds without them. */
        control->sync_failures--;
        drop(fds[fd].name);
        result = -1;
    } else if (fds[fd].kind == FILE_FD) {
        settle(fds[fd].name);
    } else {
        settle_names();
    }
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }

int unlink(const char *path) {
    pthread_once(&once, set_up);
    const char *name = tracked(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    begin();
    int result = -1;
    if (!fails(control->write_errno == EROFS ? EROFS : 0)) {
        result = real_unlink(path);
        if (!result) name_change('-', name);
    }
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    pthread_once(&once, set_up);
    int result = real_clock_gettime(which, now);
    if (!result && which == CLOCK_REALTIME && control->clock_offset_ms) {
        int64_t nanos = now->tv_nsec + (control->clock_offset_ms % 1000) * 1000000;
        now->tv_sec += (time_t)(control->clock_offset_ms / 1000) + (nanos < 0 ? -1 : nanos / 1000000000);
        now->tv_nsec = (long)((nanos + 1000000000) % 1000000000);
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}
