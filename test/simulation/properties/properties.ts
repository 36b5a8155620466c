/** Checks the properties that hold in every run against what the simulator observed, not against what the system reports. */
import { auditKeyOf, auditIssues } from './audit-chain.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { watchedPolicy, type ReleaseState } from '../../../domain/release/state.ts'
import type { CommandAnswer } from '../../../store/commands.ts'
import { championOf, isOnProbation, type Route } from '../../../domain/serving/route.ts'
import type { Change, Memory, Row, World } from '@tenure/simulator'
import { isOnlyProven, isOrderStored } from './orders.ts'
import { basisOf, checkPromotion, unansweredOf, type Known, type Received } from './promotion.ts'
import { armsIn, processOf, tableNow, type SimulatedResponse, type SimulatedReplica } from '../replicas.ts'
import { checkReached } from './reached.ts'

export interface Violation {
  property: string
  message: string
}

const slackMs = 5
/** How long a worker that freezes within a transaction may still commit what it has read. */
const longestTransactionMs = 5_000

type RoutingChange = { epoch: number; generation: number; route: Route; exposed_until: number | null }

export type Properties = ReturnType<typeof createProperties>

export function createProperties(
  world: World,
  memory: Memory,
  replicas: readonly SimulatedReplica[],
  model: string,
) {
  const violations: Violation[] = []
  const fail = (property: string, message: string): void => {
    world.tell(`!! ${property}: ${message}`)
    violations.push({ property, message })
  }
  const releases = new Map<string, Known>()
  /** The commands of users, by id. Not each has a row. */
  const received = new Map<string, Received>()
  const audited = new Set<string>()
  const retired = new Map<string, number>()
  /** Releases whose workflow knows of their end or of their rollback. No restored backup may make it forget. */
  const knownEnds = new Set<string>()
  /** When the first failing verdict about a release's candidate was stored. */
  const failures = new Map<string, number>()
  /** When the workflow of a release learnt that its end is stored; later commands are answered by their delivery. */
  const ends = new Map<string, number>()
  const accepted = new Map<string, string>()
  const armsSeen = new Map<string, string>()
  const onCanary = new Set<string>()
  const places = new Map<string, { epoch: number; generation: number }>()
  let flushedMs = 0
  /** When a replica last registered. Its silence counts from then, because a frozen replica may register long after its start. */
  let registeredMs = 0
  /** When each replica process began its current lease. */
  const leasedMs = new Map<string, number>()
  /** When the lease of each replica process ends; the database clock may be set after the lease was written. */
  const leaseEndsMs = new Map<string, number>()
  let clockSteppedMs = -Infinity
  let isClockSetBack = false
  /** When a replica process was first seen to follow a generation. */
  const followedMs = new Map<string, number>()
  let isHandMoved = false

  const releaseOf = (id: string): Known | undefined => releases.get(id)
  const isRestored = (command: Row): boolean =>
    releaseOf(command['release_id'] as string)?.isRestored === true

  const auditOnce = (row: Row): void => {
    const key = auditKeyOf(row)
    if (key === undefined) return
    if (audited.has(key)) fail('one audit row for each change', `a second audit row says ${key}`)
    audited.add(key)
  }

  const checkRoute = (change: Change, auditRows: number): void => {
    const before = change.before as Omit<RoutingChange, 'route'> | undefined
    const row = change.after as RoutingChange | undefined
    if (row === undefined) return
    const { route } = row
    const isNew = before?.epoch !== row.epoch || before.generation !== row.generation
    const sum = route.arms.reduce((total, arm) => total + arm.shareBp, 0)
    if (sum !== 10_000) fail('shares sum to 10,000', `generation ${row.generation} shares out ${sum}`)
    if (route.generation !== row.generation || route.epoch !== row.epoch)
      fail(
        'compare-and-set',
        `the route says ${route.epoch}/${route.generation}, its row ${row.epoch}/${row.generation}`,
      )
    const known = route.release === undefined ? undefined : releaseOf(route.release)
    if (isNew) {
      if (before && (row.epoch < before.epoch || row.generation !== before.generation + 1))
        fail(
          'compare-and-set',
          `${row.epoch}/${row.generation} was written over ${before.epoch}/${before.generation}`,
        )
      if (auditRows < 1)
        fail(
          'pointer, history and audit together',
          `generation ${row.generation} was written with ${auditRows} audit rows`,
        )
      for (const each of releases.values()) {
        const last = each.routes.at(-1)
        if (last && last.toMs === undefined) last.toMs = world.now()
      }
      known?.routes.push({ generation: row.generation, route, fromMs: world.now(), answered: 0 })
    }
    const canary = route.arms.find((arm) => arm.arm === 'canary')
    const candidate =
      canary?.version ??
      route.targeted?.version ??
      (isOnProbation(route) ? championOf(route) : route.shadow?.version)
    if (candidate !== undefined && known) {
      const release = memory.row('releases', route.release!)
      const unseen = unansweredOf(memory, route.release!)
      if (isNew && unseen !== undefined)
        fail('no act before a recorded command', `${candidate} was routed before the ${unseen}`)
      if (isNew && release?.['rolled_back_at'] !== null)
        fail(
          'abort and rollback win',
          `${candidate} was routed for ${route.release} after it was rolled back`,
        )
      const failedMs = failures.get(route.release!) ?? Infinity
      if (isNew && failedMs < Infinity)
        fail(
          'a verdict against it wins',
          `${candidate} was routed for ${route.release} after the verdict fail`,
        )
      if (isNew) retired.delete(candidate)
      if (canary && canary.shareBp < known.highestShareBp)
        fail(
          'sticky and monotone',
          `the share of ${candidate} fell from ${known.highestShareBp} to ${canary.shareBp}`,
        )
      if (canary) known.highestShareBp = canary.shareBp
      const exposureMs = known.policy.watch.exposureMs
      const sinceMs = isNew ? world.now() : known.lookedMs
      const isProlonged = isNew || row.exposed_until !== before?.exposed_until
      if (row.exposed_until === null)
        fail('exposed only while watched', `${candidate} was routed without an end`)
      else if (!isNew && isProlonged && clockOf(row.exposed_until) > failedMs + exposureMs + slackMs)
        fail(
          'a verdict against it wins',
          `the exposure of ${candidate} was renewed by a look after the verdict fail of ${failedMs}`,
        )
      else if (isProlonged && clockOf(row.exposed_until) > sinceMs + exposureMs + slackMs)
        fail(
          'exposed only while watched',
          `${candidate} may be exposed until ${clockOf(row.exposed_until)}, the last look was at ${sinceMs}`,
        )
      const heardMs = Math.max(flushedMs, registeredMs, known.routes.at(-1)?.fromMs ?? world.now())
      // A delayed renewal counts from its look.
      const lookMs = Math.min(world.now(), clockOf(row.exposed_until ?? 0) - exposureMs)
      if (!isNew && isProlonged && heardMs < lookMs - known.policy.limits.maxStaleMs - 200)
        fail(
          'exposed only while watched',
          `the exposure of ${candidate} was renewed, but no replica has counted anything since ${Math.round(heardMs)}`,
        )
    }
  }
  /** A passed stage was watched for at least its minimum time, whatever the looks showed. */
  const checkPassed = (before: ReleaseState, after: ReleaseState): void => {
    const { id, stage, stageIndex } = before
    const isJudged = after.lastVerdict?.kind === 'pass' && after.lastVerdict.atMs !== before.lastVerdict?.atMs
    if (!isJudged || (after.stage === stage && after.stageIndex === stageIndex)) return
    const firstMs = releaseOf(id)?.firstLooks.get(`${stage}/${stageIndex}`)
    const { minMs } = watchedPolicy(before) ?? { minMs: 0 }
    if (firstMs === undefined) return
    const lookedMs = world.now() - firstMs
    if (lookedMs < minMs - slackMs)
      fail(
        'a stage takes its time',
        `${id} passed ${stage}/${stageIndex} in ${Math.round(lookedMs)} of ${minMs} ms`,
      )
  }

  /** A rollback that is recorded as acknowledged by every live replica. */
  const checkRolledBack = (before: ReleaseState, { stage, version, rollbackResult }: ReleaseState): void => {
    if (before.stage !== 'rolling_back' || stage !== 'ended' || rollbackResult === undefined) return
    const { unacknowledged, cutOff } = rollbackResult
    if (unacknowledged || cutOff || memory.row('champions', model)?.['version'] === version) return
    retired.set(version, world.now())
    for (const replica of replicas) checkReplica(replica)
  }

  /** A command is answered once, after all that came before it, with a key that is still valid. */
  const checkAnswer = (before: Row | undefined, row: Row): void => {
    const { id, release_id, kind, actor, stage, message, position } = row as Record<string, string>
    if (row['answered_at'] === null) return
    if (before !== undefined && before['answered_at'] !== null) {
      if (['accepted', 'stage', 'message', 'answered_at'].some((name) => before[name] !== row[name]))
        fail('a command is answered once', `${kind} ${id} by ${actor} has another answer: ${message}`)
      return
    }
    const earlier = memory
      .rows('commands')
      .find(
        (each) =>
          each['release_id'] === release_id &&
          (each['answered_at'] === null ||
            (!isClockSetBack && (each['answered_at'] as number) > Number(row['answered_at']))) &&
          (each['position'] as number) < Number(position),
      )
    if (earlier)
      fail(
        'commands are answered in order',
        `${kind} by ${actor} is answered before ${earlier['kind'] as string} by ${earlier['actor'] as string}`,
      )
    const isAccepted = row['accepted'] === true
    const revokedMs = memory.row('api_keys', actor!)?.['revoked_at'] as number | null | undefined
    if (isAccepted && kind !== 'rollback' && (revokedMs ?? Infinity) < world.now() - longestTransactionMs)
      fail('a revoked key commands nothing', `${kind} by ${actor} is accepted: ${message}`)
    if (kind !== 'abort' && kind !== 'rollback') return
    const { role } = received.get(id!) ?? {}
    const may = role !== undefined && ['operator', 'approver', 'admin'].includes(role)
    if (isAccepted) accepted.set(release_id!, kind)
    else if (
      may &&
      stage !== 'rolling_back' &&
      stage !== 'ended' &&
      !/active key|role|cover|names the/.test(message!)
    )
      fail('abort and rollback win', `${kind} by ${actor} was refused in ${stage}: ${message}`)
  }

  let clockOf = (ms: number): number => ms

  const checkEnd = (row: Row): void => {
    const { id, outcome, version } = row as { id: string; outcome: string; version: string }
    const command = accepted.get(id)
    if (
      outcome === 'promoted' &&
      command !== undefined &&
      memory.row('champions', model)?.['release_id'] === id &&
      !isOnlyProven(memory, version)
    )
      fail('abort and rollback win', `${id} ended as promoted after an accepted ${command}`)
    const champion = memory.row('champions', model)
    if (outcome !== 'promoted' && champion?.['release_id'] === id && champion['version'] === version)
      fail('a release ends with its routing', `${id} ended as ${outcome} and ${version} is champion`)
    const { reason } = row as { reason: string | null }
    if (
      command === 'rollback' &&
      outcome === 'superseded' &&
      isOrderStored(memory, id) &&
      (/another writer|no longer that of/.test(reason ?? '') ||
        reason?.startsWith(`${version} was rolled back`))
    )
      fail('abort and rollback win', `${id} was rolled back by a user and ended as ${outcome}: ${reason}`)
    const route = memory.row('routing', model)?.['route'] as Route | undefined
    if (!route || isHandMoved) return
    const stillRouted =
      route.arms.some((arm) => arm.arm === 'canary' && arm.version === version) ||
      route.targeted?.version === version ||
      route.shadow?.version === version
    if (stillRouted && (route.release === id || route.release === undefined))
      fail('a release ends with its routing', `${id} ended as ${outcome} and ${version} is still routed`)
    if (outcome === 'promoted' && champion?.['version'] !== version)
      fail(
        'a release ends with its routing',
        `${id} ended as promoted and ${String(champion?.['version'])} is champion`,
      )
  }

  /** Checks, after each event of a replica, the version that it would serve now. */
  const checkReplica = (replica: SimulatedReplica): void => {
    const found = tableNow(replica, model)
    if (!found) return
    const { table, live } = found
    const { route } = live
    const process = processOf(replica)
    const place = places.get(process)
    if (
      place &&
      (route.epoch < place.epoch || (route.epoch === place.epoch && route.generation < place.generation))
    )
      fail(
        'no replica moves back',
        `${replica.machine.name} went from ${place.epoch}/${place.generation} to ${route.epoch}/${route.generation}`,
      )
    places.set(process, { epoch: route.epoch, generation: route.generation })
    const follows = `${process} ${route.epoch} ${route.generation}`
    if (!followedMs.has(follows)) followedMs.set(follows, world.now())
    const arms = armsIn(table)
    for (const arm of arms) {
      const since = retired.get(arm.loaded.version)
      const isDue = since !== undefined && world.now() > since && arm.belowBp > 0
      if (isDue && world.now() > clockSteppedMs + 6_000)
        fail(
          'no answer after a rollback is acknowledged',
          `${replica.machine.name} answers with ${arm.loaded.version} (${arm.arm}, generation ${route.generation}), whose return was acknowledged at ${Math.round(since)}`,
        )
    }
    const isProvenOnly =
      arms.every((arm) => arm.loaded.version === route.proven) && table.shadow === undefined
    if (!isProvenOnly && world.now() > clockSteppedMs + 6_000) {
      const endMs = leaseEndsMs.get(process) ?? -Infinity
      if (endMs < world.now() - slackMs)
        fail(
          'a replica without its lease is fenced',
          `${replica.machine.name} follows generation ${route.generation} in full, its lease ended at ${endMs}`,
        )
    }
    const exposed =
      (table.shadow !== undefined && route.shadow?.version !== route.proven) ||
      arms.some(({ loaded, belowBp }) => loaded.version !== route.proven && belowBp > 0)
    if (exposed && route.release !== undefined && world.now() > clockSteppedMs + 6_000) {
      const known = releaseOf(route.release)
      const written = known?.routes.find((each) => each.generation === route.generation)?.fromMs ?? -Infinity
      const readMs = isClockSetBack ? followedMs.get(follows)! : -Infinity
      const untilMs =
        Math.max(known?.lookedMs ?? -Infinity, written, readMs) +
        (known?.policy.watch.exposureMs ?? 0) +
        slackMs
      if (known && known.routes.length > 0 && world.now() > untilMs)
        fail(
          'exposed only while watched',
          `${replica.machine.name} exposes ${known.version} ${Math.round(world.now() - untilMs)} ms after the last look has lapsed`,
        )
    }
  }

  return {
    violations,
    /** Sets the mapping from true time to database time, for a database clock that is wrong. */
    setClock(of: (ms: number) => number) {
      clockOf = of
    },
    handMoved() {
      isHandMoved = true
    },
    clockStepped() {
      clockSteppedMs = world.now()
    },
    /** Records that a clock was set back: replicas then cannot know how long an exposure that they first read has lasted. */
    clockSetBack() {
      isClockSetBack = true
    },
    stageObserved([release, stage, stageIndex]: readonly unknown[]) {
      const known = releaseOf(release as string)
      if (!known) return
      known.lookedMs = world.now()
      const step = `${stage as string}/${stageIndex as number}`
      if (!known.firstLooks.has(step)) known.firstLooks.set(step, world.now())
    },
    /** Handles the end of a watch. One that has stored a verdict against its candidate does not leave its release as it was. */
    watched(state: ReleaseState, step: string) {
      const { id } = state
      if (failures.has(id) && nextEffect(state).key === step)
        fail('a verdict against it wins', `${id} goes on with the watch ${step} after the verdict fail`)
    },
    /** Handles a state that the workflow of a release has heard of. */
    workflowKnows({ id, stage, outcome }: ReleaseState) {
      if (stage === 'rolling_back' || (stage === 'ended' && outcome !== 'promoted')) knownEnds.add(id)
    },
    /** Records the evidence when a step of the release is about to compare its basis, in a transaction that others may overtake. */
    basisRead([id]: readonly unknown[]) {
      const known = releaseOf(id as string)
      if (known) known.basis = basisOf(memory, known.version)
    },
    flushed() {
      flushedMs = world.now()
    },
    committed(changes: readonly Change[]) {
      const auditRows = changes.filter(({ table, key }) => table === 'audit' && key !== 'last')
      for (const { after } of auditRows) auditOnce(after!)
      const champion = changes.find(({ table }) => table === 'champions')
      const history = changes.filter(({ table }) => table === 'champion_history')
      if (
        (champion !== undefined && champion.before?.['version'] !== champion.after?.['version']) ||
        history.length > 0
      ) {
        if (champion === undefined || history.length !== 1 || auditRows.length < 1)
          fail(
            'pointer, history and audit together',
            `a champion moved with ${history.length} rows of history and ${auditRows.length} of audit`,
          )
        const row = history[0]?.after
        if (row?.['cause'] === 'promotion') retired.delete(row['version'] as string)
        if (row?.['cause'] === 'promotion' && row['release_id'] !== null)
          checkPromotion(
            { memory, world, received, fail, known: releaseOf(row['release_id'] as string) },
            row['release_id'] as string,
            champion?.before,
          )
        if (row?.['cause'] === 'rollback') {
          const target = memory.row('versions', row['version'] as string)
          if (target?.['known_good_at'] === null || target?.['rolled_back_at'] !== null)
            fail(
              'a rollback has a proven target',
              `${String(row['previous_version'])} was rolled back to ${String(row['version'])}, which is not proven or was withdrawn`,
            )
        }
      }
      for (const { table, after, before } of changes) {
        if (table === 'releases' && after) {
          const id = after['id'] as string
          if (!before)
            releases.set(id, {
              policy: after['policy'] as unknown as ReleasePolicy,
              version: after['version'] as string,
              routes: [],
              lookedMs: -Infinity,
              firstLooks: new Map(),
              highestShareBp: 0,
            })
          if (world.now() >= clockSteppedMs + 6_000)
            checkReached({ memory, replicas, model, leasedMs, clockOf, fail }, after, before)
          const revisions = [before, after].map(
            (row) => (row?.['state'] as { revision: number } | undefined)?.revision ?? 0,
          )
          if (revisions[1]! < revisions[0]!)
            fail(
              'a late writer changes nothing',
              `${id} went from revision ${revisions[0]} back to ${revisions[1]}`,
            )
          if (before) {
            const [old, now] = [before['state'], after['state']] as [ReleaseState, ReleaseState]
            checkPassed(old, now)
            checkRolledBack(old, now)
          }
          if (before && before['ended_at'] === null && after['ended_at'] !== null) checkEnd(after)
          if (before && before['ended_at'] !== null && after['outcome'] !== before['outcome'])
            fail(
              'the outcome stands',
              `${id} ended as ${String(before['outcome'])} and then as ${String(after['outcome'])}`,
            )
        }
        if (table === 'replicas' && after) {
          if (!before) registeredMs = world.now()
          const id = after['id'] as string
          if ((leaseEndsMs.get(id) ?? -Infinity) <= world.now()) leasedMs.set(id, world.now())
          leaseEndsMs.set(id, clockOf(after['lease_until'] as number))
        }
        if (table === 'decisions' && after?.['kind'] === 'fail') {
          const id = after['release_id'] as string
          if (!failures.has(id)) failures.set(id, world.now())
        }
        if (table === 'commands' && after && after['release_id'] !== null) checkAnswer(before, after)
      }
      for (const change of changes) if (change.table === 'routing') checkRoute(change, auditRows.length)
    },
    answered(answer: SimulatedResponse) {
      const { key, version, arm, generation, release, isFull, replica } = answer
      const known = release === undefined ? undefined : releaseOf(release)
      if (!known || !isFull || release === undefined) return
      const route = known.routes.find((each) => each.generation === generation)
      if (route === undefined) return
      if (arm === 'canary') route.answered++
      // When whole replicas serve the candidate, a client changes its arm by reaching another replica.
      const byReplica = route?.route.replicas !== undefined
      const seen = `${release} ${generation} ${key} ${byReplica ? `${replica.machine.name}/${replica.machine.life}` : ''}`
      const other = armsSeen.get(seen)
      if (other !== undefined && other !== `${arm} ${version}`)
        fail(
          'sticky and monotone',
          `${key} got ${other} and ${arm} ${version} at generation ${generation}, the latter from ${replica.machine.name}`,
        )
      armsSeen.set(seen, `${arm} ${version}`)
      if (byReplica) return
      if (arm === 'canary' || arm === 'targeted') onCanary.add(`${release} ${key}`)
      else if (
        arm === 'champion' &&
        version !== known.version &&
        onCanary.has(`${release} ${key}`) &&
        (route?.route.targeted !== undefined || route?.route.arms.some((each) => each.arm === 'canary')) &&
        generation >= (known.routes.at(-1)?.generation ?? 0)
      )
        fail('sticky and monotone', `${key} was moved back from the canary at generation ${generation}`)
    },
    checkReplica,
    /** Handles a rollback of this version that every live replica has acknowledged. */
    rolledBack(version: string) {
      retired.set(version, world.now())
      for (const replica of replicas) checkReplica(replica)
    },
    rolledBackByUser: (release: string) => void accepted.set(release, 'rollback'),
    /** Handles the answer that an update gives to a command. */
    told(id: string, answer: CommandAnswer) {
      const row = memory.row('commands', id)
      if (row === undefined || row['answered_at'] === null || isRestored(row)) return
      if (row['accepted'] !== answer.accepted || row['message'] !== answer.message)
        fail(
          'a command is answered once',
          `${id} is told "${answer.message}", its row says "${row['message'] as string}"`,
        )
    },
    recorded(id: string, command: Received) {
      if (!received.has(id)) received.set(id, command)
    },
    signalled(id: string) {
      const command = received.get(id)
      if (command) command.signalMs ??= world.now()
    },
    endRecorded(release: string) {
      if (!ends.has(release)) ends.set(release, world.now())
    },
    /** Whether a command still has to be answered: its release has a run, or has ended. */
    awaitsAnswer: (row: Row) =>
      row['release_id'] !== null &&
      row['answered_at'] === null &&
      (memory.row('releases', row['release_id'] as string)?.['ended_at'] !== null || !isRestored(row)),
    workflowClosed(kind: string, release: string) {
      // A release whose row a restored backup lacks answers nothing.
      if (kind !== 'completed' || memory.row('releases', release) === undefined) return
      const endMs = ends.get(release) ?? Infinity
      for (const [id, each] of received)
        if (each.release === release && each.signalMs !== undefined && each.signalMs < endMs) {
          const row = memory.row('commands', id)
          if (row && row['answered_at'] === null && !isRestored(row))
            fail('no command is lost', `${each.command} by ${each.by} was received and never answered`)
        }
    },
    taskFailed(workflow: string, error: unknown) {
      fail(
        'workflow code never fails',
        `${workflow}: ${error instanceof Error ? error.message : String(error)}`,
      )
    },
    /** Handles a restored backup: everything after it is undone. */
    restored() {
      clockSteppedMs = world.now()
      isHandMoved = true
      audited.clear()
      for (const row of memory.rows('audit')) if (row !== memory.row('audit', 'last')) auditOnce(row)
      for (const known of releases.values()) {
        known.highestShareBp = 0
        known.routes = []
        known.isRestored = true
      }
      armsSeen.clear()
      onCanary.clear()
      retired.clear()
      // An order that the backup lacks is lost, unless the workflow of its release knows of it.
      for (const id of accepted.keys())
        if (!knownEnds.has(id) && !isOrderStored(memory, id)) accepted.delete(id)
      failures.clear()
      for (const row of memory.rows('decisions'))
        if (row['kind'] === 'fail') failures.set(row['release_id'] as string, -Infinity)
    },
    checkAudit: () => auditIssues(memory).forEach((issue) => fail('the audit is a chain', issue)),
    fail,
  }
}
