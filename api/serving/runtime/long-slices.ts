/**
 * Schedules a process that computes in the background: it keeps its share of the processors, but interrupts no other process when it wakes,
 * and a process that wakes interrupts it. Without it, one of a hundred wakes waits about 3 ms until the end of a time slice.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { systemEnvironment } from '../../../temporal.config.ts'

/** The longest time slice that Linux allows. A process with a shorter slice runs first. */
const sliceNs = 100_000_000
/** The number of the system call sched_setattr(2). */
const systemCalls: Partial<Record<NodeJS.Architecture, number>> = { x64: 314, arm64: 274 }
/** SCHED_BATCH of sched(7). */
const batchPolicy = 3

/**
 * Sets the policy and the slice of all threads of a process, and leaves its niceness. The fields are those of `struct sched_attr`. Linux
 * before 6.12 ignores the slice. Neither Node nor the command `chrt` before 2.41 can set it.
 */
const script = `
my ($call, $policy, $slice, $pid) = @ARGV;
my $niceness = getpriority(0, $pid);
for (glob("/proc/$pid/task/*")) {
  my ($thread) = /(\\d+)$/;
  syscall($call, $thread + 0, pack("LLQlLQQQ", 48, $policy, 0, $niceness, 0, $slice, 0, 0), 0) == 0 or exit 1;
}`

/** Has no effect where Perl is missing or the system refuses it. */
export function useLongSlices({ pid }: ChildProcess): void {
  const call = systemCalls[process.arch]
  if (pid === undefined || call === undefined) return
  const given = [call, batchPolicy, sliceNs, pid].map(String)
  spawn('perl', ['-e', script, ...given], { env: systemEnvironment(), stdio: 'ignore' })
    .on('error', () => {})
    .unref()
}
