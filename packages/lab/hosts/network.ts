/**
 * Makes hosts on one machine: each has a separate network, process tree, name and directory, and reaches the others only by network. This
 * process is the router between them, so it can cut any link. Must run in a separate network and mount namespace (`inside.ts`). The kernel
 * ends all processes of a host with its first one, and that one with this process, so nothing outlives a killed run.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProcessSpec, type RunningProcess, spawnProcess } from '@tenure/embedded'
import { familyOf } from '../../../test/support/servers/freeze.ts'
import { waitUntil } from '../../../test/support/serving/api-process.ts'

export const hostNames = ['lb', 'api1', 'api2', 'work1', 'work2', 'data'] as const
export type HostName = (typeof hostNames)[number]

/** A cut link: both directions, or only packets from the first host to the second. */
export interface Cut {
  from: HostName
  to: HostName
  bothWays: boolean
}

export interface NetworkHost {
  name: HostName
  address: string
  /** Its disk, which outlives the host and is invisible to other hosts. */
  directory: string
  /** Starts a process on the host; `log` keeps its output. */
  run(spec: ProcessSpec): Promise<RunningProcess>
  /** Ends all processes of the host at once. */
  lose(): Promise<void>
  /** Starts the host again after that, without its processes. */
  boot(): Promise<void>
  isUp(): boolean
}

export interface HostNetwork {
  hosts: Record<HostName, NetworkHost>
  /** The last lines of all processes. */
  lines: string[]
  cut(link: Cut): void
  heal(link: Cut): void
  /** Disconnects a host from the network, and reconnects it. */
  unplug(name: HostName): void
  plug(name: HostName): void
  stop(): Promise<void>
}

const keptLines = 4_000
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })
const numberOf = (name: HostName): number => hostNames.indexOf(name) + 1
export const hostAddress = (name: HostName): string => `10.77.${numberOf(name)}.2`

/** Reaps orphaned processes and never ends by itself. */
const firstProcess = 'while :; do sleep 1000 & wait $!; done'

/** `root` is a directory that other users may enter. */
export async function openHosts(root: string): Promise<HostNetwork> {
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
  ip('link', 'set', 'lo', 'up')
  const lines: string[] = []
  const running = new Map<HostName, { pid: number; exited: Promise<void> }>()
  const say = (text: string): void => {
    lines.push(text)
    if (lines.length > keptLines) lines.shift()
  }
  for (const name of hostNames) mkdirSync(join(root, name, 'tmp'), { recursive: true, mode: 0o711 })

  const boot = async (name: HostName): Promise<void> => {
    const others = hostNames.filter((each) => each !== name)
    const hidden = others.map((each) => `mount -t tmpfs none '${join(root, each)}'`)
    const script = [...hidden, 'ip link set lo up', `hostname ${name}`, firstProcess].join('\n')
    const separate = ['--net', '--pid', '--mount', '--uts', '--mount-proc', '--fork', '--kill-child']
    const holder = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', 'unshare', ...separate, 'sh', '-ec', script],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    holder.stderr.on('data', (text: Buffer) => say(`${name} ${text.toString().trim()}`))
    const exited = new Promise<void>((resolve) => holder.once('exit', () => resolve()))
    let pid = 0
    await waitUntil(() => {
      pid = familyOf(holder.pid!)[1] ?? 0
      return pid !== 0 && hostnameOf(pid) === name
    }, `the host ${name}`)
    running.set(name, { pid, exited })
    const cable = `to-${name}`
    ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid))
    ip('address', 'add', `10.77.${numberOf(name)}.1/24`, 'dev', cable)
    ip('link', 'set', cable, 'up')
    const within = (...args: string[]) =>
      void execFileSync('nsenter', ['--target', String(pid), '--net', '--', 'ip', ...args], { stdio: 'pipe' })
    within('address', 'add', `${hostAddress(name)}/24`, 'dev', 'eth0')
    within('link', 'set', 'eth0', 'up')
    within('route', 'add', 'default', 'via', `10.77.${numberOf(name)}.1`)
  }
  const hostOf = (name: HostName): NetworkHost => ({
    name,
    address: hostAddress(name),
    directory: join(root, name),
    run(spec) {
      const { pid } = running.get(name) ?? {}
      if (pid === undefined) throw new Error(`the host ${name} is down`)
      const enter = ['--target', String(pid), '--net', '--pid', '--mount', '--uts', `--wd=${spec.cwd ?? '/'}`]
      const as = spec.userId === undefined ? [] : [`--setuid=${spec.userId}`, `--setgid=${spec.userId}`]
      return spawnProcess(
        {
          ...spec,
          command: 'nsenter',
          args: [...enter, ...as, '--', spec.command, ...spec.args],
          userId: undefined,
          cwd: '/',
        },
        (line) => say(`${name} ${spec.name} ${line}`),
      )
    },
    async lose() {
      const { pid, exited } = running.get(name)!
      running.delete(name)
      process.kill(pid, 'SIGKILL')
      await exited
    },
    boot: () => boot(name),
    isUp: () => running.has(name),
  })
  const rules = ({ from, to, bothWays }: Cut): [string, string][] => [
    [hostAddress(from), hostAddress(to)],
    ...(bothWays ? ([[hostAddress(to), hostAddress(from)]] as [string, string][]) : []),
  ]
  const network: HostNetwork = {
    hosts: Object.fromEntries(hostNames.map((name) => [name, hostOf(name)])) as Record<HostName, NetworkHost>,
    lines,
    cut: (link) =>
      rules(link).forEach(([from, to]) => ip('rule', 'add', 'from', from, 'to', to, 'blackhole')),
    heal: (link) =>
      rules(link).forEach(([from, to]) => ip('rule', 'del', 'from', from, 'to', to, 'blackhole')),
    unplug: (name) => ip('link', 'set', `to-${name}`, 'down'),
    plug: (name) => ip('link', 'set', `to-${name}`, 'up'),
    async stop() {
      await Promise.all([...running.keys()].map((name) => network.hosts[name].lose()))
    },
  }
  for (const name of hostNames) await boot(name)
  return network
}

/** Reads the host name, which the first process of a host sets when the host is ready. */
function hostnameOf(pid: number): string {
  try {
    return execFileSync('nsenter', ['--target', String(pid), '--uts', '--', 'hostname'], {
      encoding: 'utf8',
    }).trim()
  } catch {
    return ''
  }
}
