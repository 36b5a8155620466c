/** Kills Temporal in the real system, keeps it down for a chosen time, and reports when it is available again. */
import { Client, Connection } from '@temporalio/client'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ChildSpec } from '../../../cli/supervisor/supervisor.ts'
import { startRealSystem, type RealSystem, type RealSystemOptions } from './system-fixture.ts'

export interface OutageSystem extends RealSystem {
  /** Sends kill -9; the replacement that the supervisor starts waits for `heal`. */
  hold(): void
  /** Lets Temporal start and resolves with the time of its first response. */
  release(): Promise<number>
}

export async function startOutageSystem(
  options: Pick<RealSystemOptions, 'replicas' | 'leaseMs'>,
): Promise<OutageSystem> {
  let latch = ''
  const waiting = (spec: ChildSpec): ChildSpec => ({
    ...spec,
    command: 'sh',
    args: ['-c', 'while [ -e "$0" ]; do sleep 0.1; done; exec "$@"', latch, spec.command, ...spec.args],
  })
  const system = await startRealSystem({
    ...options,
    changes: ({ stateDir }) => {
      latch = join(stateDir, 'temporal-is-held')
      return Promise.resolve((spec) => (spec.name === 'temporal' ? waiting(spec) : spec))
    },
  })
  return {
    ...system,
    hold() {
      writeFileSync(latch, '')
      system.signal('temporal', 'SIGKILL')
    },
    release() {
      rmSync(latch)
      return temporalAnswers(system)
    },
  }
}

/** How long one attempt to reach it takes. */
const attemptMs = 500

/** Resolves with the time of Temporal's first response. */
export async function temporalAnswers(system: Pick<RealSystem, 'config'>): Promise<number> {
  for (;;) {
    const found = await freshClient(system, attemptMs).catch(() => undefined)
    if (found !== undefined) {
      const atMs = Date.now()
      await found.close()
      return atMs
    }
    await pause(50)
  }
}

/** Uses a new connection; a connection that has failed backs off for longer and longer. */
export async function freshClient({ config }: Pick<RealSystem, 'config'>, connectTimeout = 200_000) {
  const connection = await Connection.connect({
    address: config.temporal.address,
    connectTimeout,
    channelArgs: { 'grpc.use_local_subchannel_pool': 1 },
  })
  const client = new Client({ connection, namespace: config.temporal.namespace })
  return { client, close: () => connection.close() }
}
