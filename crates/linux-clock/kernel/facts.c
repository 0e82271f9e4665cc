/*
 * What the clock in Rust has to know of this kernel, as the kernel's own headers have it.
 * Compiled to assembly, never assembled: facts.sed makes Rust of it.
 */
#include <linux/kernel.h>
#include <linux/stddef.h>
#include <linux/time.h>
#include <linux/types.h>
#include <vdso/datapage.h>
#include <asm/alternative.h>
#include <asm/msr.h>
#include <asm/pvclock-abi.h>
#include <asm/segment.h>
#include <asm/unistd.h>
#include <asm/vdso/clocksource.h>
#ifdef CONFIG_HYPERV_TIMER
#include <clocksource/hyperv_timer.h>
#endif

#define SAY(name, type_and_value, value) \
	asm volatile("\n.ascii \"->pub const " #name ": " type_and_value ";\"" : : "i" (value))
#define FACT(name, type, value)	SAY(name, type " = %c0", value)
#define NUMBER(name, value)	FACT(name, "u32", value)
#define PLACE(name, type, field) \
	FACT(name, "usize", offsetof(struct type, field))
#define SWITCH(name, option)	SAY(name, "bool = 1 == %c0", IS_ENABLED(option))
#define TEXT(name)		asm volatile("\n# vdsokit begin " #name)
#define END			asm volatile("\n# vdsokit end")

void vdsokit_clock_facts(void);

void vdsokit_clock_facts(void)
{
	PLACE(SEQUENCE, vdso_data, seq);
	PLACE(MODE, vdso_data, clock_mode);
	PLACE(CYCLE_LAST, vdso_data, cycle_last);
	PLACE(MAX_CYCLES, vdso_data, max_cycles);
	PLACE(MULT, vdso_data, mult);
	PLACE(SHIFT, vdso_data, shift);
	PLACE(BASE, vdso_data, basetime);
	PLACE(BASE_SECONDS, vdso_timestamp, sec);
	PLACE(BASE_NANOSECONDS, vdso_timestamp, nsec);
	FACT(BASE_SIZE, "usize", sizeof(struct vdso_timestamp));
	PLACE(OFFSET, vdso_data, offset);
	PLACE(OFFSET_SECONDS, timens_offset, sec);
	PLACE(OFFSET_NANOSECONDS, timens_offset, nsec);
	FACT(OFFSET_SIZE, "usize", sizeof(struct timens_offset));
	PLACE(MINUTES_WEST, vdso_data, tz_minuteswest);
	PLACE(DST, vdso_data, tz_dsttime);
	PLACE(RESOLUTION, vdso_data, hrtimer_res);
	FACT(RAW, "usize", CS_RAW * sizeof(struct vdso_data));
	BUILD_BUG_ON(CS_HRES_COARSE != 0);

	NUMBER(MODE_TSC, VDSO_CLOCKMODE_TSC);
	NUMBER(MODE_PVCLOCK, VDSO_CLOCKMODE_PVCLOCK);
	NUMBER(MODE_HVCLOCK, VDSO_CLOCKMODE_HVCLOCK);
	NUMBER(MODE_TIME_NAMESPACE, VDSO_CLOCKMODE_TIMENS);

	NUMBER(CLOCKS, MAX_CLOCKS);
	NUMBER(REALTIME, CLOCK_REALTIME);
	NUMBER(FINE_CLOCKS, VDSO_HRES);
	NUMBER(COARSE_CLOCKS, VDSO_COARSE);
	NUMBER(RAW_CLOCKS, VDSO_RAW);
	NUMBER(COARSE_RESOLUTION, LOW_RES_NSEC);

	FACT(CALL_GETTIME, "usize", __NR_clock_gettime);
	FACT(CALL_GETRES, "usize", __NR_clock_getres);

	NUMBER(CPU_SEGMENT, __CPUNODE_SEG);
	NUMBER(CPU_BITS, VDSO_CPUNODE_BITS);
	NUMBER(CPU_MASK, VDSO_CPUNODE_MASK);

	SWITCH(TIME_NAMESPACES, CONFIG_TIME_NS);
	SWITCH(PVCLOCK, CONFIG_PARAVIRT_CLOCK);
	PLACE(PV_VERSION, pvclock_vcpu_time_info, version);
	PLACE(PV_START, pvclock_vcpu_time_info, tsc_timestamp);
	PLACE(PV_TIME, pvclock_vcpu_time_info, system_time);
	PLACE(PV_MULT, pvclock_vcpu_time_info, tsc_to_system_mul);
	PLACE(PV_SHIFT, pvclock_vcpu_time_info, tsc_shift);
	PLACE(PV_FLAGS, pvclock_vcpu_time_info, flags);
	FACT(PV_STABLE, "u8", PVCLOCK_TSC_STABLE_BIT);

	SWITCH(HVCLOCK, CONFIG_HYPERV_TIMER);
#ifdef CONFIG_HYPERV_TIMER
	PLACE(HV_SEQUENCE, ms_hyperv_tsc_page, tsc_sequence);
	PLACE(HV_SCALE, ms_hyperv_tsc_page, tsc_scale);
	PLACE(HV_OFFSET, ms_hyperv_tsc_page, tsc_offset);
#else
	/* Not used, but the names have to be there. */
	FACT(HV_SEQUENCE, "usize", 0);
	FACT(HV_SCALE, "usize", 0);
	FACT(HV_OFFSET, "usize", 0);
#endif

	/* Instructions that the kernel replaces when it boots on a CPU that has better ones. */
	TEXT(read_tsc);
	rdtsc_ordered();
	END;
	TEXT(read_cpu);
	asm volatile(ALTERNATIVE("lsl %%ecx, %%eax", ".byte 0xf3, 0x0f, 0xc7, 0xf8",
				 X86_FEATURE_RDPID) : : : "eax", "ecx");
	END;
}
