/**
 * Draws the scenario of a run from its seed: policy, users and their commands, candidates' behaviour, machines and faults. Everything is
 * drawn before the run begins, so that a trace can show it.
 */
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { CommandName } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import type { World } from '@tenure/simulator'

export type Mode = 'safety' | 'liveness'

export interface PlannedCommand {
  atMs: number
  command: CommandName
  by: string
  id: string
  reason?: string
  /** The digests that the sender has seen, when they differ from the release. */
  digest?: 'artifactDigest' | 'evaluationDigest'
  isSignal: boolean
  /** How often and how late the command is sent. */
  copies: number[]
}

export interface Fault {
  atMs: number
  kind:
    | 'crash worker'
    | 'freeze worker'
    | 'freeze in a step'
    | 'cut worker'
    | 'crash replica'
    | 'freeze replica'
    | 'cut replica'
    | 'cut replica one way'
    | 'cut in a step'
    | 'hold a step'
    | 'restore in a step'
    | 'command at a verdict'
    | 'restart database'
    | 'freeze database'
    | 'restore database'
    | 'freeze temporal'
    | 'slow network'
    | 'step clock'
    | 'lose counters'
    | 'lose bytes'
    | 'revoke key'
    | 'change evidence'
    | 'move champion'
    | 'terminate'
    | 'cancel'
    | 'roll back model'
    | 'die before telling'
  forMs: number
  which: number
}

export interface PlannedRelease {
  atMs: number
  version: string
  by: string
  invalid: number
  commands: PlannedCommand[]
}

export interface Scenario {
  mode: Mode
  policy: ReleasePolicy
  hasChampion: boolean
  replicas: number
  workers: number
  leaseMs: number
  callers: number
  longHistory: number
  /** Whether the workflow is that of an attacker who reaches Temporal: it accepts every command and looks at none. */
  isDeaf: boolean
  releases: PlannedRelease[]
  faults: Fault[]
  /** When faults stop. */
  healsAtMs: number
  untilMs: number
}

export const keys: readonly { name: string; role: Role; models?: string[] }[] = [
  { name: 'anna', role: 'approver' },
  { name: 'ben', role: 'approver' },
  { name: 'rita', role: 'approver' },
  { name: 'olga', role: 'operator' },
  { name: 'root', role: 'admin' },
  { name: 'vera', role: 'viewer' },
  { name: 'fred', role: 'approver', models: ['other'] },
]

function policyOf(world: World): ReleasePolicy {
  // Where two requests are enough, only the minimum time prevents a stage from passing at its first looks.
  const [minMs, minRequests] = world.pick([
    [500, 8],
    [500, 8],
    [500, 8],
    [900, 2],
  ] as const)
  const step = { minMs, minRequests, deadlineMs: 3_000 }
  const strategy = world.pick([
    'canary',
    'canary',
    'canary',
    'canary',
    'rolling',
    'blue_green',
    'shadow',
    'direct',
  ] as const)
  return {
    strategy,
    approval: { approvers: world.pick([1, 1, 1, 2, 2, 0]), withinMs: 3_000 },
    ...(strategy === 'shadow' || world.chance(0.5) ? { shadow: { ...step, shareBp: 10_000 } } : {}),
    // Derived from earlier draws, so that the following draws stay the same.
    ...(strategy === 'canary' && minMs === 900
      ? { targeted: { ...step, target: { routingKeys: ['caller-0', 'caller-1', 'caller-2', 'caller-3'] } } }
      : {}),
    stages: [
      { ...step, shareBp: 2_000 },
      { ...step, shareBp: 5_000 },
    ],
    ...(world.chance(0.7) ? { probation: { ...step, holdbackBp: 2_000 } } : {}),
    watch: { tickMs: 200, everyMs: 250, exposureMs: 1_200, acknowledgeMs: 2_400, decisionMs: 2_000 },
    limits: { ...defaultCanaryPolicy, maxStaleMs: 1_500, promotion: 'off', srm: 'off' },
  }
}

const faultKinds: readonly (readonly [Fault['kind'], number])[] = [
  ['crash worker', 5],
  ['freeze worker', 6],
  ['freeze in a step', 5],
  ['cut worker', 3],
  ['crash replica', 5],
  ['freeze replica', 4],
  ['cut replica', 4],
  ['cut replica one way', 2],
  ['cut in a step', 4],
  ['hold a step', 4],
  ['restore in a step', 3],
  ['command at a verdict', 3],
  ['restart database', 2],
  ['freeze database', 1],
  ['restore database', 4],
  ['freeze temporal', 2],
  ['slow network', 4],
  ['step clock', 2],
  ['lose counters', 4],
  ['lose bytes', 1],
  ['revoke key', 1],
  ['change evidence', 1],
  ['move champion', 1],
  ['terminate', 1],
  ['cancel', 1],
  ['roll back model', 2],
  ['die before telling', 5],
]
const weights = faultKinds.reduce((sum, [, weight]) => sum + weight, 0)

