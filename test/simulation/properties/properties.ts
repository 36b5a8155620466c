/** Checks the properties that hold in every run against what the simulator observed, not against what the system reports. */
import { auditKeyOf, auditIssues } from './audit-chain.ts'
import type { WatchReport } from '../../../activities/release/watch-stage.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { watchedPolicy, type Recovery, type ReleaseState } from '../../../domain/release/state.ts'
import { championOf, isOnProbation, type Route } from '../../../domain/serving/route.ts'
import type { Change, Memory, Row } from '../postgres/database.ts'
import { isOfAnotherRelease, isOnlyProven, isOrderStored } from './orders.ts'
import { basisOf, checkPromotion, type Known, type Received } from './promotion.ts'
import { armsIn, processOf, tableNow, type SimulatedResponse, type SimulatedReplica } from '../replicas.ts'
import { checkReached } from './reached.ts'
import type { World } from '../world.ts'

export interface Violation {
  property: string
  message: string
}

const slackMs = 5

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
  const received: Received[] = []
  const commandsApplied = new Map<string, boolean>()
  const recorded = new Set<string>()
  const audited = new Set<string>()
  const retired = new Map<string, number>()
  const condemned = new Set<string>()
  /** When the first failing verdict about a release's candidate was stored. */
  const failures = new Map<string, number>()
  /** When the end of a release was stored; later commands have no receiver. */
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
      /another writer|is rolled back|no longer that of/.test(reason ?? '')
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

  return {
    violations,
    received,
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
    /** Handles the result of a watch. A passed stage was watched for at least its minimum time, whatever the looks showed. */
    watched(state: ReleaseState, report: WatchReport) {
      const { stage, undecidedStage, stageIndex } = state
      const step = `${stage === 'awaiting_decision' ? undecidedStage : stage}/${stageIndex}`
      const firstMs = releaseOf(state.id)?.firstLooks.get(step)
      const { minMs } = watchedPolicy(state) ?? { minMs: 0 }
      if (report.kind !== 'judged' || report.verdict !== 'pass' || firstMs === undefined) return
      const lookedMs = world.now() - firstMs
      if (lookedMs < minMs - slackMs)
        fail('a stage takes its time', `${state.id} passed ${step} in ${Math.round(lookedMs)} of ${minMs} ms`)
    },
    /** Handles a command that cancelled the watch before or while the workflow received its report. What the watch stored remains. */
    watchOvertaken(chain: string) {
      condemned.delete(chain)
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
        if (table === 'release_commands' && after) {
          const {
            release_id,
            command,
            accepted: isAccepted,
            stage,
            actor,
            message,
          } = after as Record<string, string> & { accepted: boolean }
          if (command === 'abort' || command === 'rollback') {
            const knows = received.find((each) => each.release === release_id && each.by === actor)
            const may = knows?.role !== undefined && ['operator', 'approver', 'admin'].includes(knows.role)
            if (isAccepted) accepted.set(release_id!, command)
            else if (
              may &&
              stage !== 'rolling_back' &&
              stage !== 'ended' &&
              !isOfAnotherRelease(memory, after) &&
              !/active key|role|cover|names the/.test(message!)
            )
              fail('abort and rollback win', `${command} by ${actor} was refused in ${stage}: ${message}`)
          }
        }
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
    /** Checks, after each event of a replica, the version that it would serve now. */
    checkReplica(replica: SimulatedReplica) {
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
        const written =
          known?.routes.find((each) => each.generation === route.generation)?.fromMs ?? -Infinity
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
    },
    applied(release: string, commands: readonly { id: string; accepted: boolean }[]) {
      for (const { id, accepted: isAccepted } of commands) {
        recorded.add(id)
        if (isAccepted && commandsApplied.get(id) === true)
          fail('a command is applied once', `${id} changed ${release} a second time`)
        if (isAccepted) commandsApplied.set(id, true)
      }
    },
    workflowDid(chain: string, type: string, result: unknown, version: string | undefined) {
      const report = result as
        | { verdict?: string; problems?: string[]; rollbackResult?: Recovery }
        | undefined
      if (type === 'watch' && report?.verdict === 'fail') condemned.add(chain)
      if (type === 'closeRelease') ends.set(chain, world.now())
      if (
        type === 'rollBackCandidate' &&
        report?.problems?.length === 0 &&
        report.rollbackResult?.cutOff === undefined &&
        version !== undefined &&
        memory.row('champions', model)?.['version'] !== version
      ) {
        retired.set(version, world.now())
        for (const replica of replicas) this.checkReplica(replica)
      }
    },
    /** Handles a rollback of this version that every live replica has acknowledged. */
    rolledBack(version: string) {
      retired.set(version, world.now())
      for (const replica of replicas) this.checkReplica(replica)
    },
    rolledBackByUser: (release: string) => void accepted.set(release, 'rollback'),
    workflowAsks(chain: string, type: string) {
      // A command of the same turn may still request a route; the database refuses it, which `checkRoute` checks.
      if (condemned.has(chain) && ['watch', 'promote'].includes(type))
        fail('a verdict against it wins', `${chain} goes on with "${type}" after the verdict fail`)
    },
    workflowClosed(chain: string, kind: string, release: string) {
      // A release that was never opened, or whose row a restored backup lacks, answers commands by refusing and has no row for them.
      if (kind !== 'completed' || memory.row('releases', release) === undefined) return
      const endMs = ends.get(chain) ?? Infinity
      for (const each of received)
        if (each.runChain === chain && each.atMs < endMs && each.isSignal && !recorded.has(each.id))
          fail(
            'no command is lost',
            `${each.command} ${each.id} by ${each.by} was received and never answered`,
          )
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
      // Commands whose answers are not in the backup are answered again.
      const answered = memory.rows('release_commands').map(({ id }) => id as string)
      for (const id of commandsApplied.keys())
        if (!answered.some((each) => each.endsWith(`/${id}`))) commandsApplied.delete(id)
      failures.clear()
      for (const row of memory.rows('decisions'))
        if (row['kind'] === 'fail') failures.set(row['release_id'] as string, -Infinity)
    },
    checkAudit: () => auditIssues(memory).forEach((issue) => fail('the audit is a chain', issue)),
    fail,
  }
}
