/* Preloaded into a server: its disk and its wall clock obey files that are read again each time.
 *
 * The file named by SLOW_DISK_ORDERS holds the milliseconds that a sync takes more ("500"), or "e" and an errno
 * ("e5"): the sync then fails. The file named by WRONG_CLOCK_ORDERS holds seconds that the wall clock is ahead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static ssize_t orders(const char *variable, char *text, size_t size)
{
    const char *path = getenv(variable);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    return length;
}

static int ordered(void)
{
    char text[16] = {0};
    ssize_t length = orders("SLOW_DISK_ORDERS", text, sizeof text);
    if (length > 1 && text[0] == 'e') {
        errno = atoi(text + 1);
        return -1;
    }
    long ms = length > 0 ? atol(text) : 0;
    if (ms > 0) {
        struct timespec wait = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&wait, NULL);
    }
    return 0;
}

#define SLOW(name, parameters, arguments)                                                                            \
    int name parameters                                                                                               \
    {                                                                                                                 \
        static int (*real) parameters;                                                                                \
        if (!real)                                                                                                    \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                                                \
        return ordered() ? -1 : real arguments;                                                                       \
    }

SLOW(fsync, (int fd), (fd))
SLOW(fdatasync, (int fd), (fd))
SLOW(msync, (void *start, size_t length, int flags), (start, length, flags))

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    char text[16] = {0};
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && orders("WRONG_CLOCK_ORDERS", text, sizeof text) > 0)
        now->tv_sec += atol(text);
    return result;
}

/* What OpenSSL judges certificates by. */
time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}
