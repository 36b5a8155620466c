/**
 * Evaluates a challenger offline against the live champion. Both are evaluated on the test rows of the challenger's snapshot, because
 * metrics of different test sets are not comparable.
 */
import { DomainError } from '../../domain/errors.ts'
import { maxAskedRows, type CompressionFacts } from '../../domain/model/compression.ts'
import type { TrainingFacts } from '../../domain/model/manifest.ts'
import type { RefittedChampion } from '../../domain/evaluation/refitted-champion.ts'
import type { GateVerdict } from '../../domain/evaluation/gate.ts'
import type { GateSearch } from '../../domain/evaluation/input.ts'
import { gateMarkdown } from '../../domain/evaluation/report-markdown.ts'
import { withModelFolder } from '../runtime/model-folder.ts'
import { digestOfJson, getManifest } from '../../store/artifacts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import {
  countTestSetUses,
  countCompressions,
  countTriedOn,
  findEvaluation,
  insertEvaluation,
  type Evaluation,
} from '../../store/training/evaluations.ts'
import { countSweepTrials } from '../../store/training/sweeps.ts'
import { getModel } from '../../store/registry/models.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import { getSnapshot, mayTestTrained } from '../../store/training/snapshots.ts'
import { getTraining } from '../../store/training/trainings.ts'
import { getVersion, listReleased, listTwins, type Version } from '../../store/registry/versions.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { runJob } from '../runtime/run-job.ts'
import type { Deps } from '../deps.ts'
import { costBesideParent, verifyParent } from './compressed-parent.ts'
import { takeLoggedRequests } from './logged-requests.ts'
import type { EvaluatorJob, EvaluatorResult } from '../evaluation/evaluator.ts'
import { keptForOf, prepareMetrics } from '../evaluation/own-metrics.ts'

export interface EvaluateInput {
  /** Evaluates an id once. */
  evaluationId: string
  model: string
  trainingId: string
  /** The sweep that chose the hyperparameters. */
  sweepId?: string
}

export interface EvaluateResult {
  evaluationId: string
  /**
   * `unchanged`: nothing was evaluated. The artifact is that of the champion or of a rolled-back version, or it was brought and its
   * release is open.
   */
  verdict: GateVerdict | 'unchanged'
  /** The result is implausibly good or the test set is overused, so an operator must decide. */
  needsPerson: boolean
  /** One sentence each, with its arithmetic. */
  reasons: string[]
  /** Absent when unchanged. */
  reportDigest?: string
  baseline?: string
}

/** Limits the sum of many small losses that each count as "not worse". */
const anchorDays = 90
const maxAnchors = 8
/** Of which those of the line of a compressed version are taken. */
const maxReleased = 1_000

