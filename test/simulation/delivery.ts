/** Records commands of users and delivers them, as the API does: a row first, then a message that names it, again until it is answered. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Role } from '../../domain/roles.ts'
import type { Store } from '../../store/postgres.ts'
import {
  claimDueCommands,
  findAnswer,
  insertCommand,
  markCommandSent,
  reschedule,
  type CommandAnswer,
  type DueCommand,
} from '../../store/commands.ts'
import { applyCommands, findRelease } from '../../store/release/releases.ts'
import { idOfCommand, recordedCommand } from './recorded-rows.ts'
import type { PlannedCommand } from './scenario.ts'
import type { Machine, Temporal, World } from '@tenure/simulator'

interface Sender {
  world: World
  /** The machine of the API. */
  machine: Machine
  store: Store
  temporal: Temporal
  workflowId: string
}

/** How long a message may take before it is sent without its sender, or again. */
const againMs = 2_500
const leaseMs = 1_500
const lookMs = 700

/** Records the command and sends its message. A command to a release without a row is a message that names nothing. */
export async function sendCommand(
  { world, machine, store, temporal, workflowId }: Sender,
  said: Omit<PlannedCommand, 'atMs' | 'copies'>,
  {
    firstRunId,
    release,
    role,
    onRecorded,
    onSignal,
    onAnswer,
  }: {
    firstRunId: string
    release: string
    role: Role | undefined
    onRecorded: (id: string) => void
    /** The run of the release has the signal. */
    onSignal: (id: string) => void
    onAnswer: (id: string, answer: CommandAnswer) => void
  },
): Promise<void> {
  const found = await findRelease(store, release)
  const id = idOfCommand(found ? said : { ...said, id: `forged ${said.id}` }, release)
  if (found) {
    const row = recordedCommand(said, found.state, role)
    // Before, because the answer of the database may be lost.
    onRecorded(id)
    await store.transaction((database) => insertCommand(database, row, { deliverInMs: againMs }))
  }
  const { command, isSignal } = said
  world.send(machine, temporal.machine, () => {
    const isItsRun = temporal.running(workflowId)?.info.firstRunId === firstRunId
    if (isSignal && isItsRun) onSignal(id)
    if (isSignal) return temporal.signal(workflowId, command, { command: id })
    if (!isItsRun) return undefined
    return temporal.update(workflowId, command, id, { command: id }, (answer) => {
      if (!('result' in answer)) return
      // The row is the answer, whatever the workflow says.
      void findAnswer(store, { id, release }).then(
        (stored) => stored && onAnswer(id, stored),
        () => {},
      )
    })
  })
}

/** Delivers due commands for ever. */
export async function deliverForEver(sender: Sender): Promise<never> {
  for (;;) {
    await deliver(sender).catch(() => {})
    await pause(lookMs)
  }
}

async function deliver(sender: Sender): Promise<void> {
  const { store } = sender
  for (const item of await claimDueCommands(store, { limit: 20, leaseMs }))
    await deliverOne(sender, item).catch((error: Error) =>
      reschedule(store, { id: item.id, problem: error.message, againMs: lookMs }),
    )
}

async function deliverOne(sender: Sender, item: DueCommand): Promise<void> {
  const { store } = sender
  const { id, releaseId: release, outcome, isIgnored } = item
  const isSent = await signal(sender, item)
  if (!isSent && outcome === undefined) throw new Error('the release has no workflow run')
  if (!isSent || isIgnored)
    await store.transaction((database) => applyCommands(database, { release, seen: 0 }))
  await markCommandSent(store, { id, againMs })
}

/** Whether the run of the release could be told. */
const signal = (
  { world, machine, temporal }: Sender,
  { id, kind, workflowId, runId }: DueCommand,
): Promise<boolean> =>
  new Promise((resolve, reject) => {
    // The clock of the API's machine, because the call may be lost.
    void pause(lookMs).then(() => reject(new Error('Temporal did not answer')))
    world.send(machine, temporal.machine, () => {
      const isRunning = temporal.running(workflowId)?.info.firstRunId === runId
      if (isRunning) temporal.signal(workflowId, kind, { command: id })
      world.send(temporal.machine, machine, () => resolve(isRunning))
    })
  })
