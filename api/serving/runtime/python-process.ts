/**
 * Starts the Python process of a model, whose code may be faulty or hostile. Where the system lets this user make namespaces, the process sees
 * its packages and the system's libraries read-only and no other file, no network, and no process but its own; it is another user than this
 * one if this one is root. Otherwise it has the limits of memory and processes alone.
 */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { startTied } from '@tenure/predictors'
import { checkout, programEnvironment, systemEnvironment } from '../../../temporal.config.ts'

/** The most processes and threads of one model. */
const maxProcesses = 128
/** Requests of other models come first where the processors are busy. */
const niceness = 5

const sources = join(checkout, 'packages', 'python', 'src')
const environment = () =>
  programEnvironment({ OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1', MKL_NUM_THREADS: '1', HOME: '/tmp' })

/**
 * Mounts an empty file system with the folders that are given before `--`, and runs the rest of the command in it, without any capability.
 * `$0` is the user to become; 0 for none, in a namespace of users.
 */
const jail = `set -e
umask 022
mount -t tmpfs -o size=256m,mode=755 tmpfs /mnt
mkdir /mnt/proc /mnt/dev /mnt/tmp /mnt/etc
chmod 1777 /mnt/tmp
for link in /bin /sbin /lib /lib32 /lib64 /libx32; do if [ -L "$link" ]; then cp -P "$link" /mnt; fi; done
for file in ld.so.cache localtime; do if [ -f /etc/$file ]; then cp -L /etc/$file /mnt/etc; fi; done
while [ "$1" != -- ]; do
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    mkdir -p "/mnt$1"
    mount --rbind "$1" "/mnt$1"
    mount -o remount,bind,ro "/mnt$1"
  fi
  shift
done
shift
for device in null zero random urandom; do : >"/mnt/dev/$device"; mount --bind "/dev/$device" "/mnt/dev/$device"; done
mount -t proc proc /mnt/proc
if [ "$0" = 0 ]; then become=; else become="--reuid $0 --regid $0 --clear-groups"; fi
# Becoming another user has forgotten that this process ends with its parent.
exec chroot /mnt setpriv --pdeathsig KILL $become --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"`

const system = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/opt']

/** What a process is kept from, for the log and the pages of versions. */
export type Isolation = 'namespaces' | 'limits'

const isRoot = process.getuid?.() === 0
const namespaces = `unshare ${isRoot ? '' : '--user --map-root-user '}--mount --net --ipc --uts --pid --fork --kill-child`

/** Returns a command that runs another one in a file system with these folders alone. */
const jailed = (folders: readonly string[]): string[] => [
  ...namespaces.split(' '),
  '--',
  '/bin/sh',
  '-c',
  jail,
  String(isRoot ? randomInt(61_000, 65_000) : 0),
  ...system,
  ...folders,
  '--',
]

let found: Isolation | undefined

/** Tries it once. */
export function isolationOfPython(): Isolation {
  const args = [...jailed([]), '/bin/sh', '-c', 'exit 0']
  found ??=
    spawnSync('/usr/bin/env', args, { env: systemEnvironment() }).status === 0 ? 'namespaces' : 'limits'
  return found
}

/** Starts the server of one model. Its standard error is a pipe, and the third channel a socket. */
export function startPython(interpreter: string, memoryMb: number): ChildProcess {
  const limits = `ulimit -d ${memoryMb * 1_024} && exec nice -n ${niceness} prlimit --nproc=${maxProcesses} -- "$0" "$@"`
  const server = ['/bin/sh', '-c', limits, interpreter, '-m', 'tenure._serve']
  const command =
    isolationOfPython() === 'namespaces' ? [...jailed(foldersOf(interpreter)), ...server] : server
  return startTied(command, { cwd: '/', env: environment() })
}

/** The folders of an environment, and of the Python that it was made with. */
function foldersOf(interpreter: string): string[] {
  const own = dirname(dirname(interpreter))
  const base = dirname(dirname(realpathSync(interpreter)))
  return [...new Set([own, base, sources])].filter((folder) => folder !== '/usr' && existsSync(folder))
}