export const evaluate =
  ({ store, artifacts, config, log }: Deps, { models }: { models?: string } = {}) =>
  async ({ evaluationId, model, trainingId, sweepId: sweep }: EvaluateInput): Promise<EvaluateResult> => {
    const before = await findEvaluation(store, evaluationId)
    if (before !== undefined) return resultOf(before)
    const { definition } = await getModel(store, model)
    const training = await getTraining(store, trainingId)
    const { artifactDigest, snapshotDigest } = training
    if (artifactDigest === undefined)
      throw new DomainError('internal', `the training ${trainingId} has no artifact to evaluate`)
    const manifest = await getManifest(artifacts, artifactDigest)
    const { origin, compression } = manifest.training
    const brought = origin === 'brought' || compression !== undefined ? manifest : undefined
    const unchanged = await findUnchanged(store, { model, artifactDigest, brought })
    if (unchanged !== undefined) {
      log.info({ model, training: trainingId, artifact: artifactDigest }, unchanged)
      return { evaluationId, verdict: 'unchanged', needsPerson: false, reasons: [unchanged] }
    }
    const { baseline, anchors } = await findReferences({ store, config }, model, compression)
    const source = compression && (await getVersion(store, compression.version))
    const refitted = refittedOf({ baseline, source, challenger: manifest.training, anchors })
    const job: Omit<EvaluatorJob, 'modelsDirectory' | 'metricProgram'> = {
      definition,
      snapshotDigest,
      artifactRoot: config.artifactRoot,
      challenger: artifactDigest,
      champion: baseline?.artifactDigest,
      anchors: anchors.map(({ version, artifactDigest }) => ({ version, artifactDigest })),
      testSetUses: await countTestSetUses(store, snapshotDigest),
      refitted,
      championSplitDiffers:
        baseline &&
        baseline.lineage.refit === undefined &&
        (await mayTestTrained(store, {
          snapshot: snapshotDigest,
          earlier: baseline.manifest.training.snapshot,
        })),
      search: await searchOf(store, {
        sweep,
        model,
        snapshotDigest,
        artifacts: [artifactDigest, ...(baseline === undefined ? [] : [baseline.artifactDigest])],
      }),
    }
    if (compression !== undefined) await verifyParent({ store, config }, compression)
    const judged = [
      artifactDigest,
      compression?.artifact,
      baseline?.artifactDigest,
      refitted?.judged,
      ...[...anchors, ...(refitted?.anchors ?? [])].map((each) => each.artifactDigest),
    ]
    await withHeartbeat(() => bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: judged }))
    const parent = compression && (await getManifest(artifacts, compression.artifact))
    const { asOf, rows: snapshotRows } = await getSnapshot(store, snapshotDigest)
    const beside = compression && {
      facts: compression,
      cost: await withHeartbeat(() =>
        costBesideParent(config, { child: artifactDigest, parent: compression.artifact }),
      ),
      attempt: 1 + (await countCompressions(store, { model, parent: compression.artifact })),
      requests: await takeLoggedRequests(
        { store, artifacts, config, log },
        {
          definition,
          features: parent!.features,
          maxRows: maxAskedRows(parent!),
          part: compression.to === 'distil' ? 'judging' : undefined,
          // Where requests are the rows, earlier ones were learnt, or are test rows, which would count twice.
          after: definition.source.served === undefined ? undefined : asOf,
        },
      ),
    }
    const rows = snapshotRows + (beside?.requests.rows ?? 0)
    const { report, inputs } = await withModelFolder(
      { store },
      { model, folder: models },
      async (modelsDirectory) =>
        runJob<EvaluatorResult>({
          what: 'the evaluation',
          file: 'activities/evaluation/evaluator.ts',
          job: {
            ...job,
            compression: beside,
            modelsDirectory,
            metricProgram: await withHeartbeat(({ signal }) =>
              prepareMetrics({ config, log }, definition, { models: modelsDirectory, signal }),
            ),
          },
          limitMb: config.trainingMemoryMb,
          rows,
          keptFor: keptForOf(definition),
        }),
    )
    const stored = await insertEvaluation(store, {
      id: evaluationId,
      model,
      trainingId,
      snapshotDigest,
      artifactDigest,
      baselineVersion: baseline?.version,
      verdict: report.verdict,
      report,
      inputs,
      page: gateMarkdown(report, {
        model,
        challenger: `the challenger of ${trainingId}`,
        champion: baseline?.version,
        asOf,
        snapshot: snapshotDigest,
      }),
      // Approvals are bound to this evaluation and its baseline.
      reportDigest: digestOfJson({ report, inputs, artifactDigest, baseline: baseline?.version ?? null }),
    })
    const result = resultOf(stored)
    const { verdict, reasons } = result
    log.info({ model, evaluation: evaluationId, verdict, baseline: result.baseline, reasons }, 'evaluated')
    return result
  }

/**
 * Returns the champion, and the recent releases of which the best is the anchor; all with verified signatures. The anchors of a version that
 * is compressed from the champion, or from the same version as it, are those that both were compressed from: the others would measure the
 * champion, and not what the compressions have lost.
 */
async function findReferences(
  { store, config }: Pick<Deps, 'store' | 'config'>,
  model: string,
  compression?: CompressionFacts,
) {
  const keys = openPublicKeys(config.signing, 'artifacts')
  const champion = await findChampion(store, model)
  if (champion === undefined) return { baseline: undefined, anchors: [] }
  const baseline = await getVersion(store, champion.version)
  const family = compression && (await familyOf(store, [baseline.version, compression.version]))
  const limit = family === undefined ? maxAnchors : maxReleased
  const released = await listReleased(store, { model, days: anchorDays, except: champion.version, limit })
  const anchors = released.filter(({ version }) => family?.includes(version) ?? true).slice(0, maxAnchors)
  for (const version of [baseline, ...anchors]) verifyArtifact(keys, version)
  return { baseline, anchors }
}

