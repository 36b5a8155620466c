/**
 * Evaluates the last versions again with the gate of this build, on the stored rows and artifacts, and compares the verdicts. Writes
 * nothing but local copies from the object store, as a retraining does.
 */
import { isDeepStrictEqual } from 'node:util'
import { reasonOf } from '../../domain/errors.ts'
import { correctedFor } from '../../domain/evaluation/policy.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import type { VerdictsAgain } from '../../domain/installation/checked-build.ts'
import { modelsDirectory } from '../../models/index.ts'
import { getManifest } from '../../store/artifacts.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { listLastEvaluations, type Evaluation } from '../../store/training/evaluations.ts'
import type { Deps } from '../deps.ts'
import { runChild } from '../runtime/child-process.ts'
import type { EvaluatorJob, EvaluatorResult } from '../tensorflow/evaluator.ts'

/** An evaluation takes seconds, and more with many rows. */
const maxEvaluations = 10
const silentMs = 600_000

type GateDeps = Pick<Deps, 'store' | 'artifacts' | 'config'>

export async function evaluateAgain(
  deps: GateDeps,
  { limit = maxEvaluations, models = modelsDirectory }: { limit?: number; models?: string } = {},
): Promise<VerdictsAgain> {
  const result: VerdictsAgain = { judged: 0, notComparable: [], differs: [] }
  for (const evaluation of await listLastEvaluations(deps.store, limit)) {
    const what = `${evaluation.version} (evaluation ${evaluation.id})`
    try {
      const job = await jobOf(deps, evaluation, models)
      const { report } = await runChild<never, EvaluatorResult>({
        file: 'activities/tensorflow/evaluator.ts',
        job,
        signal: AbortSignal.timeout(silentMs),
        silentMs,
        limitMb: deps.config.trainingMemoryMb,
      })
      result.judged++
      if (report.verdict !== evaluation.verdict)
        result.differs.push({ what, before: textOf(evaluation.report), after: textOf(report) })
    } catch (error) {
      result.notComparable.push(`${what}: ${reasonOf(error)}`)
    }
  }
  return result
}

/** A row that the gate did not write may have an empty report and empty inputs. */
const isComplete = ({
  report,
  inputs,
}: {
  report: Partial<Evaluation['report']>
  inputs: Partial<Evaluation['inputs']>
}): boolean => ![report.policy, report.reasons, inputs.anchorsAsked, inputs.slices].includes(undefined)

/** The job of the stored evaluation. Throws when it cannot be rebuilt; a changed model file is not a fault of the build. */
async function jobOf(
  { store, artifacts, config }: GateDeps,
  evaluation: Evaluation,
  models: string,
): Promise<EvaluatorJob> {
  const { model, artifactDigest, snapshotDigest, baselineVersion, report, inputs } = evaluation
  if (!isComplete(evaluation))
    throw new Error('its row has no report of the gate, or not its inputs, so its verdict cannot be repeated')
  const { definition } = await getModel(store, model)
  const { policy, slices } = definition.evaluation
  const digestOf = async (version: string) => {
    const { artifactDigest: digest } = await getVersion(store, version)
    return { version, artifactDigest: digest }
  }
  const champion = baselineVersion === undefined ? undefined : await digestOf(baselineVersion)
  const anchors = await Promise.all(inputs.anchorsAsked.map(digestOf))
  const judged = [artifactDigest, champion?.artifactDigest, ...anchors.map((each) => each.artifactDigest)]
  await bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: judged })
  const { features } = await getManifest(artifacts, artifactDigest)
  const isAsThen =
    isDeepStrictEqual(plain(correctedFor(1 + (inputs.search?.triedHere ?? 0), policy)), report.policy) &&
    isDeepStrictEqual(new Set(Object.keys(features)), new Set(Object.keys(definition.features))) &&
    isDeepStrictEqual(
      slices.map(({ name }) => name),
      inputs.slices.map(({ name }) => name),
    )
  if (!isAsThen) throw new Error('its model file has changed since')
  return {
    definition: withoutImportance(definition),
    snapshotDigest,
    artifactRoot: config.artifactRoot,
    challenger: artifactDigest,
    ...(champion !== undefined && { champion: champion.artifactDigest }),
    anchors,
    testSetUses: inputs.testSetUses,
    championSplitDiffers: inputs.championSplitDiffers,
    ...(inputs.search !== undefined && { search: inputs.search }),
    modelsDirectory: models,
  }
}

/** The value as it is stored in JSON. */
const plain = (value: object): unknown => JSON.parse(JSON.stringify(value))

/** Importance takes most of the time and decides nothing. A definition with metric functions must stay equal as a whole. */
const withoutImportance = (definition: EvaluatorJob['definition']): EvaluatorJob['definition'] =>
  definition.evaluation.policy.custom === undefined
    ? { ...definition, evaluation: { ...definition.evaluation, importance: 'off' } }
    : definition

const textOf = ({ verdict, reasons }: Pick<GateReport, 'verdict' | 'reasons'>): string =>
  reasons.length === 0 ? verdict : `${verdict} (${reasons.map(({ code }) => code).join(', ')})`
