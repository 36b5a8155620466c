/** Loads the candidate in a separate serving process before it serves any request. Refuses an unfit candidate with the reason. */
import { availableParallelism, loadavg } from 'node:os'
import { isError } from '../../domain/errors.ts'
import {
  costIssue,
  type MeasuredCost,
  type QualificationCost,
  type TrainingUsage,
} from '../../domain/model/cost.ts'
import { defaultQualification, type QualificationLimits } from '../../domain/model/qualification.ts'
import { pricesOf } from '../../domain/monitoring/policy.ts'
import { unboundedShadow } from '../../domain/release/shadow-cost.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { findDeletedAt } from '../../store/registry/artifact-retention.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { findTraining } from '../../store/training/trainings.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import type { Deps } from '../deps.ts'
import { runServingChild, type NotServed } from '../runtime/serving-child.ts'
import type { Beat } from '../runtime/heartbeat.ts'
import { releaseStep } from './release-step.ts'

export const qualificationLimits = defaultQualification

interface Qualified extends MeasuredCost {
  ok: true
  model: string
  goldenRows: number
  /** Whether another system answers it. */
  isRemote?: boolean
  /** How often the latency of a row was measured; the best is reported. */
  measurements?: number
  /** The size of a TensorFlow.js network; 0 for other formats. */
  weightBytes: number
}
type Found = Qualified | NotServed

export const qualify = (deps: Deps) =>
  releaseStep(deps, 'qualify', async (state, beat) => {
    const limits = { ...qualificationLimits, ...state.policy.qualification }
    const { version, digests } = state
    const found = await quietly(
      () => qualifyVersion(deps, { version, digest: digests.artifact }, limits),
      limits,
      beat,
    )
    beat.check()
    let reason = refusalOf(found, state, limits)
    let cost: QualificationCost | undefined
    if (reason === undefined && found.ok) {
      cost = await costBeside(deps, state, { candidate: found, limits, check: () => beat.check() })
      reason = unboundedShadow(state, found) ?? costIssue(cost, limits)
    }
    deps.log.info({ release: state.id, version, ...found, champion: cost?.champion, reason }, 'qualified')
    return reason === undefined
      ? { kind: 'qualified', ...(cost && { cost }) }
      : { kind: 'disqualified', reason, ...(cost && { cost }) }
  })

/** How long a measurement waits for a quiet machine, and how often it looks. */
const quietWaitMs = 60_000
const lookMs = 5_000

/** Whether more work is ready to run than the machine has processors, by its mean of a minute. */
const isMachineBusy = (): boolean => loadavg()[0]! > availableParallelism()

/**
 * Measures the candidate once more where it is too slow on a machine that is busy with other work: at the first quiet moment, or after a
 * minute. The faster of both counts.
 */
export async function quietly(
  measure: () => Promise<Found>,
  { p99Us }: Pick<QualificationLimits, 'p99Us'>,
  beat: Pick<Beat, 'sleep'>,
  isBusy: () => boolean = isMachineBusy,
): Promise<Found> {
  const first = await measure()
  if (!first.ok || first.p99Us <= p99Us || !isBusy()) return first
  for (let waitedMs = 0; waitedMs < quietWaitMs && isBusy(); waitedMs += lookMs) await beat.sleep(lookMs)
  const second = await measure()
  return second.ok ? { ...second, ...fasterOf(second, first) } : first
}

/** How often candidate and champion are measured at most. Load on the machine makes each slower, so the fastest of each counts. */
const maxRounds = 3

/** Measures the champion as the candidate was, and both again while a limit is exceeded. A champion that cannot be loaded is no reproach. */
async function costBeside(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  { model, version, digests, baseline }: Pick<ReleaseState, 'model' | 'version' | 'digests' | 'baseline'>,
  { candidate, limits, check }: { candidate: Qualified; limits: QualificationLimits; check: () => void },
): Promise<QualificationCost> {
  const training = await usageOf(deps.store, version)
  const price = pricesOf((await getModel(deps.store, model)).definition.monitor?.cost)
  let cost: QualificationCost = {
    candidate: costOf(candidate),
    ...(training && { training }),
    ...(price && { price }),
  }
  if (baseline === undefined) return cost
  const { artifactDigest } = await getVersion(deps.store, baseline)
  const measure = async (of: string, digest: string, before?: MeasuredCost) => {
    const found = await qualifyVersion(deps, { version: of, digest }, limits)
    check()
    return found.ok ? fasterOf(costOf(found), before) : before
  }
  for (let round = 1; round <= maxRounds; round++) {
    if (round > 1) cost.candidate = (await measure(version, digests.artifact, cost.candidate))!
    const champion = await measure(baseline, artifactDigest, cost.champion).catch((error: unknown) => {
      if (!isError(error)) throw error
      deps.log.warn({ version: baseline, error: error.message }, 'the champion could not be measured')
      return cost.champion
    })
    cost = { ...cost, ...(champion && { champion }) }
    if (costIssue(cost, limits) === undefined) break
  }
  return cost
}