/** Both versions and those they were compressed from; undefined where they have none in common. */
async function familyOf(store: Deps['store'], versions: [string, string]): Promise<string[] | undefined> {
  const [some, others] = await Promise.all(versions.map((version) => chainOf(store, version)))
  return some!.some((version) => others!.includes(version)) ? [...some!, ...others!] : undefined
}

/** A version, the one it was compressed from, and so on. */
async function chainOf(store: Deps['store'], version: string): Promise<string[]> {
  const { compression } = (await getVersion(store, version)).lineage
  return [version, ...(compression === undefined ? [] : await chainOf(store, compression.version))]
}

/** What the gate must know of a champion, or of the version that was compressed, that was refitted; undefined where none was. */
function refittedOf({
  baseline,
  source,
  challenger,
  anchors,
}: {
  baseline: Version | undefined
  /** The version that the challenger is compressed from. */
  source: Version | undefined
  challenger: TrainingFacts
  anchors: readonly Pick<Version, 'version' | 'artifactDigest' | 'lineage'>[]
}): RefittedChampion | undefined {
  const refits = [baseline, source].flatMap((of) => {
    const { refit } = of?.lineage ?? {}
    return of === undefined || refit?.newestEvent === undefined
      ? []
      : [{ version: of.version, newestEvent: refit.newestEvent, judged: refit.judged }]
  })
  const [latest] = refits.toSorted((a, b) => Date.parse(b.newestEvent) - Date.parse(a.newestEvent))
  if (latest === undefined) return undefined
  const [own, its] = [source, baseline].map((of) => of?.lineage.refit?.judged)
  const recipeOf = ({ code, dependencies, seed, hyperparameters }: TrainingFacts) => ({
    code,
    dependencies,
    seed,
    hyperparameters,
  })
  return {
    ...latest,
    learnt: own === undefined ? undefined : own === its ? 'both' : 'challenger',
    // What a compression loses is not in the recipe.
    isSameRecipe:
      source === undefined &&
      digestOfJson(recipeOf(baseline!.manifest.training)) === digestOfJson(recipeOf(challenger)),
    anchors: anchors.map((each) => ({
      version: each.version,
      artifactDigest: each.lineage.refit?.judged ?? each.artifactDigest,
    })),
  }
}

/** How many trials of its sweep, and how many challengers on these test rows, preceded the challenger; undefined for none. */
async function searchOf(
  store: Deps['store'],
  { sweep, ...judged }: { sweep?: string } & Parameters<typeof countTriedOn>[1],
): Promise<GateSearch | undefined> {
  const sweepTrials = sweep === undefined ? 0 : await countSweepTrials(store, sweep)
  const triedHere = await countTriedOn(store, judged)
  return sweepTrials + triedHere === 0 ? undefined : { sweepTrials, triedHere }
}

/** Why the artifact is not new; undefined when it is. Releasing the same bytes would change nothing, or repeat a known harm. */
async function findUnchanged(
  store: Deps['store'],
  artifact: Parameters<typeof listTwins>[1],
): Promise<string | undefined> {
  const twins = await listTwins(store, artifact)
  const [twin] = twins.toSorted((a, b) => Number(b.champion) - Number(a.champion))
  if (twin === undefined) return undefined
  const isBrought = artifact.brought !== undefined
  const how = artifact.brought?.training.compression === undefined ? 'brought' : 'compressed'
  const gave = isBrought
    ? `nothing new: the ${how} files, columns and features are those of`
    : 'nothing new: rows, code and settings produced the artifact of'
  const again = isBrought ? '' : ' again'
  if (twin.champion) return `${gave} the champion ${twin.version}${again}`
  return twin.rolledBackAt === undefined
    ? `${gave} ${twin.version}, whose release ${twin.release} is open`
    : `${gave} ${twin.version}${again}, which was rolled back at ${twin.rolledBackAt}`
}

function resultOf({ id, verdict, report, reportDigest, baselineVersion }: Evaluation): EvaluateResult {
  return {
    evaluationId: id,
    verdict,
    needsPerson: report.needsPerson,
    reasons: report.reasons.map(({ message }) => message),
    reportDigest,
    baseline: baselineVersion,
  }
}
