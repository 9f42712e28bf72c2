/* A stand-in for libcuda.so.1, so that the host's side of CUDA runs where there is no card.

   It keeps the rules that a host can break: a context for each thread, none after fork, memory that belongs to an allocation, copies
   within it, grids and blocks of a size that cards take. Memory is the host's. Kernels are checked and never run. What a card does
   while the host goes on, copies from page-locked memory and on the device, is done here as late as the rules allow: when the host
   waits for it.

   STUB_FAIL_LAUNCH=n  the n-th launch, and everything after it, fails with CUDA_ERROR_ILLEGAL_ADDRESS
   STUB_FAIL_COPY=code copies to the host fail with that code
   STUB_FAIL_WAIT=code so does waiting
   STUB_MEMORY=bytes   memory of the device
   STUB_LOCKED=bytes   page-locked memory that one allocation may have

   stub_calls returns what was called since stub_forget, a letter each: L launch, P copy from page-locked memory, H copy from other
   memory, for which the host waits, D copy on the device, G copy to the host, W wait for an event, A allocation, F release.

   The driver's functions are found by cuGetProcAddress alone: stub_X is what cuX is. One that is not here does nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t Handle;
enum { OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_VALUE = 1, INVALID_CONTEXT = 201, ILLEGAL_ADDRESS = 700 };
enum { CONTEXT = 0x1000, SHARED = 49152, MOST_ALLOCATIONS = 65536 };

static int dead, launches;
static pid_t owner;
static __thread Handle contexts[64];
static __thread int depth;
typedef struct { Handle at; size_t size; } Memory;
static Memory allocations[MOST_ALLOCATIONS], locked[16];
static size_t taken;

/* What was called. */
static char calls[65536];
static int called;
const char *stub_calls(void) { calls[called] = 0; return calls; }
void stub_forget(void) { called = 0; }
static void note(char what) { if (called < (int)sizeof calls - 64) calls[called++] = what; } /* threads take no turns here */

/* What the card has still to do. */
enum { MOST_COPIES = 4096 };
static struct { void *to, *from; size_t size; } copies[MOST_COPIES];
static int first, last; /* of the copies that are asked for, number first to last - 1 are not done */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void work(int end) {
    pthread_mutex_lock(&lock);
    for (; first < end; first++) memcpy(copies[first % MOST_COPIES].to, copies[first % MOST_COPIES].from, copies[first % MOST_COPIES].size);
    pthread_mutex_unlock(&lock);
}
static void later(Handle to, void *from, size_t size) {
    if (last - first == MOST_COPIES) work(last);
    pthread_mutex_lock(&lock);
    copies[last % MOST_COPIES].to = (void *)to, copies[last % MOST_COPIES].from = from, copies[last % MOST_COPIES].size = size;
    last++;
    pthread_mutex_unlock(&lock);
}

static long option(const char *name, long otherwise) { const char *text = getenv(name); return text ? atol(text) : otherwise; }

/* What every call that needs the device begins with. */
#define NEED_CONTEXT do { if (getpid() != owner) return NOT_INITIALIZED; if (!depth) return INVALID_CONTEXT; if (dead) return dead; } while (0)

static int nothing(void) { return 0; }

/* Start, devices */
int stub_cuInit(unsigned flags) { if (!owner) owner = getpid(); return getpid() == owner ? 0 : NOT_INITIALIZED; }
int stub_cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int stub_cuDeviceGetCount(int *count) { *count = 1; return 0; }
int stub_cuDeviceGet(int *device, int number) { *device = number; return 0; }
int stub_cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "stub"); return 0; }
int stub_cuDeviceGetUuid(char *uuid, int device) { memset(uuid, 7, 16); return 0; }
int stub_cuDeviceTotalMem(size_t *bytes, int device) { *bytes = option("STUB_MEMORY", 1L << 36); return 0; }
int stub_cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 1: case 2: case 3: *value = 1024; break;     /* threads of a block */
        case 4: *value = 64; break;                       /* blocks along z */
        case 5: *value = 2147483647; break;               /* blocks along x, y, z */
        case 6: case 7: *value = 65535; break;
        case 8: *value = SHARED; break;
        case 10: *value = 32; break;                      /* threads of a warp */
        case 16: *value = 132; break;                     /* multiprocessors */
        case 75: *value = 9; break;                       /* compute capability 9.0 */
        case 76: *value = 0; break;
        default: *value = 1;
    }
    return 0;
}

