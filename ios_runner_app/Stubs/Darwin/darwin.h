// What the runner uses of Darwin's C library and of Mach, declared as Apple's headers declare it (names, types,
// nullability), for checking types on a machine without Apple's SDK. Nothing is ever linked against this.
// The structs have the fields that are used and Apple's order of them where the code depends on it (task_info).

#ifndef STUB_DARWIN_H
#define STUB_DARWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// sys/types.h
typedef int64_t off_t;
typedef uint16_t mode_t;
typedef int32_t dev_t;
typedef uint64_t ino_t;
typedef uint16_t nlink_t;
typedef int32_t pid_t;
typedef long ssize_t;
typedef uint32_t socklen_t;
typedef uint8_t sa_family_t;
typedef uint16_t in_port_t;
typedef uint32_t in_addr_t;
typedef unsigned int nfds_t;

struct timespec {
  long tv_sec;
  long tv_nsec;
};

// errno.h
extern int *__error(void);
#define EINTR 4
#define ENOENT 2
#define EEXIST 17
#define EAGAIN 35
#define EADDRINUSE 48

// string.h, stdlib.h, stdio.h
void *_Nullable memcpy(void *_Nullable destination, const void *_Nullable source, size_t count);
void *_Nullable memchr(const void *_Nullable bytes, int value, size_t count);
int memcmp(const void *_Nullable a, const void *_Nullable b, size_t count);
char *_Null_unspecified strerror(int code);
char *_Nullable getenv(const char *name);
char *_Nullable realpath(const char *_Nullable path, char *_Nullable resolved);
void free(void *_Nullable memory);
void exit(int code) __attribute__((noreturn));
void _exit(int code) __attribute__((noreturn));
int rename(const char *old, const char *new_name);

// fcntl.h
#define O_RDONLY 0x0000
#define O_WRONLY 0x0001
#define O_RDWR 0x0002
#define O_APPEND 0x00000008
#define O_CREAT 0x00000200
#define O_TRUNC 0x00000400
#define O_CLOEXEC 0x01000000
#define O_NONBLOCK 0x00000004
#define F_SETFD 2
#define F_GETFL 3
#define F_SETFL 4
#define F_GETPATH 50
#define MAXPATHLEN 1024
#define FD_CLOEXEC 1

// unistd.h
#define STDERR_FILENO 2
#define _SC_PAGESIZE 29
int close(int file);
ssize_t read(int file, void *_Null_unspecified buffer, size_t count);
ssize_t write(int file, const void *_Null_unspecified buffer, size_t count);
ssize_t pread(int file, void *_Null_unspecified buffer, size_t count, off_t offset);
int dup2(int old, int new_file);
int unlink(const char *path);
int rmdir(const char *path);
int mkdir(const char *path, mode_t mode);
pid_t getpid(void);
long sysconf(int name);

// sys/stat.h
struct stat {
  dev_t st_dev;
  mode_t st_mode;
  nlink_t st_nlink;
  ino_t st_ino;
  struct timespec st_atimespec;
  struct timespec st_mtimespec;
  struct timespec st_ctimespec;
  struct timespec st_birthtimespec;
  off_t st_size;
};
int stat(const char *path, struct stat *status);
int lstat(const char *path, struct stat *status);
int fstat(int file, struct stat *status);

// dirent.h
typedef struct DIR DIR;
struct DIR {
  int descriptor;
};
struct dirent {
  uint64_t d_ino;
  uint64_t d_seekoff;
  uint16_t d_reclen;
  uint16_t d_namlen;
  uint8_t d_type;
  // Apple's has 1024; Swift makes a tuple of it, and the compiler works 10 s on one of that size.
  char d_name[16];
};
DIR *_Null_unspecified opendir(const char *path);
struct dirent *_Null_unspecified readdir(DIR *_Null_unspecified directory);
int closedir(DIR *_Null_unspecified directory);

// sys/mman.h
#define PROT_READ 0x01
#define PROT_WRITE 0x02
#define MAP_SHARED 0x0001
#define MAP_PRIVATE 0x0002
#define MAP_NORESERVE 0x0040
#define MAP_ANON 0x1000
#define MAP_ANONYMOUS MAP_ANON
#define MADV_WILLNEED 3
void *_Null_unspecified mmap(void *_Null_unspecified address, size_t size, int protection, int flags, int file,
                             off_t offset);
