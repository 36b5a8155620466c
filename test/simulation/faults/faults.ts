/** Injects the faults of a run: on machines, links, the database, the Temporal server and the evidence. */
import { rollBackDirectly } from './direct-rollback.ts'
import { simulatedModel } from '../initial-state.ts'
import { disturbanceOf } from './disturbances.ts'
import {
  epochMs,
  type Machine,
  type Meaning,
  type Moments,
  type Server,
  type Temporal,
  type Worker,
  type World,
} from '@tenure/simulator'
import type { Properties } from '../properties/properties.ts'
import type { Behaviour, SimulatedReplica } from '../replicas.ts'
import { restoreSimulatedBackup } from './restored-backup.ts'
import type { Fault, Mode, PlannedCommand, Scenario } from '../scenario.ts'

/** The parts of the world that faults act on. */
export interface FaultStage {
  world: World
  mode: Mode
  scenario: Scenario
  server: Server
  temporal: Temporal
  workers: readonly Worker[]
  replicas: readonly SimulatedReplica[]
  moments: Moments
  properties: Properties
  /** Changes during the run. */
  behaviour: Behaviour
  workflowId: string
  /** Virtual times until which counter writes fail and artifact downloads fail. */
  lossesUntil: { counters: number; bytes: number }
  /** Number of steps whose worker will crash before it reports. */
  dying: { left: number }
  restart: (machine: Machine, afterMs: number, then: () => void) => void
  equip: (worker: Worker) => void
  startReplica: (replica: SimulatedReplica) => void
  say: (said: Omit<PlannedCommand, 'atMs' | 'copies'>) => void
  housekeeping: () => void
}

export interface Faults {
  befall(fault: Fault): void
  /** Takes a backup that a later restore puts back. */
  keepBackup(): void
  restore(): void
  /** Ends all active faults and prevents new ones. */
  end(): void
}

