/*
 * What operations on a reference count take on this machine, in ns.
 *
 * Usage: locked_ops OWN OTHER: CPUs to run on; OTHER -1 measures the CPU's own lines only.
 *
 * Own: every operation many times on one line that stays in the CPU's cache. Other: a thread on CPU
 * OTHER writes a set of lines, then the operation is done once on each, the next line known only
 * when the last is there; the threads take turns. Walk: the same without the other thread, so that
 * what the walk itself takes is known. Time is CLOCK_MONOTONIC_RAW around a whole batch.
 *
 * Each line of output is: operation, place, minimum, median, upper quartile and maximum of the
 * batches' ns an operation, and batches. On x86 a line "tsc" gives ticks a ns.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Every line comes once: STRIDE and LINES have no common factor. */
enum { LINE = 64, LINES = 256, STRIDE = 97, BATCH = 100000, BATCHES = 201, WARM = 20 };

struct line {
	volatile int count;
	char rest[LINE - sizeof(int)];
} __attribute__((aligned(LINE)));

static struct line lines[LINES];
static volatile int none; /* 0, which the compiler does not know */
static volatile int turn; /* 0: the other CPU's, 1: ours, 2: over */

#if defined(__x86_64__)
#define STORE(p) __asm__ volatile("movl $1, %0" : "=m"((p)->count)::"memory")
#define LOCK_ADD(p) __asm__ volatile("lock; addl $1, %0" : "+m"((p)->count)::"memory")
#define DEC_AND_TEST(p) \
	do { \
		unsigned char zero; \
		__asm__ volatile("lock; decl %0; sete %1" : "+m"((p)->count), "=q"(zero)::"memory"); \
	} while (0)
#define XADD(p) \
	do { \
		int one = 1; \
		__asm__ volatile("lock; xaddl %1, %0" : "+m"((p)->count), "+r"(one)::"memory"); \
	} while (0)
#define CMPXCHG(p) \
	do { \
		int seen = (p)->count; \
		__asm__ volatile("lock; cmpxchgl %2, %0" : "+m"((p)->count), "+a"(seen) : "r"(seen + 1) : "memory"); \
	} while (0)
#else
#define STORE(p) __atomic_store_n(&(p)->count, 1, __ATOMIC_RELAXED)
#define LOCK_ADD(p) ((void)__atomic_fetch_add(&(p)->count, 1, __ATOMIC_RELAXED))
#define DEC_AND_TEST(p) \
	do { \
		volatile int zero = __atomic_sub_fetch(&(p)->count, 1, __ATOMIC_SEQ_CST) == 0; \
		(void)zero; \
	} while (0)
#define XADD(p) \
	do { \
		volatile int was = __atomic_fetch_add(&(p)->count, 1, __ATOMIC_SEQ_CST); \
		(void)was; \
	} while (0)
#define CMPXCHG(p) \
	do { \
		int seen = __atomic_load_n(&(p)->count, __ATOMIC_RELAXED); \
		(void)__atomic_compare_exchange_n(&(p)->count, &seen, seen + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED); \
	} while (0)
#endif

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC_RAW, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void wait_for(int mine)
{
	while (turn != mine && turn != 2)
		sched_yield();
}

static void *writer(void *cpu)
{
	if (pin(*(int *)cpu))
		return cpu;
	for (;;) {
		wait_for(0);
		if (turn == 2)
			return NULL;
		for (int i = 0; i < LINES; i++)
			LOCK_ADD(&lines[i]);
		__atomic_store_n(&turn, 1, __ATOMIC_SEQ_CST);
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *name, const char *place, double *ns)
{
	qsort(ns, BATCHES, sizeof(*ns), by_size);
	printf("%s %s %.3f %.3f %.3f %.3f %d\n", name, place, ns[0], ns[BATCHES / 2],
	       ns[BATCHES * 3 / 4], ns[BATCHES - 1], BATCHES);
}

#define MEASURE_OWN(name, OP) \
	do { \
		double ns[BATCHES]; \
		for (int batch = -WARM; batch < BATCHES; batch++) { \
			double begin = now(); \
			for (int i = 0; i < BATCH / 4; i++) { \
				OP(&lines[0]); \
				OP(&lines[0]); \
				OP(&lines[0]); \
				OP(&lines[0]); \
			} \
			if (batch >= 0) \
				ns[batch] = (now() - begin) / BATCH; \
		} \
		report(name, "own", ns); \
	} while (0)

#define WALK(name, place, OP, BEGIN, END) \
	do { \
		double ns[BATCHES]; \
		for (int batch = -WARM; batch < BATCHES; batch++) { \
			BEGIN; \
			double begin = now(); \
			for (int i = 0, at = 0; i < LINES; i++) { \
				OP(&lines[at]); \
				at = (at + STRIDE + (lines[at].count & zero)) % LINES; \
			} \
			if (batch >= 0) \
				ns[batch] = (now() - begin) / LINES; \
			END; \
		} \
		report(name, place, ns); \
	} while (0)
#define MEASURE_WALK(name, OP) WALK(name, "walk", OP, (void)0, (void)0)
#define MEASURE_OTHER(name, OP) \
	WALK(name, "other", OP, wait_for(1), __atomic_store_n(&turn, 0, __ATOMIC_SEQ_CST))

#if defined(__x86_64__)
static uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static void report_tsc(void)
{
	double begin = now(), end;
	uint64_t from = ticks();

	do
		end = now();
	while (end - begin < 2e7);
	printf("tsc %.4f\n", (ticks() - from) / (end - begin));
}
#else
static void report_tsc(void)
{
}
#endif

int main(int argc, char **argv)
{
	const int zero = none;
	int own = argc > 1 ? atoi(argv[1]) : 0, other = argc > 2 ? atoi(argv[2]) : -1;
	pthread_t thread;

	if (pin(own)) {
		perror("pin");
		return 1;
	}
	report_tsc();
	MEASURE_OWN("store", STORE);
	MEASURE_OWN("lock_add", LOCK_ADD);
	MEASURE_OWN("dec_and_test", DEC_AND_TEST);
	MEASURE_OWN("xadd", XADD);
	MEASURE_OWN("cmpxchg", CMPXCHG);
	if (other < 0)
		return 0;
	MEASURE_WALK("store", STORE);
	MEASURE_WALK("lock_add", LOCK_ADD);
	MEASURE_WALK("dec_and_test", DEC_AND_TEST);
	MEASURE_WALK("xadd", XADD);
	MEASURE_WALK("cmpxchg", CMPXCHG);
	if (pthread_create(&thread, NULL, writer, &other)) {
		perror("thread");
		return 1;
	}
	MEASURE_OTHER("store", STORE);
	MEASURE_OTHER("lock_add", LOCK_ADD);
	MEASURE_OTHER("dec_and_test", DEC_AND_TEST);
	MEASURE_OTHER("xadd", XADD);
	MEASURE_OTHER("cmpxchg", CMPXCHG);
	turn = 2;
	pthread_join(thread, NULL);
	return 0;
}
