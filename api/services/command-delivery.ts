/**
 * Sends what was written down for releases while Temporal was away, and starts what was to be started. Every replica does it, for a
 * replica that died may be the one that had taken a command in. To a release it sends by signal, which Temporal keeps although no
 * worker is back yet, and it sends again until the release has answered: between sending and saying so a process may die, and a run
 * may end over a signal that nobody has read.
 */
import { setTimeout as pause } from 'node:timers/promises'
import {
  claimDue,
  markCommandSent,
  reschedule,
  refuseParcel,
  type OutboxItem,
  type Start,
} from '../../store/release/command-outbox.ts'
import { commandSignals, type Command } from '../../workflows/messages.ts'
import type { RouteDefinition } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { runDeferred } from './deferred-commands.ts'
import { callTimeoutMs } from '../temporal/client.ts'
import { isNotFound } from '../temporal/errors.ts'

type Deps = Pick<ApiDeps, 'store' | 'temporal' | 'log'> & { routes: readonly RouteDefinition[] }

export const deliveryPolicy = {
  /** How often it is looked for what waits, and whether Temporal is back. */
  lookMs: 1_000,
  /** How long a command is one replica's: longer than sending takes. */
  leaseMs: 5_000,
  atOnce: 20,
  /** How long the release has for its answer before it is told again; twice as long each time. */
  firstAgainMs: 15_000,
  longestAgainMs: 300_000,
}
export type DeliveryPolicy = typeof deliveryPolicy

/** Delivers until the returned function is called. */
export function startDelivery(
  deps: Deps,
  onError: (what: string, error?: unknown) => void,
  policy: DeliveryPolicy = deliveryPolicy,
): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping
  const go = async (): Promise<void> => {
    while (!signal.aborted) {
      const isMore = await deliverDue(deps, policy).catch((error: unknown) => {
        onError('commands that wait for Temporal could not be read', error)
        return false
      })
      if (!isMore) await pause(policy.lookMs, undefined, { signal }).catch(() => {})
    }
  }
  const done = go()
  return () => {
    stopping.abort()
    return done
  }
}

/** Sends what is due. Answers whether there may be more. */
export async function deliverDue(deps: Deps, policy: DeliveryPolicy = deliveryPolicy): Promise<boolean> {
  const { store, log } = deps
  const parcels = await claimDue(store, { limit: policy.atOnce, leaseMs: policy.leaseMs })
  const ends = await Promise.all(
    parcels.map(async (parcel) => {
      const { id, releaseId: release, model, command } = parcel
      try {
        const end = await (isStart(parcel) ? runDeferred(deps, parcel) : deliver(deps, parcel, policy))
        log.info({ release, model, command, outbox: id, end }, 'recorded command')
        return true
      } catch (error) {
        await reschedule(store, { id, problem: (error as Error).message, againMs: policy.lookMs })
        return false
      }
    }),
  )
  return ends.length > 0 && ends.every(Boolean)
}

const againMs = ({ times }: OutboxItem, { firstAgainMs, longestAgainMs }: DeliveryPolicy): number =>
  Math.min(longestAgainMs, firstAgainMs * 2 ** Math.min(times, 10))

const isStart = (parcel: OutboxItem | Start): parcel is Start => parcel.releaseId === null

async function deliver(
  { store, temporal }: Deps,
  parcel: OutboxItem,
  policy: DeliveryPolicy,
): Promise<'sent' | 'refused'> {
  const { workflowId, command, message, outcome } = parcel
  const runId = await temporal.call(callTimeoutMs, (client) => findRun(client, parcel))
  if (runId === undefined) {
    // The control workers close what is open in the database without a run.
    if (outcome === null) throw new Error('no workflow carries the release, which is about to be closed')
    await refuseParcel(store, parcel, `the release has ended: ${outcome}`)
    return 'refused'
  }
  const said: Command = message
  await temporal.call(callTimeoutMs, (client) =>
    client.workflow.getHandle(workflowId, runId).signal(commandSignals[command], said),
  )
  await markCommandSent(store, { id: parcel.id, againMs: againMs(parcel, policy) })
  return 'sent'
}

type Client = Parameters<Parameters<Deps['temporal']['call']>[1]>[0]

/** The run that carries the release now: by the workflow id alone another release of the model would be told. */
async function findRun(
  client: Client,
  { workflowId, runId: first }: OutboxItem,
): Promise<string | undefined> {
  try {
    const { status, runId, raw } = await client.workflow.getHandle(workflowId).describe()
    const isOurs = (raw.workflowExecutionInfo?.firstRunId || runId) === first
    return isOurs && status.name === 'RUNNING' ? runId : undefined
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}
