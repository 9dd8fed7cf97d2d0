/* Preloaded into a server: makes each sync slow, or fail, as a file says that is read again for each.
 *
 * The file named by SLOW_DISK_ORDERS holds milliseconds ("500"), or "e" and an errno ("e5"): the sync then fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int ordered(void)
{
    const char *path = getenv("SLOW_DISK_ORDERS");
    char text[16] = {0};
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
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