function faultOf(world: World, untilMs: number): Fault {
  let at = world.random() * weights
  const kind = faultKinds.find(([, weight]) => (at -= weight) < 0)?.[0] ?? 'crash worker'
  return {
    // Strikes that wait for a step are armed early, because a run has few such steps.
    atMs: /a step|a verdict/.test(kind) ? world.between(0, 1_000) : world.between(300, untilMs),
    kind,
    forMs: world.between(200, world.pick([1_000, 2_500, 5_000])),
    which: world.int(100),
  }
}

/**
 * Draws the commands of a release. Half of the runs follow the usual course with a few disturbances; the other half receive all commands at
 * any moment.
 */
function commandsOf(world: World, index: number, startMs: number, by: string): PlannedCommand[] {
  const commands: PlannedCommand[] = []
  const say = (command: CommandName, who: string, atMs: number, more: Partial<PlannedCommand> = {}) => {
    const copies = [0]
    while (world.chance(0.25)) copies.push(world.between(0, 4_000))
    commands.push({
      atMs,
      command,
      by: who,
      id: `c${index}-${commands.length}`,
      isSignal: world.chance(0.5),
      copies,
      ...(world.chance(0.8) ? { reason: 'because' } : {}),
      ...more,
    })
  }
  const approvers = ['anna', 'ben', 'rita', 'root'].filter((name) => name !== by)
  if (world.chance(0.85)) {
    say('approve', approvers[0]!, startMs + world.between(100, 1_200))
    if (world.chance(0.8)) say('approve', approvers[1]!, startMs + world.between(100, 2_500))
  }
  if (world.chance(0.4)) say('approve', by, startMs + world.between(50, 1_500))
  if (world.chance(0.2)) say('reject', world.pick(['ben', 'root']), startMs + world.between(20, 900))
  const others = world.pick([0, 0, 1, 1, 2, 4])
  for (let i = 0; i < others; i++) {
    const command = world.pick([
      'approve',
      'reject',
      'pause',
      'pause',
      'resume',
      'resume',
      'abort',
      'rollback',
      'promoteNow',
    ] as const)
    const who = world.pick(['anna', 'ben', 'rita', 'olga', 'root', 'root', 'vera', 'fred', 'stranger'])
    say(
      command,
      who,
      startMs + world.between(0, 6_000),
      world.chance(0.1) ? { digest: world.pick(['artifactDigest', 'evaluationDigest'] as const) } : {},
    )
    if (command === 'pause' && world.chance(0.7))
      say('resume', 'anna', commands.at(-1)!.atMs + world.between(200, 3_500))
  }
  return commands.sort((a, b) => a.atMs - b.atMs)
}

export function drawScenario(world: World, mode: Mode): Scenario {
  const releases: PlannedRelease[] = []
  let atMs = 400
  const count = world.pick([1, 1, 1, 2, 2])
  for (let i = 0; i < count; i++) {
    const by = world.pick(['olga', 'rita', 'rita'])
    releases.push({
      atMs,
      version: `m_v1.${i + 1}.0`,
      by,
      invalid: world.pick([0, 0, 0, 0.3, 0.9]),
      commands: commandsOf(world, i, atMs, by),
    })
    atMs += world.between(2_000, 5_000)
  }
  const faults = Array.from({ length: world.pick([0, 1, 2, 3, 5]) }, () => faultOf(world, atMs))
  const healsAtMs = Math.max(atMs, ...faults.map((fault) => fault.atMs + fault.forMs)) + 500
  const drawn = {
    policy: policyOf(world),
    hasChampion: world.chance(0.9),
    replicas: world.pick([1, 2, 2, 2, 3]),
    workers: world.pick([1, 2, 2]),
    leaseMs: world.pick([1_200, 1_800]),
    callers: world.pick([3, 5, 5, 5, 0]),
    longHistory: world.pick([12, 25, 1_000, 1_000]),
  }
  return {
    mode,
    ...drawn,
    // Derived from earlier draws, so that the following draws stay the same.
    isDeaf: drawn.replicas === 3 && drawn.workers === 2 && drawn.longHistory === 1_000,
    releases,
    faults: faults.sort((a, b) => a.atMs - b.atMs),
    healsAtMs,
    untilMs: healsAtMs + (mode === 'safety' ? 4_000 : 0),
  }
}
