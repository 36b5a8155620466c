/** Starts, awaits and stops processes on a host. */
import { connect } from 'node:net'
import { existsSync } from 'node:fs'
import type { ProcessSpec, RunningProcess } from '@tenure/embedded'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'
import { familyOf } from '../../../test/support/servers/freeze.ts'
import { waitUntil } from '../../../test/support/serving/api-process.ts'
import type { HostName, HostNetwork } from './network.ts'

/** Waits until the process is ready. */
export async function startOn(
  { hosts, lines }: HostNetwork,
  name: HostName,
  spec: ProcessSpec,
): Promise<RunningProcess> {
  const running = await hosts[name].run(spec)
  let ended = false
  void running.exited.then(() => (ended = true))
  await waitUntil(async () => {
    if (ended) throw new Error(`${spec.name} on ${name} has ended:\n${lines.slice(-30).join('\n')}`)
    return spec.isReady === undefined || (await spec.isReady(running.pid).catch(() => false))
  }, `${spec.name} on ${name}`)
  return running
}

/** Runs a command to its end. */
export async function runOn({ hosts, lines }: HostNetwork, name: HostName, spec: ProcessSpec): Promise<void> {
  const { code } = await (await hosts[name].run(spec)).exited
  if (code !== 0)
    throw new Error(`${spec.args.join(' ')} on ${name} ended with ${code}:\n${lines.slice(-30).join('\n')}`)
}

/**
 * Stops the process by SIGTERM, as a service manager does. The started process is a wrapper that entered the host, and ends before the
 * process inside.
 */
export async function endOn(running: RunningProcess): Promise<void> {
  const family = familyOf(running.pid)
  running.kill('SIGTERM')
  await waitUntil(() => !family.some((pid) => existsSync(`/proc/${pid}`)), 'the end of a process')
}

export const answersOk = (url: string): Promise<boolean> =>
  outgoingFetch(url, { privateHosts: 'all', maxBytes: 0, maxMs: 1_000 }).then(
    async (answer) => {
      await answer.discard()
      return answer.ok
    },
    () => false,
  )

export const isOpen = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
