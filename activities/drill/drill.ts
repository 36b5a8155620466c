/**
 * Builds the candidate of a drill from the champion and records the result. The version is signed and registered like any other, so that
 * the release takes the real path; the database refuses to promote it.
 */
import { Context } from '@temporalio/activity'
import {
  budgetCode,
  defaultDrill,
  drillFaultOf,
  issuesOfDrill,
  judgeDrill,
  type DrillKind,
  type DrillPolicy,
  placeOfDrill,
} from '../../domain/drill.ts'
import { drillReleasePolicy } from '../../domain/release/derived-policy.ts'
import { DomainError } from '../../domain/errors.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { formatVersion } from '../../domain/registry/version.ts'
import { upsertAlert, resolveAlert } from '../../store/monitoring/alerts.ts'
import { getManifest, putManifest } from '../../store/artifacts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findLatency } from '../../store/release/evidence.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import {
  closeAbandonedDrills,
  closeDrill,
  findDrill,
  findDrillRefusal,
  insertDrill,
  listOpenDrills,
  recordUnheldDrill,
  setDrillVersion,
  type Drill,
  type NewDrill,
  insertDrillVersion,
  readExposure,
} from '../../store/release/drills.ts'
import { getModel } from '../../store/registry/models.ts'
import { isEndedByUser } from '../../store/commands.ts'
import { findOpenRelease, findRelease } from '../../store/release/releases.ts'
import { openSigner } from '../../store/signing/signing-key.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { signArtifact } from '../../store/signing/artifact-signatures.ts'
import type { DrillStart } from '../../domain/starts.ts'
import type { DrillRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { rowsOfEndedRuns } from '../runtime/find-run.ts'
import { takeStart } from '../runtime/take-start.ts'

/** The period for measuring the champion's latency, as in a release. */
const latencyWindowMs = 24 * 3_600_000
const latencyRequests = 200
/** A slow candidate takes this many times the champion's p99, within bounds: a slow response occupies a replica. */
const slowness = { times: 3, minMs: 2, maxMs: 20 }

/** Lists the drills to run, in order. Drills left open by an ended workflow are closed first. */
export const planDrills =
  (deps: Deps) =>
  async (request: DrillRequest): Promise<{ kinds: DrillKind[] } | { refused: string }> => {
    const { store, log } = deps
    const { model } = request
    const { kinds, policy } = await readPlan(store, request)
    const ended = await rowsOfEndedRuns(await listOpenDrills(store, model))
    const abandoned = await closeAbandonedDrills(
      store,
      ended.map(({ id }) => id),
    )
    if (abandoned.length > 0)
      log.warn({ model, abandoned }, 'closed drills that an ended workflow had left open')
    const issues = issuesOfDrill({ ...policy, kinds })
    if (issues.length > 0) return { refused: `no drill can run: ${issues.join('; ')}` }
    return { kinds }
  }

/** Reads what the command of a user or, without an order, the schedule of the model file asks for. Throws `forbidden`. */
async function readPlan(store: Deps['store'], { model, order }: DrillRequest) {
  const { release } = (await getModel(store, model)).definition
  const isScheduled = order === undefined && (release.drill?.cron ?? release.drill?.everyMs) !== undefined
  const asked = isScheduled
    ? { model, requestedBy: `schedule/${model}` }
    : await takeStart(store, { kind: 'drill', order, subject: model })
  const { requestedBy, kinds, changes }: DrillStart & { requestedBy: string } = asked
  const policy: DrillPolicy = { ...defaultDrill, ...release.drill, ...changes }
  return { requestedBy, kinds: kinds ?? policy.kinds, policy, release }
}

export interface OpenDrill extends DrillRequest {
  id: string
}

/** Registers the candidate and returns what to release, or why the drill is refused. */
export const openDrill =
  (deps: Deps) =>
  async ({
    id,
    ...request
  }: OpenDrill): Promise<{ version: string; policy: ReleasePolicy } | { refused: string }> => {
    const { store, log } = deps
    const { model } = request
    const { requestedBy, kinds, policy: drill, release: base } = await readPlan(store, request)
    const kind = kinds[placeOfDrill(id)]
    if (kind === undefined) throw new DomainError('forbidden', `the plan of ${model} has no drill ${id}`)
    const { traffic, harmBudget } = drill
    const newDrill: NewDrill = { id, model, kind, traffic, requestedBy, harmBudget }
    const refuse = async (refused: string): Promise<{ refused: string }> => {
      await giveUp(deps, newDrill, refused)
      return { refused }
    }
    const earlier = await findDrill(store, id)
    if (earlier?.held === false) return { refused: earlier.message ?? '' }
    const champion = (await findChampion(store, model))?.version
    if (champion === undefined) return refuse(`${model} has no champion to make a candidate from`)
    const open = await findOpenRelease(store, model)
    if (open !== undefined && open.state.outcome !== undefined)
      throw new DomainError('release_in_progress', `the release ${open.state.id} is ending`)
    if (open !== undefined && earlier === undefined)
      return refuse(`release ${open.state.id} of ${model} is open`)
    const latency = await findLatency(store, { model, version: champion, windowMs: latencyWindowMs })
    if (kind === 'slow' && (latency?.requests ?? 0) < latencyRequests)
      return refuse(`${champion} has served too few requests within a day to measure its latency`)
    const policy = drillReleasePolicy(base, drill)
    const { workflowId } = Context.current().info.workflowExecution!
    await insertDrill(store, { ...newDrill, policy, workflowId })
    const slowMs = (slowness.times * (latency?.p99 ?? 0)) / 1_000
    const fault = drillFaultOf(kind, Math.min(slowness.maxMs, Math.max(slowness.minMs, slowMs)))
    const version = earlier?.version ?? (await makeVersion(deps, { id, champion, fault }))
    log.info({ drill: id, kind, version, traffic }, 'drill opened')
    return { version, policy }
  }

/** Registers a copy of the champion with the fault in its manifest. */
async function makeVersion(
  { store, artifacts, config }: Deps,
  { id, champion, fault }: { id: string; champion: string; fault: ReturnType<typeof drillFaultOf> },
): Promise<string> {
  const original = await getVersion(store, champion)
  const manifest = { ...(await getManifest(artifacts, original.artifactDigest)), drill: fault }
  const artifactDigest = await putManifest(artifacts, manifest)
  const signer = await openSigner(config.signing, 'artifacts')
  const { model } = original
  return store.transaction(async (database) => {
    const version = await insertDrillVersion(database, {
      drill: id,
      original,
      manifest,
      artifactDigest,
      nameOf: (patch) => formatVersion(model, { major: 0, minor: 0, patch }),
      signatureOf: (name) => signArtifact(signer, { version: name, model, artifactDigest }),
    })
    await setDrillVersion(database, { id, version })
    return version
  })
}

interface DrillEnd {
  id: string
  /** Whether the workflow of the drill was cancelled. */
  isCancelled?: boolean
}

/** Records the result. */
export const endDrill =
  (deps: Deps) =>
  async ({ id, isCancelled }: DrillEnd): Promise<Pick<Drill, 'passed' | 'message'>> => {
    const { store, log } = deps
    const drill = await findDrill(store, id)
    if (drill === undefined) return { passed: false, message: 'skipped: the release was not opened' }
    // A repeated call: the stored result stands, although more requests may have been counted since.
    if (drill.endedAt !== undefined) {
      const { held, passed = false, message = '' } = drill
      if (held) await reportResult(store, drill)
      return { passed, message: held ? message : `skipped: ${message}` }
    }
    // A skipped drill is not a failed drill.
    const notHeld = async (why: string) => {
      await giveUp(deps, drill, why)
      return { passed: false, message: `skipped: ${why}` }
    }
    const { releaseId } = drill
    if (releaseId === undefined) {
      const open = (await findOpenRelease(store, drill.model))?.state.id
      return notHeld(
        open === undefined
          ? 'the release was not started'
          : `another release of ${drill.model} is open: ${open}`,
      )
    }
    const release = await findRelease(store, releaseId)
    const state = release?.state.version === drill.version ? release?.state : undefined
    const refused = state === undefined ? await findDrillRefusal(store, id) : undefined
    const [last] = state === undefined ? [] : await listDecisions(store, state.id, 1)
    const failure = last?.verdict.kind === 'fail' ? last.verdict.reasons[0] : undefined
    const seen = await readExposure(store, drill)
    const harmed = drill.traffic === 'live' ? (drill.kind === 'slow' ? seen.slow : seen.bad) : 0
    const { passed, message, detectedBy } = judgeDrill({
      kind: drill.kind,
      outcome: state?.outcome,
      reason: refused ?? state?.reason ?? 'the release was not opened',
      failure,
      isWithoutData: state?.rollbackOrder?.isWithoutData,
      isIdle: last?.verdict.reasons.some(({ code }) => code === 'no_traffic'),
      exposed: seen.requests,
      harmed,
      harmBudget: drill.harmBudget,
      unacknowledged: state?.rollbackResult?.unacknowledged,
      detected: drill.detectedAt !== undefined,
      recovered: drill.recoveredAt !== undefined,
    })
    // A drill that an operator or another release has cut short has not failed either.
    if (!passed && isCancelled === true) return notHeld('the drill was cancelled')
    if (!passed && (await isCutShort(store, releaseId, state?.outcome)))
      return notHeld(state?.reason ?? 'the drill was cut short')
    const isLoss = drill.kind === 'lost-replica' || drill.kind === 'dead-worker'
    // The end of the drill's time or budget is no detection. One that came too late is.
    const isDetected = detectedBy !== undefined || (failure !== undefined && failure.code !== budgetCode)
    const recovery = isLoss || !isDetected ? undefined : state?.rollbackResult
    await closeDrill(store, {
      id,
      passed,
      message,
      exposed: seen.requests,
      harmed,
      detectedBy,
      beganMs: isLoss ? undefined : (seen.firstMs ?? state?.routings[0]?.startedMs),
      detectedMs: recovery?.decidedMs ?? recovery?.orderedMs,
      recoveredMs: recovery?.unacknowledged === undefined ? recovery?.acknowledgedMs : undefined,
      evidence: { ...seen, outcome: state?.outcome ?? null, reason: state?.reason ?? refused ?? null },
    })
    await reportResult(store, { ...drill, passed, message })
    log.info({ drill: id, kind: drill.kind, model: drill.model, passed }, message)
    return { passed, message }
  }

async function isCutShort(store: Deps['store'], releaseId: string, outcome?: string): Promise<boolean> {
  if (outcome === 'superseded') return true
  return isEndedByUser(store, releaseId)
}

/** Raises an alert. Otherwise a scheduled drill would be skipped unnoticed, and the drill policy would then refuse the next release. */
async function giveUp({ store, log }: Deps, drill: NewDrill, why: string): Promise<void> {
  const { id, model, kind, requestedBy } = drill
  await store.transaction(async (database) => {
    if (!(await recordUnheldDrill(database, { ...drill, message: why }))) return
    if (requestedBy !== `schedule/${model}`) return
    await upsertAlert(database, {
      dedupeKey: notHeldKey(drill),
      model,
      severity: 'warning',
      kind: 'drill_not_held',
      cause: why,
      message: `The drill "${kind}" of ${model} was skipped: ${why}`,
      evidence: { drill: id },
    })
  })
  log.warn({ drill: id, kind, model, why }, 'drill skipped')
}

const notHeldKey = ({ model, kind }: Pick<Drill, 'model' | 'kind'>): string =>
  `drill_not_held/${model}/${kind}`

/** A failed drill means that a safeguard does not work. */
async function reportResult(store: Deps['store'], drill: Drill): Promise<void> {
  const { id, model, kind, passed, message = '' } = drill
  await resolveAlert(store, notHeldKey(drill), `the drill ${id} ran to its end`)
  const dedupeKey = `drill/${model}/${kind}`
  if (passed === true) return resolveAlert(store, dedupeKey, `the drill ${id} passed: ${message}`)
  await upsertAlert(store, {
    dedupeKey,
    model,
    severity: 'critical',
    kind: 'drill_failed',
    message: `The drill "${kind}" of ${model} failed: ${message}`,
    evidence: { drill: id },
  })
}