/* Contexts */
int stub_cuDevicePrimaryCtxRetain(Handle *context, int device) { *context = CONTEXT; return 0; }
int stub_cuCtxPushCurrent(Handle context) { contexts[depth++] = context; return 0; }
int stub_cuCtxPopCurrent(Handle *context) { if (!depth) return INVALID_CONTEXT; *context = contexts[--depth]; return 0; }
int stub_cuCtxGetCurrent(Handle *context) { *context = depth ? contexts[depth - 1] : 0; return 0; }
int stub_cuCtxGetDevice(int *device) { NEED_CONTEXT; *device = 0; return 0; }
int stub_cuCtxSetCurrent(Handle context) {
    depth = context ? (depth ? depth : 1) : (depth ? depth - 1 : 0);
    if (context) contexts[depth - 1] = context;
    return 0;
}
int stub_cuStreamGetCtx(Handle stream, Handle *context) { NEED_CONTEXT; *context = CONTEXT; return 0; }
int stub_cuCtxSynchronize(void) { NEED_CONTEXT; work(last); return option("STUB_FAIL_WAIT", 0); }
int stub_cuStreamSynchronize(Handle stream) { return stub_cuCtxSynchronize(); }

/* Events: the number of copies before them */
int stub_cuEventCreate(int **event, unsigned flags) { NEED_CONTEXT; *event = calloc(1, sizeof(int)); return 0; }
int stub_cuEventRecord(int *event, Handle stream) { NEED_CONTEXT; *event = last; return 0; }
int stub_cuEventSynchronize(int *event) { NEED_CONTEXT; note('W'); work(*event); return 0; }

/* Memory */
int stub_cuMemGetInfo(size_t *left, size_t *total) { NEED_CONTEXT; stub_cuDeviceTotalMem(total, 0); *left = *total - taken; return 0; }
int stub_cuMemAlloc(Handle *at, size_t size) {
    NEED_CONTEXT;
    note('A');
    if (taken + size > (size_t)option("STUB_MEMORY", 1L << 36)) return OUT_OF_MEMORY;
    void *memory = aligned_alloc(256, (size / 256 + 1) * 256);
    if (!memory) return OUT_OF_MEMORY;
    memset(memory, 0x3f, size); /* what kernels that never run leave behind: 0.75 in float32, 0.0005 in float64 */
    for (int n = 0; n < MOST_ALLOCATIONS; n++)
        if (!allocations[n].at) {
            allocations[n].at = *at = (Handle)memory;
            allocations[n].size = size;
            taken += size;
            return 0;
        }
    return OUT_OF_MEMORY;
}
int stub_cuMemFree(Handle at) {
    NEED_CONTEXT;
    note('F');
    work(last);
    for (int n = 0; n < MOST_ALLOCATIONS; n++)
        if (at && allocations[n].at == at) {
            free((void *)at);
            taken -= allocations[n].size;
            allocations[n].at = 0;
            return 0;
        }
    return INVALID_VALUE;
}
static int among(const Memory *known, int count, Handle at, size_t size) {
    for (int n = 0; n < count; n++)
        if (known[n].at && at >= known[n].at && at + size <= known[n].at + known[n].size) return 1;
    return 0;
}
static int inside(Handle at, size_t size) { return among(allocations, MOST_ALLOCATIONS, at, size); }
int stub_cuMemHostAlloc(void **at, size_t size, unsigned flags) {
    NEED_CONTEXT;
    if (size > (size_t)option("STUB_LOCKED", 1L << 36)) return OUT_OF_MEMORY;
    for (int n = 0; n < 16; n++)
        if (!locked[n].at) {
            *at = aligned_alloc(4096, (size / 4096 + 1) * 4096);
            locked[n].at = (Handle)*at;
            locked[n].size = size;
            return 0;
        }
    return OUT_OF_MEMORY;
}
int stub_cuMemFreeHost(void *at) {
    NEED_CONTEXT;
    for (int n = 0; n < 16; n++)
        if (at && locked[n].at == (Handle)at) {
            for (int copy = first; copy < last; copy++)
                if (copies[copy % MOST_COPIES].from >= at && (Handle)copies[copy % MOST_COPIES].from < (Handle)at + locked[n].size) return INVALID_VALUE;
            free(at);
            locked[n].at = 0;
            return 0;
        }
    return INVALID_VALUE;
}
int stub_cuMemcpyHtoD(Handle to, void *from, size_t size) {
    NEED_CONTEXT;
    note('H');
    if (!inside(to, size)) return INVALID_VALUE;
    work(last);
    memcpy((void *)to, from, size);
    return 0;
}
int stub_cuMemcpyHtoDAsync(Handle to, void *from, size_t size, Handle stream) {
    NEED_CONTEXT;
    if (!among(locked, 16, (Handle)from, size)) return stub_cuMemcpyHtoD(to, from, size);
    note('P');
    if (!inside(to, size)) return INVALID_VALUE;
    later(to, from, size);
    return 0;
}
int stub_cuMemcpyDtoH(void *to, Handle from, size_t size) {
    NEED_CONTEXT;
    note('G');
    if (option("STUB_FAIL_COPY", 0)) return option("STUB_FAIL_COPY", 0);
    if (!inside(from, size)) return INVALID_VALUE;
    work(last);
    memcpy(to, (void *)from, size);
    return 0;
}
int stub_cuMemcpyDtoDAsync(Handle to, Handle from, size_t size, Handle stream) {
    NEED_CONTEXT;
    note('D');
    if (!inside(to, size) || !inside(from, size)) return INVALID_VALUE;
    later(to, (void *)from, size);
    return 0;
}

