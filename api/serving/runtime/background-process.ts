/**
 * Schedules a process that computes in the background behind all other processes while they leave it a quarter of a processor, and beside
 * them otherwise. A process that wakes then finds a processor at once; without this, one of a hundred wakes waits for milliseconds.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { systemEnvironment } from '../../../temporal.config.ts'

/** The longest time slice that Linux allows. A process with a shorter slice runs first. */
const sliceNs = 100_000_000
/** The number of the system call sched_setattr(2). */
const systemCalls: Partial<Record<NodeJS.Architecture, number>> = { x64: 314, arm64: 274 }

/**
 * Gives all threads the policy for batches (SCHED_BATCH of sched(7)), with long slices, and leaves their niceness. Then gives the first
 * thread the policy `SCHED_IDLE`, until it starves: it then has the policy for batches for 0.2 s. Only a process with CAP_SYS_NICE or the
 * limit RLIMIT_NICE may leave `SCHED_IDLE`, which the script tries on itself first. It ends with the process. The fields are those of
 * `struct sched_attr`. Linux before 6.12 ignores the slice. Neither Node nor the command `chrt` before 2.41 can set it.
 */
const script = `
my ($call, $slice, $pid) = @ARGV;
my ($other, $batch, $idle) = (0, 3, 5);
my ($busy_s, $waiting_s, $least, $periods) = (0.02, 0.1, 0.25, 10);
chdir("/proc/$pid") or exit 0;
my $niceness = getpriority(0, $pid);
sub use_policy {
  my ($thread, $policy) = @_;
  syscall($call, $thread + 0, pack("LLQlLQQQ", 48, $policy, 0, $niceness, 0, $slice, 0, 0), 0) == 0;
}
sub line_of {
  open(my $file, "<", $_[0]) or exit 0;
  my $line = <$file>;
  defined $line ? $line : exit 0;
}
for (glob("task/*")) {
  my ($thread) = /(\\d+)$/;
  use_policy($thread, $batch) or exit 1;
}
use_policy($$, $idle) && use_policy($$, $other) or exit 0;
my ($policy, $before, $pause, $left) = ($batch, 0, $busy_s, 0);
for (;;) {
  my ($state) = line_of("stat") =~ /.*\\) (\\w)/;
  my ($ran) = split(" ", line_of("schedstat"));
  my $starves = $state eq "R" && $ran - $before < $least * $pause * 1e9;
  $left = $starves ? $periods : $left - 1;
  my $wanted = $left > 0 ? $batch : $idle;
  use_policy($pid, $wanted) if $wanted != $policy;
  $policy = $wanted;
  $before = $ran;
  $pause = $state eq "R" ? $busy_s : $waiting_s;
  select(undef, undef, undef, $pause);
}`

/** Has no effect where Perl is missing or the system refuses it. */
export function runInBackground({ pid }: ChildProcess): void {
  const call = systemCalls[process.arch]
  if (pid === undefined || call === undefined) return
  const given = [call, sliceNs, pid].map(String)
  spawn('perl', ['-e', script, ...given], { env: systemEnvironment(), stdio: 'ignore' })
    .on('error', () => {})
    .unref()
}
