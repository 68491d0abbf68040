// os/proc.h as far as the runner uses it: iOS only. For checking types; nothing is linked against this.

#include <stddef.h>

size_t os_proc_available_memory(void);
