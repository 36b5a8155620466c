/**
 * Registers a challenger as a version with its lineage. A training has at most one version, because a retry that registered a second one
 * would release the model twice.
 */
import {
  aboveGiven,
  formatVersion,
  isByBreakGlass,
  nextVersion,
  type VersionLineage,
  type VersionNumber,
  type Numbered,
} from '../../domain/registry/version.ts'
import { DomainError } from '../../domain/errors.ts'
import { issueOfMaking } from '../../domain/registry/registration.ts'
import { issueOfReleasing, type RunIds } from '../../domain/training/runs.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { findJudged, getRun, readMaking, type Run } from '../../store/training/runs.ts'
import { getModel } from '../../store/registry/models.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { digestOfJson, getManifest } from '../../store/artifacts.ts'
import { getEvaluation, type Evaluation } from '../../store/training/evaluations.ts'
import { findRetraining, noteOf, type Retraining } from '../../store/training/retrainings.ts'
import { refitText, type RefitLineage } from '../../domain/training/refit.ts'
import { findRefit, getTraining, type TrainingRecord } from '../../store/training/trainings.ts'
import {
  findLatestVersion,
  findVersionOfTraining,
  getVersion,
  insertVersion,
  lockVersions,
  findGivenNumbers,
} from '../../store/registry/versions.ts'
import { servedText, type ServedFacts } from '../../domain/training/served-facts.ts'
import type { Database } from '../../store/postgres.ts'
import { openSigner } from '../../store/signing/signing-key.ts'
import { getSnapshot, type Snapshot } from '../../store/training/snapshots.ts'
import { signArtifact } from '../../store/signing/artifact-signatures.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { Deps } from '../deps.ts'

export interface RegisterResult {
  version: string
  /** Whether the retraining may start the release. */
  mayRelease: boolean
}

/** Throws `forbidden` unless the rows of the run allow a version. */
export const register =
  ({ store, artifacts, config, log }: Deps) =>
  async (
    given: Pick<Run, 'id' | 'model' | 'artifact' | 'snapshotDigest' | 'refitSnapshotDigest' | keyof RunIds>,
  ): Promise<RegisterResult> => {
    const { id: retrainingId, model } = given
    const refused = given.artifact?.refused
    const run = refused === undefined ? given : await getRun(store, refused.retraining, ['retraining'])
    const { validationId, trainingId, evaluationId } = run
    const breakGlass = refused && { ...refused, artifact: given.artifact!.digest }
    const judgedBy = breakGlass && (await getEvaluation(store, evaluationId))
    if (
      judgedBy !== undefined &&
      !isByBreakGlass(
        { breakGlass },
        { artifact: judgedBy.artifactDigest, evaluation: judgedBy.reportDigest },
      )
    )
      throw new DomainError('forbidden', `${retrainingId} names other digests than ${run.id} has`)
    const issue = issueOfMaking(await readMaking(store, run), { isByBreakGlass: breakGlass !== undefined })
    if (issue !== undefined)
      throw new DomainError('forbidden', `${retrainingId} cannot register a version: ${issue}`)
    const training = await getTraining(store, trainingId)
    const evaluation = await getEvaluation(store, evaluationId)
    const retraining = await findRetraining(store, retrainingId)
    if (retraining === undefined) throw new DomainError('not_found', `there is no retraining ${retrainingId}`)
    const snapshot = await getSnapshot(store, training.snapshotDigest)
    const refit = await refitOf(store, trainingId)
    if (run.refitSnapshotDigest !== undefined && refit === undefined)
      throw new DomainError('forbidden', `${retrainingId} cannot register a version: its refit has not ended`)
    const artifactDigest = refit?.artifactDigest ?? evaluation.artifactDigest
    const manifest = await getManifest(artifacts, artifactDigest)
    const judgedManifest = await getManifest(artifacts, evaluation.artifactDigest)
    // The signature requires that the bytes are read and verified once more.
    for (const { digest } of Object.values(manifest.files)) await artifacts.get('artifacts', digest)
    const signer = await openSigner(config.signing, 'artifacts')
    const ids = { retrainingId, validationId, trainingId, evaluationId }
    const lineage: VersionLineage = {
      ...lineageOf(ids, {
        training,
        evaluation,
        retraining,
        snapshot,
        manifest: judgedManifest,
        refit: refit?.lineage ?? (await refitOfParent(store, judgedManifest)),
      }),
      breakGlass,
    }
    const registered = await store.transaction(async (database) => {
      await lockVersions(database, model)
      const known = await findVersionOfTraining(database, trainingId)
      if (known !== undefined) return known
      const number = await numberOf(database, model, manifest)
      const version = formatVersion(model, number)
      const stored = await insertVersion(database, {
        version,
        model,
        ...number,
        artifactDigest,
        signature: signArtifact(signer, { version, model, artifactDigest }),
        manifest,
        evaluationId,
        trainingId,
        lineage,
        createdBy: lineage.requestedBy,
      })
      await appendAudit(database, {
        actor: lineage.requestedBy,
        action: 'version.registered',
        subject: version,
        model,
        detail: {
          trigger: lineage.reason,
          reason: lineage.note,
          retraining: retrainingId,
          origin: lineage.origin,
          artifact: artifactDigest,
          snapshot: lineage.snapshot,
          refit: refitText(lineage),
          evaluation: evaluationId,
          verdict: evaluation.verdict,
          reportDigest: evaluation.reportDigest,
          baseline: lineage.baseline,
          compressedFrom: lineage.compression?.version,
          breakGlass,
          allowUnknownCategories: manifest.training.allowUnknownCategories,
          allowOtherVersions: manifest.training.allowOtherVersions,
        },
      })
      if (breakGlass !== undefined)
        await upsertAlert(database, {
          dedupeKey: `break_glass/${retrainingId}`,
          model,
          severity: 'critical',
          kind: 'break_glass',
          message: `Break-glass registration of ${version}, which the gate refused, by ${lineage.requestedBy}: ${lineage.note ?? ''}`,
          evidence: { version, breakGlass },
        })
      return stored
    })
    const { version, artifactDigest: artifact } = registered
    log.info({ model, version, artifact, training: trainingId }, 'registered')
    const { approval } = retraining.policy ?? (await getModel(store, model)).definition.release
    const judged = await findJudged(store, evaluationId)
    const issueOfRelease = issueOfReleasing({ approvers: approval.approvers, evaluation: judged })
    return { version, mayRelease: issueOfRelease === undefined }
  }

