/** Runs one seed: builds its world, starts the real code in it, injects the faults and checks the properties. */
import type { Deps } from '../../activities/deps.ts'
import { reportingFailures } from '../../activities/runtime/failures.ts'
import { closeRelease } from '../../activities/release/end-release.ts'
import {
  cancelRelease,
  endWait,
  failStep,
  lookAtBasis,
  lookAtCommands,
  lookAtQueue,
  type CommandLook,
} from '../../activities/release/look.ts'
import { promote } from '../../activities/release/promote.ts'
import { openRelease } from '../../activities/release/open-release.ts'
import { rollBackCandidate } from '../../activities/release/rollback.ts'
import { routeStage } from '../../activities/release/route.ts'
import { releaseStep } from '../../activities/release/release-step.ts'
import { watch } from '../../activities/release/watch-stage.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import type { StepInput } from '../../store/release/releases.ts'
import { release } from '../../workflows/release.ts'
import { disagreementsOf } from './properties/agreement.ts'
import { createFaults } from './faults/faults.ts'
import {
  carried,
  createMemory,
  createMoments,
  createTemporal,
  createWorld,
  deliverNotice,
  endStaleSessions,
  enter,
  epochMs,
  createHost,
  type Machine,
  type Server,
  type Worker,
} from '@tenure/simulator'
import { connect, unavailability } from './postgres/store.ts'
import { createProperties, type Violation } from './properties/properties.ts'
import { processOf, startProcess, type SimulatedReplica, type ReplicaEnvironment } from './replicas.ts'
import { drawScenario, type Mode, type PlannedCommand, type Scenario } from './scenario.ts'
import type { Script } from './scripts.ts'
import { dictionary } from './postgres/statement.ts'
import { authorityStatements } from './postgres/statements-authority.ts'
import { commandStatements } from './postgres/statements-commands.ts'
import { releaseStatements } from './postgres/statements-releases.ts'
import { routingStatements } from './postgres/statements-routing.ts'
import { fill, longestOf, simulatedModel } from './initial-state.ts'
import { deliverForEver, sendCommand } from './delivery.ts'
import { recordedRelease } from './recorded-rows.ts'

export interface RunResult {
  seed: number
  mode: Mode
  scenario: Scenario
  violations: Violation[]
  trace: string[]
  events: number
  virtualMs: number
  outcomes: string[]
}

/** Time after the last fault and the end of every release within which all replicas must agree with the database, in milliseconds. */
const convergeMs = 4_500
const workflows = { release }
const workflowId = `release/${simulatedModel}`
const meaningOf = dictionary(releaseStatements, routingStatements, authorityStatements, commandStatements)
/** Accepts every command and looks at no row, as the workflow of a client of Temporal may. */
const acceptUnseen = ({ commands }: CommandLook) =>
  Promise.resolve({
    // The workflow keeps a state that is newer.
    state: { revision: 0 },
    answers: commands.map(() => ({ accepted: true, stage: 'rolling_back', message: 'accepted' })),
  })

/** Returns the activity whose event is being executed. */
const stepNow = (): string | undefined =>
  (carried.context as { info?: { activityType: string } } | undefined)?.info?.activityType
const releaseIdOf = (firstRunId: string) => `rel_${firstRunId.replaceAll('-', '')}`

/** The state of a release that an activity returns. */
function stateIn(result: unknown): ReleaseState | undefined {
  const { state = result } = (result ?? {}) as { state?: unknown }
  return (state as Partial<ReleaseState> | undefined)?.stage === undefined
    ? undefined
    : (state as ReleaseState)
}

const placeOf = ({ stage, stageIndex, paused, shareBp, revision, reason }: ReleaseState): string =>
  `${stage}/${stageIndex}${paused ? ', paused' : ''}, ${shareBp} bp, revision ${revision}${reason === undefined ? '' : `: ${reason}`}`

export interface RunOptions {
  traced?: boolean
  /** A script instead of a scenario drawn from the seed. */
  script?: Script
}