/** What the training of a version took, with its refit; undefined where one of them was not measured. */
async function usageOf(store: Deps['store'], version: string): Promise<TrainingUsage | undefined> {
  const { trainingId, lineage } = await getVersion(store, version)
  const refit = lineage.refit?.trainingId
  const trainings = await Promise.all(
    [trainingId, ...(refit === undefined ? [] : [refit])].map((id) => findTraining(store, id)),
  )
  return trainings
    .map((each) => each?.usage)
    .reduce(
      (sum, each) =>
        sum &&
        each && {
          cpuMs: sum.cpuMs + each.cpuMs,
          peakBytes: Math.max(sum.peakBytes, each.peakBytes),
          ms: sum.ms + each.ms,
        },
    )
}

const costOf = ({ loadMs, p50Us, p99Us, cpuUs, rssBytes, paid }: MeasuredCost): MeasuredCost => ({
  ...(paid && { paid }),
  loadMs,
  p50Us,
  p99Us,
  cpuUs,
  rssBytes,
})

const fasterOf = (one: MeasuredCost, other: MeasuredCost = one): MeasuredCost => ({
  ...(one.paid && { paid: one.paid }),
  loadMs: Math.min(one.loadMs, other.loadMs),
  p50Us: Math.min(one.p50Us, other.p50Us),
  p99Us: Math.min(one.p99Us, other.p99Us),
  cpuUs: Math.min(one.cpuUs, other.cpuUs),
  rssBytes: Math.min(one.rssBytes, other.rssBytes),
})

/** Loads a version in a separate process and measures it. Does not open an artifact without a valid signature. */
export async function qualifyVersion(
  { store, artifacts, config }: Pick<Deps, 'store' | 'artifacts' | 'config'>,
  { version, digest }: { version: string; digest: string },
  { timeoutMs, p99Us }: Pick<QualificationLimits, 'timeoutMs' | 'p99Us'> = qualificationLimits,
): Promise<Found> {
  const { model, signature } = await getVersion(store, version)
  try {
    verifyArtifact(openPublicKeys(config.signing, 'artifacts'), {
      version,
      model,
      artifactDigest: digest,
      signature,
    })
  } catch (error) {
    if (!isError(error, 'artifact_untrusted')) throw error
    return { ok: false, code: error.code, message: error.message }
  }
  await bringCopies(artifacts, { artifacts: [digest] })
  const found = await runQualifier([config.artifactRoot, digest, version, String(p99Us)], { timeoutMs })
  if (found.ok) return found
  const at = await findDeletedAt(store, digest)
  if (at === undefined) return found
  const message = `its files were deleted at ${at} to keep artifacts within their budget; retrain the model as of that time`
  return { ...found, message }
}

/** Why the candidate cannot be released; undefined when it qualifies. */
export function refusalOf(
  found: Found,
  state: Pick<ReleaseState, 'model'>,
  limits: QualificationLimits = qualificationLimits,
): string | undefined {
  if (!found.ok) return `the candidate cannot be served: ${found.message} (${found.code})`
  const { model, p99Us, rssBytes, weightBytes } = found
  if (model !== state.model) return `its artifact belongs to ${model}, not to ${state.model}`
  if (p99Us > limits.p99Us)
    return `a row takes ${Math.round(p99Us)} µs at the 99th percentile${timesOf(found)}, at most ${limits.p99Us} are accepted (qualification.p99Us of its policy)`
  if (rssBytes > limits.rssBytes)
    return `its process takes ${Math.round(rssBytes / 1_048_576)} MiB, at most ${Math.round(limits.rssBytes / 1_048_576)} are accepted (qualification.rssBytes of its policy)`
  if (weightBytes > limits.weightBytes)
    return `its weights have ${weightBytes} bytes, at most ${limits.weightBytes} are accepted (qualification.weightBytes of its policy)`
  return undefined
}

const timesOf = ({ measurements = 1 }: Pick<Qualified, 'measurements'>): string =>
  measurements > 1 ? ` in the best of ${measurements} measurements` : ''

/** Runs the qualification process to its end. */
export function runQualifier(
  argv: string[],
  {
    script = 'api/processes/qualifier.ts',
    timeoutMs = qualificationLimits.timeoutMs,
  }: { script?: string; timeoutMs?: number } = {},
): Promise<Found> {
  return runServingChild<Found>(argv, { script, timeoutMs })
}
