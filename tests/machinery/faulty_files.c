/* A file system that misbehaves, for the files below $FAULTY_DIR, while $FAULTY_DIR/.faults exists:
   locks fail, renames take 50 ms, and one write of $FAULTY_EVERY fails: no space, or over quota.

   cc -shared -fPIC -o faulty_files.so faulty_files.c -ldl
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_on(void) {
  char switch_path[PATH_MAX];
  const char *folder = getenv("FAULTY_DIR");
  if (!folder) return 0;
  snprintf(switch_path, sizeof switch_path, "%s/.faults", folder);
  return access(switch_path, F_OK) == 0;
}

static int is_below(const char *path) {
  const char *folder = getenv("FAULTY_DIR");
  return folder && !strncmp(path, folder, strlen(folder)) && is_on();
}

static int is_faulty(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_below(path);
}

int flock(int descriptor, int operation) {
  if (is_faulty(descriptor)) {
    errno = ENOLCK;
    return -1;
  }
  return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(descriptor, operation);
}

static int is_lock(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
         command == F_OFD_SETLKW;
}

#define FCNTL(name)                                                               \
  int name(int descriptor, int command, ...) {                                    \
    va_list arguments;                                                            \
    va_start(arguments, command);                                                 \
    void *argument = va_arg(arguments, void *);                                   \
    va_end(arguments);                                                            \
    if (is_lock(command) && is_faulty(descriptor)) {                              \
      errno = ENOLCK;                                                             \
      return -1;                                                                  \
    }                                                                             \
    return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, #name))(descriptor, command, argument); \
  }

FCNTL(fcntl)
FCNTL(fcntl64)

int rename(const char *from, const char *to) {
  if (is_below(to)) usleep(50000);
  return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}

ssize_t write(int descriptor, const void *data, size_t size) {
  static int seeded;
  const char *every = getenv("FAULTY_EVERY");
  if (every && is_faulty(descriptor)) {
    if (!seeded) {
      srandom(getpid());
      seeded = 1;
    }
    if (random() % atoi(every) == 0) {
      errno = random() % 2 ? ENOSPC : EDQUOT;
      return -1;
    }
  }
  return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(descriptor, data, size);
}