export async function simulate(
  seed: number,
  mode: Mode,
  { traced = false, script }: RunOptions = {},
): Promise<RunResult> {
  const world = createWorld(seed, { traced })
  const scenario = script?.scenario ?? drawScenario(world, mode)
  const moments = createMoments()
  enter(world)
  const database = world.machine('database')
  const server: Server = {
    machine: database,
    memory: createMemory({
      clockMs: () => epochMs + world.now() + database.wallOffMs,
      onCommit: (changes) => properties.committed(changes),
      onNotice: (channel, payload) => deliverNotice(world, server, channel, payload),
    }),
    meaningOf(statement) {
      try {
        return meaningOf(statement)
      } catch (error) {
        // The code under test takes it for an error of the database and goes on.
        properties.fail('every statement has a meaning', (error as Error).message)
        throw error
      }
    },
    listeners: new Set(),
    ...unavailability,
    onStatement(name, values) {
      if (name === 'recordObservation') properties.stageObserved(values)
      if (name === 'writeTicks') properties.flushed()
      if (name === 'lockRelease' && stepNow() === 'promote') properties.basisRead(values)
    },
    lateMs: (machine, statement, values) =>
      moments.happen({
        kind: 'asks',
        step: workers.some((worker) => worker.machine === machine) ? stepNow() : undefined,
        statement,
        values,
        machine,
      }),
    failureOf: (name) =>
      world.now() < lossesUntil.counters && name === 'writeTicks' ? 'the disk is full' : undefined,
  }
  const { memory } = server
  const replicas: SimulatedReplica[] = []
  const properties = createProperties(world, memory, replicas, simulatedModel)
  properties.setClock((ms) => ms - epochMs - database.wallOffMs)
  const lossesUntil = { counters: -1, bytes: -1 }
  const dying = { left: 0 }
  const machines = new Map<string, Machine>()
  const added = (machine: Machine): Machine => {
    machines.set(machine.name, machine)
    return machine
  }
  fill(server, scenario)

  const workers: Worker[] = []
  const equip = (worker: Worker): void => {
    const deps = {
      store: connect(world, server, worker.machine),
      config: { signing: { keys: '', trust: '', subjectKey: '' } },
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    } as unknown as Deps
    worker.host = createHost(workflows, (info, batches) =>
      world.tell(`${worker.machine.name} replays ${info.runId} (${batches} tasks)`),
    )
    worker.activities = reportingFailures(deps, {
      openRelease: openRelease(deps),
      lookAtCommands: scenario.isDeaf ? acceptUnseen : lookAtCommands(deps),
      lookAtBasis: lookAtBasis(deps),
      lookAtQueue: lookAtQueue(deps),
      cancelRelease: cancelRelease(deps),
      endWait: endWait(deps),
      failStep: failStep(deps),
      qualify: releaseStep(deps, 'qualify', () => Promise.resolve({ kind: 'qualified' })),
      route: routeStage(deps),
      watch: watch(deps),
      promote: promote(deps),
      rollBackCandidate: rollBackCandidate(deps),
      closeRelease: closeRelease(deps),
    }) as unknown as Worker['activities']
  }
  for (let i = 1; i <= scenario.workers; i++) {
    const worker = { machine: added(world.machine(`worker-${i}`)) } as Worker
    equip(worker)
    workers.push(worker)
  }
  const outcomes: string[] = []
  const temporal = createTemporal({
    world,
    machine: world.machine('temporal'),
    workers,
    longHistory: scenario.longHistory,
    watcher: {
      scheduled({ firstRunId }, type) {
        if (type !== 'lookAtCommands') world.tell(`${firstRunId} asks for ${type}`)
      },
      completed({ firstRunId }, type, result, [input]) {
        const state = stateIn(result)
        if (type === 'lookAtCommands') {
          const { commands } = input as CommandLook
          for (const id of commands) tellAnswer(id)
        }
        world.tell(`   ${type} → ${state ? placeOf(state) : JSON.stringify(result)?.slice(0, 160)}`)
        if (state) properties.workflowKnows(state)
        if (type === 'watch' && state) properties.watched(state, (input as StepInput).step)
        if (type === 'closeRelease') properties.endRecorded(releaseIdOf(firstRunId))
      },
      overtaken: () => {},
      begins: ({ machine }, step) => void moments.happen({ kind: 'begins', step, machine }),
      lateMs: ({ machine }, step, result) => moments.happen({ kind: 'tells', step, result, machine }),
      taskFailed: (info, error) => properties.taskFailed(info.workflowId, error),
      closed({ info, closed }) {
        world.tell(`${info.workflowId} ${info.runId} is ${closed?.kind}: ${JSON.stringify(closed?.result)}`)
        properties.workflowClosed(closed!.kind, releaseIdOf(info.firstRunId))
        if (closed?.kind === 'failed')
          properties.fail('workflow code never fails', `${info.workflowId}: ${JSON.stringify(closed.result)}`)
        if (closed?.kind === 'completed') outcomes.push((closed.result as { outcome: string }).outcome)
      },
      diesBeforeTelling(worker, type) {
        if (dying.left === 0 || --dying.left > 0) return false
        world.tell(`${worker.machine.name} dies after "${type}" and before it says so`)
        restart(worker.machine, 300, () => equip(worker))
        return true
      },
    },
  })
  const restart = (machine: Machine, afterMs: number, then: () => void): void => {
    world.crash(machine)
    const { life } = machine
    world.after(undefined, afterMs, () => {
      // The machine has crashed again, and that restart is still to come.
      if (machine.life !== life) return
      world.start(machine)
      world.tell(`${machine.name} is back`)
      // Runs as an event of the machine, so that its timers belong to the machine.
      world.after(machine, 0, then)
    })
  }

  const behaviour = new Map(scenario.releases.map(({ version, invalid }) => [version, { invalid }]))
  const around: ReplicaEnvironment = {
    world,
    server,
    model: simulatedModel,
    leaseMs: scenario.leaseMs,
    behaviour,
    callers: () => scenario.callers,
    canLoad: () => world.now() > lossesUntil.bytes,
    isAlive: (process) => replicas.some((each) => each.machine.isUp && processOf(each) === process),
    onAnswer: (answer) => properties.answered(answer),
  }
  for (let i = 1; i <= scenario.replicas; i++) {
    const replica: SimulatedReplica = {
      machine: added(world.machine(`replica-${i}`)),
      disk: {},
      now: () => 0,
    }
    replicas.push(replica)
    world.after(replica.machine, 10 * i, () => startProcess(replica, around))
  }

  const roleOf = (by: string): Role | undefined => {
    const key = memory.rows('api_keys').find((each) => each['name'] === by && each['revoked_at'] === null)
    const models = key?.['models'] as string[] | null | undefined
    return models?.includes(simulatedModel) === false ? undefined : (key?.['role'] as Role | undefined)
  }
  const tellAnswer = (id: string) => {
    const { kind, actor, accepted, message } = memory.row('commands', id) ?? {}
    world.tell(`   ${String(kind)} by ${String(actor)}: ${accepted === true ? '' : 'no: '}${String(message)}`)
  }
  for (const planned of scenario.releases) {
    world.after(temporal.machine, planned.atMs, () => start(planned.version, planned.by, 6))
    for (const command of planned.commands)
      for (const late of command.copies)
        world.after(temporal.machine, command.atMs + late, () => say(command))
  }
  const api = added(world.machine('api'))
  const sender = { world, machine: api, store: connect(world, server, api), temporal, workflowId }
  world.after(api, 0, () => void deliverForEver(sender))
  const say = (said: Omit<PlannedCommand, 'atMs' | 'copies'>): void => {
    const execution = temporal.running(workflowId)
    if (!execution) return
    const { command, by, isSignal } = said
    const { firstRunId } = execution.info
    const release = releaseIdOf(firstRunId)
    const role = roleOf(by)
    world.tell(`${by} says ${command} (${isSignal ? 'signal' : 'update'} ${said.id})`)
    const send = () =>
      void sendCommand(sender, said, {
        firstRunId,
        release,
        role,
        onRecorded: (id) => properties.recorded(id, { ...said, release, role }),
        onSignal: (id) => properties.signalled(id),
        onAnswer: (id, answer) => properties.told(id, answer),
      }).catch((error: Error) => world.tell(`   the command of ${by} fails: ${error.message}`))
    // Not a part of the step at whose moment it comes.
    const { context } = carried
    carried.context = undefined
    world.after(api, 0, send)
    carried.context = context
  }
  /** Starts a release when the previous one has ended, compared with the champion of that moment. */
  let waiting = scenario.releases.length
  const start = (version: string, by: string, attempts: number): void => {
    if (temporal.running(workflowId) && attempts > 0) {
      world.after(temporal.machine, 1_500, () => start(version, by, attempts - 1))
      return
    }
    waiting--
    if (temporal.running(workflowId)) return
    const evaluation = memory.row('evaluations', `eval-${version}`)
    const champion = (memory.row('champions', simulatedModel)?.['version'] as string | undefined) ?? null
    if (evaluation && world.chance(0.95))
      memory.load('evaluations', `eval-${version}`, { ...evaluation, baseline_version: champion })
    world.tell(`${by} starts the release of ${version}`)
    const artifact = memory.row('versions', version)?.['artifact_digest'] as string | undefined
    const nowMs = epochMs + world.now() + database.wallOffMs
    const { request, row } = recordedRelease({ version, by, place: waiting }, { champion, artifact }, nowMs)
    memory.load('commands', row.id, row)
    temporal.start('release', workflowId, [request])
  }

  const housekeeping = () => {
    endStaleSessions(server, machines, epochMs + world.now() + database.wallOffMs)
    world.after(database, 500, housekeeping)
  }
  world.after(database, 500, housekeeping)
  const faults = createFaults({
    world,
    mode,
    scenario,
    server,
    temporal,
    workers,
    replicas,
    moments,
    properties,
    behaviour,
    workflowId,
    lossesUntil,
    dying,
    restart,
    equip,
    startReplica: (replica) => startProcess(replica, around),
    say,
    housekeeping,
  })
  for (const fault of scenario.faults) world.after(undefined, fault.atMs, () => faults.befall(fault))
  const keepBackup = () => {
    faults.keepBackup()
    world.after(undefined, 900, keepBackup)
  }
  if (script === undefined) world.after(undefined, 900, keepBackup)
  else {
    const terminate = () => temporal.terminate(workflowId)
    const stepDatabaseClock = (ms: number) => {
      world.tell(`** the clock of the database is set by ${ms} ms`)
      database.wallOffMs += ms
      if (ms < 0) properties.clockSetBack()
    }
    const machines = { temporal: temporal.machine, replicas }
    script.play({ world, ...machines, moments, faults, behaviour, say, terminate, stepDatabaseClock })
  }

  const check = () => {
    const name = current
    for (const replica of replicas) if (replica.machine === name) properties.checkReplica(replica)
  }
  let current: Machine | undefined
  const noting = () => {
    current = world.last()
    check()
  }
  // A frozen machine may still wake up and continue what others have ended.
  const isAnswered = () => memory.rows('commands').every((row) => !properties.awaitsAnswer(row))
  const isQuiet = () =>
    temporal.all().every(({ closed }) => closed !== undefined) &&
    workers.every(({ machine }) => machine.frozenUntil + 300 < world.now())
  const plannedMs = scenario.releases.at(-1)!.atMs + 100
  const broken = () => properties.violations.length > 0
  await world.run(
    scenario.healsAtMs,
    noting,
    () =>
      broken() ||
      (world.now() > plannedMs &&
        waiting === 0 &&
        isQuiet() &&
        scenario.faults.every(({ atMs, forMs }) => atMs + forMs < world.now())),
  )
  faults.end()
  if (!broken() && mode === 'safety') await world.run(scenario.untilMs, noting, () => broken() || isQuiet())
  if (!broken() && mode === 'liveness') {
    const limitMs = world.now() + longestOf(scenario)
    await world.run(limitMs, noting, () => broken() || (isQuiet() && isAnswered() && waiting === 0))
    if (!broken() && !isQuiet())
      for (const { info, closed } of temporal.all())
        if (!closed)
          properties.fail(
            'every release ends',
            `${info.workflowId} still runs ${Math.round(longestOf(scenario))} ms after the last fault: ${JSON.stringify(memory.rows('releases').find((row) => row['ended_at'] === null)?.['stage'])}`,
          )
    if (!broken())
      for (const row of memory.rows('commands'))
        if (properties.awaitsAnswer(row))
          properties.fail(
            'no command is lost',
            `${String(row['kind'])} by ${String(row['actor'])} is never answered`,
          )
    // Early agreement is enough, but in every fourth run agreement must hold for the whole time.
    const isPatient = seed % 4 === 3
    if (!broken())
      await world.run(
        world.now() + convergeMs,
        noting,
        () =>
          broken() ||
          (!isPatient && disagreementsOf({ memory, replicas, faults: scenario.faults }).length === 0),
      )
    if (!broken())
      for (const message of disagreementsOf({ memory, replicas, faults: scenario.faults }))
        properties.fail('all parts converge', message)
    if (!broken()) leftOpen()
  }
  if (seed % 8 === 0) properties.checkAudit()
  if (script && !broken() && !script.outcomes.every((outcome, index) => outcomes[index] === outcome))
    properties.fail('a script ends as written', `the outcomes are ${outcomes.join(', ')}`)
  enter(undefined)

  function leftOpen(): void {
    const open = memory.rows('releases').filter((row) => row['ended_at'] === null)
    if (open.length > 0 && scenario.faults.every(({ kind }) => !kind.startsWith('restore')))
      properties.fail(
        'every release ends',
        `${open.map((row) => row['id']).join()} has no end in the database`,
      )
  }

  return {
    seed,
    mode,
    scenario,
    violations: properties.violations,
    trace: world.trace,
    events: world.events(),
    virtualMs: world.now(),
    outcomes,
  }
}