export function createFaults(stage: FaultStage): Faults {
  const { world, mode, scenario, server, temporal, workers, replicas, moments, properties } = stage
  const { workflowId, restart, equip, say } = stage
  const { memory, machine: database } = server
  let isOver = false
  let backup = memory.backup()
  let epoch = 0
  const restore = (): void => {
    if (isOver) return
    for (const session of memory.sessions()) memory.kill(session)
    backup()
    epoch = restoreSimulatedBackup(memory, { atMs: epochMs + world.now(), above: epoch })
    for (const listener of server.listeners) listener.isConnected = false
    properties.restored()
  }
  const heal: (() => void)[] = []
  const during = (forMs: number, begin: () => void, end: () => void): void => {
    begin()
    let over = false
    const finish = () => {
      if (over) return
      over = true
      end()
    }
    heal.push(finish)
    world.after(undefined, forMs, finish)
  }
  const cutOff = (name: string, others: string[], cut: boolean, ways: 1 | 2): void => {
    for (const other of others) {
      world.cut(name, other, cut)
      if (ways === 2) world.cut(other, name, cut)
    }
  }
  const cutReplica = (forMs: number, which: number) =>
    befall({ kind: 'cut replica', atMs: world.now(), forMs, which })
  const accomplices = {
    world,
    temporal: temporal.machine,
    say,
    cutReplica,
    restore,
    behaviour: stage.behaviour,
  }
  const befall = (fault: Fault): void => {
    if (isOver) return
    const { kind, forMs, which } = fault
    world.tell(`** ${kind} (${Math.round(forMs)} ms, ${which})`)
    const worker = workers[which % workers.length]!
    const replica = replicas[which % replicas.length]!
    switch (kind) {
      case 'crash worker':
        return restart(worker.machine, forMs, () => equip(worker))
      case 'freeze worker':
        return world.freeze(worker.machine, forMs)
      case 'freeze in a step':
      case 'cut in a step':
      case 'hold a step':
      case 'restore in a step':
      case 'command at a verdict':
        return moments.wait(disturbanceOf(accomplices, fault))
      case 'cut worker':
        return during(
          forMs,
          () => cutOff(worker.machine.name, which % 2 ? ['database'] : ['database', 'temporal'], true, 2),
          () => cutOff(worker.machine.name, ['database', 'temporal'], false, 2),
        )
      case 'crash replica':
        if (which % 4 === 0) replica.disk = {}
        delete replica.routing
        return restart(replica.machine, forMs, () => stage.startReplica(replica))
      case 'freeze replica':
        return world.freeze(replica.machine, forMs)
      case 'cut replica':
      case 'cut replica one way': {
        const ways = kind === 'cut replica' ? 2 : 1
        const [from, to] = which % 2 ? [replica.machine.name, 'database'] : ['database', replica.machine.name]
        return during(
          forMs,
          () => cutOff(from!, [to!], true, ways),
          () => cutOff(from!, [to!], false, ways),
        )
      }
      case 'restart database':
        for (const session of memory.sessions()) memory.kill(session)
        for (const listener of server.listeners) listener.isConnected = false
        return restart(database, Math.min(forMs, 2_000), () => stage.housekeeping())
      case 'freeze database':
        return world.freeze(database, forMs)
      case 'restore database':
        return restore()
      case 'freeze temporal':
        return world.freeze(temporal.machine, forMs)
      case 'slow network':
        return during(
          forMs,
          () => world.slow(world.pick([60, 300, 900, 900])),
          () => world.slow(0),
        )
      case 'step clock': {
        const machine = world.pick([...workers, ...replicas, temporal]).machine
        // A Temporal server whose clock goes back an hour waits an hour longer. That is correct behaviour, but the run would not finish in
        // time.
        const steps =
          machine === temporal.machine && mode === 'liveness' ? [1_000] : [-3_600_000, -5_000, 5_000, 300_000]
        machine.wallOffMs += world.pick(steps)
        return
      }
      case 'lose counters':
        stage.lossesUntil.counters = world.now() + forMs + 3_000
        return
      case 'lose bytes':
        stage.lossesUntil.bytes = world.now() + forMs
        return
      case 'revoke key': {
        const key = memory.row('api_keys', which % 2 ? 'ben' : 'anna')!
        return memory.load('api_keys', key['name'] as string, { ...key, revoked_at: world.now() })
      }
      case 'change evidence': {
        const { version } = world.pick(scenario.releases)
        const row = memory.row(
          which % 2 ? 'evaluations' : 'versions',
          which % 2 ? `eval-${version}` : version,
        )!
        const name = which % 2 ? 'report_digest' : 'artifact_digest'
        return memory.load(which % 2 ? 'evaluations' : 'versions', which % 2 ? `eval-${version}` : version, {
          ...row,
          [name]: `${String(row[name])}'`,
        })
      }
      case 'move champion': {
        properties.handMoved()
        const byHand = memory.open('by hand')
        const leave = () => memory.kill(byHand)
        const move: Meaning = (query) => {
          // An update waits for the transaction that holds the row.
          query.lock('champions', simulatedModel)
          const row = memory.row('champions', simulatedModel)
          if (row && temporal.running(workflowId))
            memory.load('champions', simulatedModel, { ...row, version: 'm_v0.9.0', release_id: null })
          return []
        }
        return memory.execute(byHand, move, [], leave, leave)
      }
      case 'terminate':
        if (mode === 'safety') temporal.terminate(workflowId)
        return
      case 'cancel':
        return temporal.cancel(workflowId)
      case 'roll back model': {
        const give = () => {
          if (!isOver)
            void rollBackDirectly({ ...stage, leaseMs: scenario.leaseMs }, replica, {
              by: 'olga',
              reason: 'callers complain',
            })
        }
        world.after(temporal.machine, world.between(500, 3_000), give)
        give()
        return
      }
      case 'die before telling':
        stage.dying.left += 1 + (which % 3)
        return
      default:
        return kind satisfies never
    }
  }

  return {
    befall,
    restore,
    keepBackup() {
      backup = memory.backup()
    },
    end() {
      isOver = true
      for (const end of heal) end()
      world.slow(0)
      moments.clear()
      stage.lossesUntil.counters = stage.lossesUntil.bytes = -1
      stage.dying.left = 0
    },
  }
}
