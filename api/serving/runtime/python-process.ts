/**
 * Starts the Python process of a model, whose code may be faulty or hostile. The process sees
 * its packages and the system's libraries read-only and no other file, no network, and no process but its own; it is another user than this
 * one if this one is root. Where the system does not let this user make namespaces, no such model is run.
 */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { refuse, startTied } from '@tenure/predictors'
import { noteUse } from '../../../store/python/python-environment.ts'
import { checkout, programEnvironment, systemEnvironment } from '../../../temporal.config.ts'

/** The most processes and threads of one model. */
const maxProcesses = 128
/** The most files and sockets of one of its processes, whose buffers no limit of memory counts. */
const maxFiles = 1_024
/** Requests of other models come first where the processors are busy. */
const niceness = 5

const dayMs = 86_400_000

const sources = join(checkout, 'packages', 'python', 'src')
const environment = () =>
  programEnvironment({
    OMP_NUM_THREADS: '1',
    OPENBLAS_NUM_THREADS: '1',
    MKL_NUM_THREADS: '1',
    HOME: '/tmp',
    // Libraries ask for the name of the user, and there is no file of users.
    LOGNAME: 'model',
  })

/**
 * Mounts an empty file system with the folders and links that are given before `--`, where they exist, and runs the rest of the command in it, without any capability.
 * `$0` is the user to become; 0 for none, in a namespace of users.
 */
const jail = `set -e
umask 022
# Memory that runs out is taken from here, and not from the replica.
echo 1000 >/proc/self/oom_score_adj
mount -t tmpfs -o size=256m,mode=755 tmpfs /mnt
mkdir -p /mnt/proc /mnt/dev/shm /mnt/tmp /mnt/etc
# Locks between processes, as of multiprocessing, are files in /dev/shm.
chmod 1777 /mnt/tmp /mnt/dev/shm
for file in ld.so.cache localtime; do if [ -f /etc/$file ]; then cp -L /etc/$file /mnt/etc; fi; done
while [ "$1" != -- ]; do
  if [ -L "$1" ]; then
    cp -P "$1" "/mnt$1"
  elif [ -d "$1" ]; then
    mkdir -p "/mnt$1"
    mount --rbind "$1" "/mnt$1"
    # Also what is mounted below it, whose flags a namespace of users may not drop. The list has the blanks of a name as octal numbers.
    while read -r _ _ _ _ place flags _; do
      case "$place" in "/mnt$1" | "/mnt$1"/*) mount -o "remount,bind,$flags,ro" "$(printf %b "$place")" ;; esac
    done </proc/self/mountinfo
  fi
  shift
done
shift
# Not zero, whose shared memory no limit counts.
for device in null random urandom; do : >"/mnt/dev/$device"; mount --bind "/dev/$device" "/mnt/dev/$device"; done
mount -t proc proc /mnt/proc
if [ "$0" = 0 ]; then become=; else become="--reuid $0 --regid $0 --clear-groups"; fi
# Becoming another user has forgotten that this process ends with its parent.
exec chroot /mnt setpriv --pdeathsig KILL $become --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"`

const system = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']

const isRoot = process.getuid?.() === 0
const namespaces = `unshare ${isRoot ? '' : '--user --map-root-user '}--mount --net --ipc --uts --pid --fork --kill-child`

/** Returns a command that runs another one in a file system with these folders alone, which nothing can change. */
export const jailed = (folders: readonly string[]): string[] => [
  ...namespaces.split(' '),
  '--',
  '/bin/sh',
  '-c',
  jail,
  String(isRoot ? randomInt(61_000, 65_000) : 0),
  ...new Set([...system, ...folders]),
  '--',
]

let isTried = false

/** Throws `model_unavailable` where the system does not let this user make namespaces: the code would have the rights of the replica. */
export function requireJail(interpreter: string): void {
  if (isTried) return
  const confined = [...confinedBy(interpreter), '/bin/true']
  const args = [...jailed(foldersOf(interpreter)), '/bin/sh', '-c', limited(64), ...confined]
  const { status, stderr } = spawnSync('/usr/bin/env', args, { env: systemEnvironment() })
  if (status !== 0)
    refuse(
      `the model is code, and this machine cannot keep it from the rights of the replica. That needs Linux with unshare, setpriv and prlimit of util-linux, permission to make namespaces, and filters of system calls (seccomp): ${
        String(stderr ?? '')
          .trim()
          .slice(-200) || `the attempt ended with ${status}`
      }`,
    )
  isTried = true
}

const limited = (memoryMb: number): string =>
  `ulimit -d ${memoryMb * 1_024} && exec nice -n ${niceness} prlimit --nproc=${maxProcesses} --nofile=${maxFiles} -- "$0" "$@"`

/** The beginning of a command whose memory is limited and whose calls of the kernel are filtered, before any package of a model is read. */
const confinedBy = (interpreter: string): string[] => [
  interpreter,
  '-I',
  '-S',
  join(sources, 'tenure', '_confine.py'),
]

/** Starts the server of one model. Its standard error is a pipe, and the third channel a socket. */
export function startPython(interpreter: string, memoryMb: number): ChildProcess {
  const program = [...confinedBy(interpreter), interpreter, '-m', 'tenure._serve']
  const server = ['/bin/sh', '-c', limited(memoryMb), ...program]
  const child = startTied([...jailed(foldersOf(interpreter)), ...server], { cwd: '/', env: environment() })
  // It may import a module at any time.
  const use = setInterval(() => void noteUse(interpreter), dayMs).unref()
  child.once('exit', () => clearInterval(use))
  return child
}

/** The folders of an environment, and of the Python that it was made with. */
function foldersOf(interpreter: string): string[] {
  const environment = dirname(dirname(interpreter))
  // The folder of another interpreter may be the home of a person.
  const own = existsSync(join(environment, 'pyvenv.cfg')) ? [environment] : []
  const base = dirname(dirname(realpathSync(interpreter)))
  return [...own, base, sources]
}