int munmap(void *_Null_unspecified address, size_t size);
int madvise(void *_Null_unspecified address, size_t size, int advice);

// sys/socket.h, netinet/in.h, netinet/tcp.h, poll.h
#define AF_INET 2
#define SOCK_STREAM 1
#define SOL_SOCKET 0xffff
#define SO_REUSEADDR 0x0004
#define SO_NOSIGPIPE 0x1022
#define SHUT_RDWR 2
#define MSG_DONTWAIT 0x80
#define IPPROTO_TCP 6
#define TCP_NODELAY 0x01
#define INADDR_LOOPBACK ((uint32_t)0x7f000001)
#define POLLIN 0x0001
struct sockaddr {
  uint8_t sa_len;
  sa_family_t sa_family;
  char sa_data[14];
};
struct in_addr {
  in_addr_t s_addr;
};
struct sockaddr_in {
  uint8_t sin_len;
  sa_family_t sin_family;
  in_port_t sin_port;
  struct in_addr sin_addr;
  char sin_zero[8];
};
struct pollfd {
  int fd;
  short events;
  short revents;
};
int socket(int domain, int type, int protocol);
int bind(int socket, const struct sockaddr *_Null_unspecified address, socklen_t length);
int listen(int socket, int backlog);
int accept(int socket, struct sockaddr *_Null_unspecified address, socklen_t *_Null_unspecified length);
int shutdown(int socket, int how);
int setsockopt(int socket, int level, int name, const void *_Null_unspecified value, socklen_t length);
ssize_t send(int socket, const void *_Null_unspecified bytes, size_t count, int flags);
ssize_t recv(int socket, void *_Null_unspecified bytes, size_t count, int flags);
int poll(struct pollfd *_Null_unspecified files, nfds_t count, int timeout);

// pthread.h
struct _opaque_pthread_t {
  long signature;
};
typedef struct _opaque_pthread_t *pthread_t;
typedef struct _opaque_pthread_attr_t {
  long signature;
} pthread_attr_t;
typedef struct _opaque_pthread_mutex_t {
  long signature;
} pthread_mutex_t;
typedef struct _opaque_pthread_mutexattr_t {
  long signature;
} pthread_mutexattr_t;
typedef struct _opaque_pthread_cond_t {
  long signature;
} pthread_cond_t;
typedef struct _opaque_pthread_condattr_t {
  long signature;
} pthread_condattr_t;
#define PTHREAD_CREATE_DETACHED 2
int pthread_create(pthread_t _Nullable *_Null_unspecified thread, const pthread_attr_t *_Nullable attributes,
                   void *_Nullable (*start)(void *argument), void *_Nullable argument);
int pthread_setname_np(const char *name);
int pthread_attr_init(pthread_attr_t *attributes);
int pthread_attr_destroy(pthread_attr_t *attributes);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size);
int pthread_attr_setdetachstate(pthread_attr_t *attributes, int state);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *_Nullable attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *_Nullable attributes);
int pthread_cond_destroy(pthread_cond_t *condition);
int pthread_cond_broadcast(pthread_cond_t *condition);
int pthread_cond_timedwait_relative_np(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                       const struct timespec *_Nullable left);

// time.h, mach/mach_time.h
typedef enum {
  CLOCK_REALTIME = 0,
  CLOCK_MONOTONIC = 6,
  CLOCK_MONOTONIC_RAW = 4,
  CLOCK_UPTIME_RAW = 8,
  CLOCK_PROCESS_CPUTIME_ID = 12,
} clockid_t;
int clock_gettime(clockid_t clock, struct timespec *time);
uint64_t clock_gettime_nsec_np(clockid_t clock);
typedef int kern_return_t;
struct mach_timebase_info {
  uint32_t numer;
  uint32_t denom;
};
typedef struct mach_timebase_info mach_timebase_info_data_t;
kern_return_t mach_timebase_info(mach_timebase_info_data_t *_Null_unspecified base);
kern_return_t mach_wait_until(uint64_t deadline);

