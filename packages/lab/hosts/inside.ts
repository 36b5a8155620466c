/** Runs a script of this folder in a separate network and mount namespace, and reports where that is not possible. */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnProcess } from '@tenure/embedded'
import { checkout, environmentWith } from '../../../temporal.config.ts'

const programs = ['unshare', 'nsenter', 'setpriv', 'ip', 'haproxy']

/** Returns why this machine cannot make hosts; undefined when it can. */
export function whyNoHosts(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can make network namespaces'
  const path = (environmentWith({})['PATH'] ?? '').split(':')
  const missing = programs.filter(
    (name) => ![...path, '/usr/sbin'].some((each) => existsSync(`${each}/${name}`)),
  )
  if (missing.length > 0)
    return `${missing.join(', ')} missing: apt-get install util-linux iproute2 haproxy brings them`
  try {
    const make =
      'ip link add probe0 type veth peer name probe1 && ip rule add from 10.77.1.2 to 10.77.2.2 blackhole'
    execFileSync('unshare', ['--net', '--mount', '--pid', '--uts', '--fork', 'sh', '-c', make], {
      stdio: 'pipe',
    })
    return undefined
  } catch (error) {
    return `this machine allows no namespaces: ${String((error as { stderr?: Buffer }).stderr).trim()}`
  }
}

/**
 * Runs the script with `--inside` and these arguments, and returns its exit code. Its processes and disks end with it, and it ends with
 * this process.
 */
export async function runInside(
  args: readonly string[],
  onLine: (line: string) => void,
  entry = fileURLToPath(new URL('./hosts.ts', import.meta.url)),
): Promise<number | null> {
  const root = mkdtempSync(join(tmpdir(), 'tenure-hosts-'))
  // Postgres runs as another user.
  chmodSync(root, 0o711)
  const running = await spawnProcess(
    {
      name: 'hosts',
      command: 'unshare',
      args: [...separate, process.execPath, '--import', 'tsx', entry, '--inside', '--root', root, ...args],
      cwd: checkout,
      env: environmentWith({}),
    },
    onLine,
  )
  const end = () => running.kill('SIGKILL')
  for (const signal of endings) process.on(signal, end)
  const { code } = await running.exited
  for (const signal of endings) process.off(signal, end)
  // The last processes of the hosts may still be ending.
  rmSync(root, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 })
  return code
}

const separate = ['--net', '--mount', '--propagation', 'private', '--']
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