/** The refit of a judged training, with what a version says of it; undefined without one. */
async function refitOf(
  store: Deps['store'],
  trainingId: string,
): Promise<{ artifactDigest: string; lineage: RefitLineage } | undefined> {
  const refit = await findRefit(store, trainingId)
  const { artifactDigest: judged } = await getTraining(store, trainingId)
  if (refit === undefined || refit.artifactDigest === undefined || judged === undefined) return undefined
  const { id, artifactDigest, snapshotDigest, check } = refit
  if (check === undefined) return undefined
  const { rows, source } = await getSnapshot(store, snapshotDigest)
  const newestEvent = source['newestEvent'] as string | undefined
  const { change, limit } = check
  const lineage = { trainingId: id, snapshot: snapshotDigest, rows, newestEvent, judged, change, limit }
  return { artifactDigest, lineage }
}

/** A compressed version has the weights of its parent, which may have been refitted: they have seen the same rows. */
async function refitOfParent(
  store: Deps['store'],
  { training: { compression } }: Manifest,
): Promise<RefitLineage | undefined> {
  if (compression === undefined) return undefined
  return (await getVersion(store, compression.version)).lineage.refit
}

/** Returns the next number of a model, above those of versions that were given a number. */
async function numberOf(database: Database, model: string, manifest: Manifest): Promise<VersionNumber> {
  const latest = await findLatestVersion(database, model)
  const previous = latest && { number: latest, of: numberedBy(latest.manifest) }
  const given = (await findGivenNumbers(database))[model]
  return aboveGiven(nextVersion(previous, numberedBy(manifest)), given)
}

interface LineageSources {
  training: TrainingRecord
  evaluation: Evaluation
  retraining: Retraining
  snapshot: Snapshot
  /** Of the judged artifact. */
  manifest: Manifest
  refit: RefitLineage | undefined
}

/** Returns what a version came from. */
function lineageOf(ids: RunIds & { retrainingId: string }, sources: LineageSources): VersionLineage {
  const { training, evaluation, retraining, snapshot, manifest, refit } = sources
  const { code, dependencies, hyperparameters, seed, origin, trainedOn, bundle, compression, rows } =
    manifest.training
  const { report, baselineVersion: baseline } = evaluation
  return {
    ...ids,
    snapshot: training.snapshotDigest,
    asOf: retraining.asOf,
    code,
    dependencies,
    hyperparameters,
    overrides: retraining.overrides,
    seed,
    origin,
    trainedOn: trainedOn ?? servedOf(snapshot),
    bundle,
    compression,
    metrics: Object.fromEntries(
      report.metrics.map(({ metric, challenger, unweighted }) => [
        metric,
        // As the monitor measures it, where each request counts as one.
        unweighted === undefined ? challenger : unweighted,
      ]),
    ),
    rows: { train: rows, test: report.rows },
    newestEvent: snapshot.source['newestEvent'] as string | undefined,
    refit,
    floods: snapshot.source['floods'] as string[] | undefined,
    baseline,
    requestedBy: retraining.requestedBy,
    reason: retraining.reason,
    note: noteOf(retraining.evidence),
  }
}

/** A sentence on the logged predictions that became the rows; undefined when the rows came from elsewhere. */
function servedOf({ source }: Snapshot): string | undefined {
  const served = source['served'] as ServedFacts | undefined
  return served && servedText(served)
}

/** The number follows code changes; for an artifact without known code, it follows file changes. */
const numberedBy = ({ features, featureOrder, output, training, files }: Manifest): Numbered => ({
  features,
  order: featureOrder,
  output,
  snapshot: training.snapshot,
  code: training.origin === undefined ? training.code : digestOfJson(files),
  hyperparameters: training.hyperparameters,
})
