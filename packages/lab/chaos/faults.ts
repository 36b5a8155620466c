/** Draws the faults of a run from its seed, and injects a fault with its repair. */
import { randomUUID } from 'node:crypto'
import { replicaName } from '../../../cli/supervisor/rolling-restart.ts'
import { seededRandom } from '@tenure/sequential'
import type * as workflows from '../../../workflows/index.ts'
import { listOpenWorkflows } from '../../../workflows/client/inspect.ts'
import { freeze } from '../../../test/support/servers/freeze.ts'
import { cutDirections } from '../../../test/support/fleet/proxy.ts'
import type { ChaosStage } from './stage.ts'

export const faultKinds = ['kill', 'freeze', 'cut', 'clock', 'garbage', 'full disk'] as const
export type FaultKind = (typeof faultKinds)[number]

export interface PlannedFault {
  kind: FaultKind
  /** The target process, link, or a randomly chosen workflow. */
  target: string
  /** Seconds from the start of the run. */
  atMs: number
  forMs: number
  /** Random number from 0 to 1 for the remaining choices. */
  chance: number
}

const processes = [replicaName(0), replicaName(1), 'control', 'train', 'temporal', 'postgres']
const clients = processes.slice(0, 4)
const weights: Record<FaultKind, number> = {
  kill: 5,
  freeze: 4,
  cut: 3,
  clock: 2,
  garbage: 2,
  'full disk': 1,
}
/** Interval between the starts of faults, so that one may begin while another lasts. */
const everyMs = { min: 5_000, max: 15_000 }
/** Time until a replica serves again. Only one of two replicas is struck at a time: no installation of two survives the loss of both. */
const recoveryMs = 10_000

/** Returns the plan; the same seed gives the same faults. */
export function planFaults(seed: number, runMs: number, kinds: readonly FaultKind[]): PlannedFault[] {
  const random = seededRandom(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const between = (min: number, max: number) => Math.round(min + random() * (max - min))
  const bag = kinds.flatMap((kind) => Array.from({ length: weights[kind] }, () => kind))
  const plan: PlannedFault[] = []
  let replica = { target: '', untilMs: 0 }
  for (let atMs = everyMs.min; atMs < runMs; atMs += between(everyMs.min, everyMs.max)) {
    const kind = pick(bag)
    const targets: Record<FaultKind, () => string> = {
      kill: () => pick(processes),
      freeze: () => pick(processes),
      cut: () => `${pick(clients)} → ${pick(['postgres', 'temporal'])}`,
      clock: () => pick([...clients, 'postgres']),
      garbage: () => 'workflows',
      'full disk': () => 'all state',
    }
    let target = targets[kind]()
    const forMs = between(2_000, 10_000)
    if (isDown(kind) && target.startsWith('api')) {
      if (replica.untilMs > atMs) target = replica.target
      replica = { target, untilMs: Math.max(replica.untilMs, atMs + forMs + recoveryMs) }
    }
    plan.push({ kind, target, atMs, forMs, chance: random() })
  }
  return plan
}

/** Returns whether the fault stops a process. */
const isDown = (kind: FaultKind): boolean => kind === 'kill' || kind === 'freeze'

const minuteMs = 60_000
const steps = [5, 60, 1_440].flatMap((minutes) => [minutes * minuteMs, -minutes * minuteMs])

/** Injects a fault and returns its repair. */
export async function strike(stage: ChaosStage, fault: PlannedFault): Promise<() => void> {
  const { kind, target, chance } = fault
  const of = <T>(from: readonly T[]): T => from[Math.floor(chance * from.length)]!
  const none = () => {}
  switch (kind) {
    case 'kill': {
      const pid = stage.supervision.pidOf(target)
      if (pid !== undefined) process.kill(pid, 'SIGKILL')
      return none
    }
    case 'freeze': {
      const pid = stage.supervision.pidOf(target)
      return pid === undefined ? none : freeze(pid)
    }
    case 'cut': {
      const link = stage.links.get(target)!
      link.cut(of(cutDirections))
      return () => link.heal()
    }
    case 'clock': {
      const clock = stage.clocks.get(target)!
      clock.set(of(steps))
      return () => clock.set(0)
    }
    case 'garbage':
      await sendGarbage(stage, of).catch(none)
      return none
    case 'full disk':
      stage.disk!.fill()
      return () => stage.disk!.free()
    default:
      return kind satisfies never
  }
}

const encodings = ['binary/encrypted', 'binary/protobuf', 'json/protobuf', 'json/plain', 'unknown']
const signals = ['approve', 'rollback', 'abort', 'supersede', 'wake', 'queueChanged', '__proto__']
/** A workflow type that no worker has would stay blocked, as its alert says, until a user ends it. */
const starts: (keyof typeof workflows)[] = [
  'release',
  'retrain',
  'trial',
  'sweep',
  'drill',
  'monitor',
  'batchPredict',
]

/** Sends unreadable payloads: a signal to each open workflow, and one start. */
async function sendGarbage(stage: ChaosStage, of: <T>(from: readonly T[]) => T): Promise<void> {
  const { client, config } = stage
  const { namespace } = config.temporal
  const metadata = { encoding: Buffer.from(of(encodings)) }
  const input = { payloads: [{ metadata, data: Buffer.from([8, 150, 1]) }] }
  const { workflowService } = client
  for (const workflowId of await listOpenWorkflows(client, config.taskQueues.control))
    await workflowService.signalWorkflowExecution({
      namespace,
      workflowExecution: { workflowId },
      signalName: of(signals),
      input,
    })
  await workflowService.startWorkflowExecution({
    namespace,
    workflowId: `garbage/${randomUUID()}`,
    requestId: randomUUID(),
    workflowType: { name: of(starts) },
    taskQueue: { name: config.taskQueues.control },
    input,
  })
}