// dlfcn.h
#define RTLD_NOW 0x2
#define RTLD_LOCAL 0x4
void *_Null_unspecified dlopen(const char *_Null_unspecified path, int mode);
void *_Null_unspecified dlsym(void *_Null_unspecified library, const char *_Null_unspecified symbol);
char *_Null_unspecified dlerror(void);

// sys/qos.h, pthread/qos.h
typedef enum : unsigned int {
  QOS_CLASS_USER_INTERACTIVE = 0x21,
  QOS_CLASS_USER_INITIATED = 0x19,
  QOS_CLASS_DEFAULT = 0x15,
} qos_class_t;
int pthread_set_qos_class_self_np(qos_class_t level, int relative_priority);

// sys/sysctl.h
int sysctlbyname(const char *_Null_unspecified name, void *_Null_unspecified value, size_t *_Null_unspecified size,
                 void *_Null_unspecified new_value, size_t new_size);

// mach/task_info.h (xnu), mach/task.h
typedef int integer_t;
typedef unsigned int natural_t;
typedef unsigned int mach_port_t;
typedef mach_port_t task_name_t;
typedef natural_t mach_msg_type_number_t;
typedef natural_t task_flavor_t;
typedef integer_t *task_info_t;
typedef uint64_t mach_vm_size_t;
typedef uint64_t mach_vm_address_t;
#define KERN_SUCCESS 0
#define TASK_EVENTS_INFO 2
#define TASK_VM_INFO 22
extern mach_port_t mach_task_self_;
kern_return_t task_info(task_name_t task, task_flavor_t flavor, task_info_t _Null_unspecified info,
                        mach_msg_type_number_t *_Null_unspecified count);

#pragma pack(push, 4)
struct task_events_info {
  integer_t faults;
  integer_t pageins;
  integer_t cow_faults;
  integer_t messages_sent;
  integer_t messages_received;
  integer_t syscalls_mach;
  integer_t syscalls_unix;
  integer_t csw;
};
typedef struct task_events_info task_events_info_data_t;

struct task_vm_info {
  mach_vm_size_t virtual_size;
  integer_t region_count;
  integer_t page_size;
  mach_vm_size_t resident_size;
  mach_vm_size_t resident_size_peak;
  mach_vm_size_t device;
  mach_vm_size_t device_peak;
  mach_vm_size_t internal;
  mach_vm_size_t internal_peak;
  mach_vm_size_t external;
  mach_vm_size_t external_peak;
  mach_vm_size_t reusable;
  mach_vm_size_t reusable_peak;
  mach_vm_size_t purgeable_volatile_pmap;
  mach_vm_size_t purgeable_volatile_resident;
  mach_vm_size_t purgeable_volatile_virtual;
  mach_vm_size_t compressed;
  mach_vm_size_t compressed_peak;
  mach_vm_size_t compressed_lifetime;
  mach_vm_size_t phys_footprint;
  mach_vm_address_t min_address;
  mach_vm_address_t max_address;
  int64_t ledger_phys_footprint_peak;
  int64_t ledger_purgeable_nonvolatile;
  int64_t ledger_purgeable_novolatile_compressed;
  int64_t ledger_purgeable_volatile;
  int64_t ledger_purgeable_volatile_compressed;
  int64_t ledger_tag_network_nonvolatile;
  int64_t ledger_tag_network_nonvolatile_compressed;
  int64_t ledger_tag_network_volatile;
  int64_t ledger_tag_network_volatile_compressed;
  int64_t ledger_tag_media_footprint;
  int64_t ledger_tag_media_footprint_compressed;
  int64_t ledger_tag_media_nofootprint;
  int64_t ledger_tag_media_nofootprint_compressed;
  int64_t ledger_tag_graphics_footprint;
  int64_t ledger_tag_graphics_footprint_compressed;
  int64_t ledger_tag_graphics_nofootprint;
  int64_t ledger_tag_graphics_nofootprint_compressed;
  int64_t ledger_tag_neural_footprint;
  int64_t ledger_tag_neural_footprint_compressed;
  int64_t ledger_tag_neural_nofootprint;
  int64_t ledger_tag_neural_nofootprint_compressed;
  uint64_t limit_bytes_remaining;
  integer_t decompressions;
  int64_t ledger_swapins;
};
typedef struct task_vm_info task_vm_info_data_t;
#pragma pack(pop)

#pragma clang assume_nonnull end

#endif