/* Kernels */
int stub_cuLibraryLoadData(Handle *library, void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) { static Handle loaded; *library = ++loaded; return 0; }
int stub_cuLibraryUnload(Handle library) { NEED_CONTEXT; return 0; }
int stub_cuLibraryGetKernel(Handle *kernel, Handle library, const char *name) { *kernel = 1; return 0; }
int stub_cuKernelGetFunction(Handle *function, Handle kernel) { *function = kernel; return 0; }
int stub_cuFuncGetAttribute(int *value, int attribute, Handle function) { *value = attribute == 0 ? 1024 : attribute == 4 ? 32 : 0; return 0; }
int stub_cuKernelGetAttribute(int *value, int attribute, Handle kernel, int device) { return stub_cuFuncGetAttribute(value, attribute, kernel); }
int stub_cuKernelGetParamInfo(Handle kernel, size_t number, size_t *offset, size_t *size) { return INVALID_VALUE; }
int stub_cuLaunchKernel(Handle function, unsigned x, unsigned y, unsigned z, unsigned wide, unsigned high, unsigned deep, unsigned shared,
                        Handle stream, void **arguments, void **extra) {
    NEED_CONTEXT;
    note('L');
    if (++launches == option("STUB_FAIL_LAUNCH", 0)) return dead = ILLEGAL_ADDRESS;
    if (!x || !y || !z || x > 2147483647u || y > 65535 || z > 65535) return INVALID_VALUE;
    if (!wide || wide * high * deep > 1024 || shared > SHARED) return INVALID_VALUE;
    return 0;
}

/* Names of errors, and of functions */
int stub_cuGetErrorName(int error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == NOT_INITIALIZED ? "CUDA_ERROR_NOT_INITIALIZED"
          : error == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT" : error == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : "CUDA_ERROR_INVALID_VALUE";
    return 0;
}
int stub_cuGetErrorString(int error, const char **text) { *text = "an error of the stand-in"; return 0; }
int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    char own[200];
    Dl_info here;
    snprintf(own, sizeof own, "stub_%s", name);
    dladdr((void *)nothing, &here);
    *found = strcmp(name, "cuGetProcAddress") ? dlsym(dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD), own) : (void *)cuGetProcAddress_v2;
    if (!*found) *found = (void *)nothing;
    if (status) *status = 0;
    return 0;
}
int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) { return cuGetProcAddress_v2(name, found, version, flags, 0); }
int cuInit(unsigned flags) { return stub_cuInit(flags); }
int cuDriverGetVersion(int *version) { return stub_cuDriverGetVersion(version); }
int cuDeviceGetCount(int *count) { return stub_cuDeviceGetCount(count); }
